"""What the database says that servers and hosts should have, and what it leaves open."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import Struct

from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry, Entry, owner_of
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.state import State
from tashictl.model.vm import Vm, Wanted
from tashictl.planning import naming


class Claims(Struct, frozen=True, kw_only=True):
    """What settled VMs should have, by name and MAC; and what belongs to those that are not.

    A VM is open while an operation, a removal or its first start is to settle it: of it nothing is
    missing and nothing is too much. `vms` are all of the database by uuid, `waiting` is by key.
    """

    cluster: str
    vms: dict[str, Vm]
    open: frozenset[str]
    dns: dict[str, DnsEntry]
    dhcp: tuple[DhcpEntry, ...]
    open_dns: frozenset[str] = frozenset()
    open_dhcp: frozenset[str] = frozenset()
    waiting: dict[str, Deferred] = {}

    def is_ours(self, mark: str) -> bool:
        """Whether a mark is of this cluster."""
        owner = owner_of(mark)
        return owner is not None and owner.cluster == self.cluster

    def is_open(self, mark: str) -> bool:
        """Whether a mark is of a VM that an operation is to settle."""
        owner = owner_of(mark)
        return owner is not None and owner.cluster == self.cluster and owner.uuid in self.open

    def who(self, mark: str) -> str:
        """The VM of a mark in words."""
        owner = owner_of(mark)
        if owner is None:
            return mark
        if owner.cluster != self.cluster:
            return f"cluster {owner.cluster}"
        vm = self.vms.get(owner.uuid)
        return vm.name if vm is not None else f"a VM that is gone ({owner.uuid[:8]})"

    def waits(self, entry: Entry, *, add: bool) -> bool:
        """Whether just this waits for the server already."""
        work = self.waiting.get(entry.key)
        if work is None or work.add != add or not isinstance(work.entry, type(entry)):
            return False
        return isinstance(entry, DhcpEntry) or work.entry.owner == entry.owner


def claims(
    state: State, networks: Iterable[Network], settings: Settings, busy: Collection[str] = ()
) -> Claims:
    """The claims of a database; VMs of the uuids `busy` are open as well, known or not."""
    known = tuple(networks)
    unsettled = [vm for vm in state.vms.values() if _is_open(vm) or vm.uuid in busy]
    names = [e.name for vm in unsettled for e in naming.dns_entries(vm, settings)]
    leases = [e for vm in unsettled for e in naming.dhcp_entries(vm, known, settings)]
    open_uuids = frozenset(vm.uuid for vm in unsettled)
    settled = [vm for vm in state.vms.values() if vm.uuid not in open_uuids and vm.host is not None]
    return Claims(
        cluster=settings.tashictl.cluster_id,
        vms={vm.uuid: vm for vm in state.vms.values()},
        open=open_uuids | frozenset(busy),
        dns={e.name: e for vm in settled for e in naming.dns_entries(vm, settings)},
        dhcp=tuple(e for vm in settled for e in naming.dhcp_entries(vm, known, settings)),
        open_dns=frozenset(names),
        open_dhcp=frozenset(word for e in leases for word in (e.name, e.mac)),
        waiting=state.deferred,
    )


def _is_open(vm: Vm) -> bool:
    return vm.operation is not None or vm.wanted is Wanted.ABSENT or vm.host is None
