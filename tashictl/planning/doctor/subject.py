"""What a host's findings are held against."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from tashictl.model.network import Network
from tashictl.model.vm import Vm
from tashictl.planning.doctor import probe
from tashictl.planning.requirements import Place


class Subject(Struct, frozen=True, kw_only=True):
    """A host as the inventory and the database have it; `vms` are those that are placed there.

    `ifups` are the rendered files by network id; `asked_s` is our clock when it was asked.
    """

    place: Place
    vms: tuple[Vm, ...] = ()
    ifups: dict[int, str] = {}
    asked_s: float = 0.0
    added: bool = True

    @property
    def wired(self) -> tuple[Network, ...]:
        """The networks that the host carries and that have a bridge."""
        return probe.wired(self.place.networks)

    def vms_on(self, network: Network) -> Iterator[Vm]:
        """The VMs there that have an interface on a network."""
        for vm in self.vms:
            if any(nic.network == network.id for nic in vm.spec.nics):
                yield vm
