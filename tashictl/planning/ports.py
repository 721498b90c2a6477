"""Ports of a host's 127.0.0.1 that lead to port 22 of its guests on networks of mode user."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from tashictl.model.cluster import Cluster, Host
from tashictl.model.host import HostFacts
from tashictl.model.network import Network
from tashictl.model.settings import PortRange
from tashictl.model.vm import Vm, VmSpec

USER = "user"  # the mode of a network that QEMU itself makes


def wanted(spec: VmSpec, networks: Iterable[Network]) -> int:
    """How many ports a VM needs: one for each interface on a network of mode user."""
    ids = {n.id for n in networks if n.mode == USER}
    return sum(nic.network in ids for nic in spec.nics)


def free(host: Host, cluster: Cluster, allowed: PortRange) -> list[int]:
    """The ports that no VM of the host has and that nothing else there was seen to listen on."""
    facts = host.record.facts
    taken = set(facts.ports) if facts is not None else set()
    taken |= of(vm for vm in cluster.vms if vm.host == host.name)
    return [port for port in range(allowed.first, allowed.last + 1) if port not in taken]


def of(vms: Iterable[Vm]) -> set[int]:
    """The ports that these VMs have."""
    ports = (nic.ssh_port for vm in vms for nic in vm.spec.nics)
    return {port for port in ports if port is not None}


def assign(spec: VmSpec, host: Host, cluster: Cluster, allowed: PortRange) -> VmSpec:
    """`spec` with the first free ports of the host, which must have enough; other nics get none."""
    ids = {n.id for n in cluster.networks if n.mode == USER}
    found = iter(free(host, cluster, allowed))
    nics = (replace(nic, ssh_port=next(found) if nic.network in ids else None) for nic in spec.nics)
    return replace(spec, nics=tuple(nics))


def with_taken(facts: HostFacts, vm: Vm) -> HostFacts:
    """`facts` after a start of `vm` found its port taken by something else."""
    return replace(facts, ports=tuple(sorted({*facts.ports, *of([vm])})))


def foreign(facts: HostFacts, host: str, vms: Iterable[Vm]) -> HostFacts:
    """`facts` without the ports on which VMs of ours listen: those are free when the VM is gone."""
    ours = of(vm for vm in vms if vm.host == host)
    return replace(facts, ports=tuple(port for port in facts.ports if port not in ours))
