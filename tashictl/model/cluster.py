"""An immutable picture of the cluster at one moment: inventory and database joined."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.host import HostConfig, HostRecord, HostState
from tashictl.model.image import Image
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.state import State
from tashictl.model.vm import Vm


class Host(Struct, frozen=True, kw_only=True):
    """A host with its claims summed up; `cores` and `memory_mib` are what it offers."""

    config: HostConfig
    record: HostRecord
    cores: int
    memory_mib: int
    reserved_memory_mib: int
    used_cores: int
    used_memory_mib: int
    vms: int

    @property
    def name(self) -> str:
        """The host's name."""
        return self.config.name

    @property
    def free_cores(self) -> int:
        """Cores that no VM claims."""
        return self.cores - self.used_cores

    @property
    def free_memory_mib(self) -> int:
        """Memory that no VM claims and that is not kept for the host."""
        return self.memory_mib - self.reserved_memory_mib - self.used_memory_mib

    @property
    def state(self) -> HostState:
        """The operator's decision about the host."""
        return self.record.state


class Cluster(Struct, frozen=True, kw_only=True):
    """Hosts that were added, in inventory order, and what runs or is promised on them."""

    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    networks: tuple[Network, ...]
    images: dict[str, Image]

    def host(self, name: str) -> Host | None:
        """The host of that name, or None."""
        return next((h for h in self.hosts if h.name == name), None)


def snapshot(state: State, inventory: Inventory, default_reserved_mib: int) -> Cluster:
    """Join the database with the inventory; every record with a host counts as a claim there.

    A tombstone counts too: what was not seen to end may still run.
    """
    claims: dict[str, list[Vm]] = {}
    for vm in state.vms.values():
        if vm.host is not None:
            claims.setdefault(vm.host, []).append(vm)
    hosts = tuple(
        _host(config, state.hosts[config.name], claims.get(config.name, []), default_reserved_mib)
        for config in inventory.hosts
        if config.name in state.hosts
    )
    return Cluster(
        hosts=hosts,
        vms=tuple(state.vms.values()),
        networks=inventory.networks,
        images=state.images,
    )


def _host(
    config: HostConfig, record: HostRecord, claims: list[Vm], default_reserved_mib: int
) -> Host:
    facts = record.facts
    cores = facts.cores if facts else 0
    memory_mib = facts.memory_mib if facts else 0
    reserved = config.reserved_memory_mib
    if config.memory_mib is not None:
        # A cap is what the operator gives to VMs: nothing more is kept back from it.
        memory_mib = min(memory_mib, config.memory_mib)
        reserved = reserved or 0
    return Host(
        config=config,
        record=record,
        cores=cores if config.cores is None else min(cores, config.cores),
        memory_mib=memory_mib,
        reserved_memory_mib=default_reserved_mib if reserved is None else reserved,
        used_cores=sum(vm.spec.cores for vm in claims),
        used_memory_mib=sum(vm.spec.memory_mib for vm in claims),
        vms=len(claims),
    )
