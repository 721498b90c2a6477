"""Neighbour tables, TAPs and QEMUs of hosts against the database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from tashictl.model.audit import Disagreement, HostSeen, QemuSeen, Seen
from tashictl.model.network import Network
from tashictl.model.state import State
from tashictl.model.vm import NicSpec, Vm
from tashictl.planning.audit.claims import Claims

_TAP = re.compile(r"tashi([0-9]{1,9})\.([0-9]{1,3})")


def compare(
    state: State, claims: Claims, networks: Iterable[Network], seen: Seen
) -> Iterator[Disagreement]:
    """What hosts have that the database does not say."""
    yield from _taken(state, claims, tuple(networks), seen)
    yield from _macs(state, claims, seen.hosts)
    for host in seen.hosts:
        for tap in host.taps:
            yield from _tap(state, claims, host, tap)


# -- addresses


def _taken(
    state: State, claims: Claims, networks: tuple[Network, ...], seen: Seen
) -> Iterator[Disagreement]:
    """Once for each address and MAC, whichever hosts have met it."""
    bridges = {n.id: bridge_of(n) for n in networks if n.bridge is not None}
    wanted: dict[tuple[str, str], tuple[Vm, NicSpec]] = {}
    for vm in state.vms.values():
        for nic in vm.spec.nics if vm.uuid not in claims.open else ():
            for address in nic.addresses if nic.network in bridges else ():
                wanted[bridges[nic.network], address] = (vm, nic)
    found: dict[tuple[str, str], list[str]] = {}
    for host in seen.hosts:
        for met in host.neighbours:
            has = wanted.get((met.device, met.address))
            if has is None or met.mac in {nic.mac for nic in has[0].spec.nics}:
                continue
            if met.age_s < _runs_for_s(has[0], seen.at):  # else it may be of who had it before
                found.setdefault((met.address, met.mac), []).append(host.host)
    for (address, mac), hosts in found.items():
        vm, nic = next(w for (_, a), w in wanted.items() if a == address)
        yield Disagreement(
            kind="address-taken",
            subject=address,
            source=" ".join(sorted(hosts)),
            database=f"{vm.name} ({nic.mac})",
            found=f"{mac} answers for it",
            repair=f"find what has {mac}, and give it another address",
        )


def bridge_of(network: Network) -> str:
    """The interface on which a host meets the guests of a network."""
    if network.vlan_aware and network.vlan is not None:
        return f"{network.bridge}.{network.vlan}"
    return network.bridge or ""


def _runs_for_s(vm: Vm, at: str) -> float:
    since = vm.started or vm.created
    return (datetime.fromisoformat(at) - datetime.fromisoformat(since)).total_seconds()


# -- MACs


def _macs(state: State, claims: Claims, hosts: Iterable[HostSeen]) -> Iterator[Disagreement]:
    known = {vm.uuid: vm for vm in state.vms.values()}
    having: dict[str, list[tuple[str, QemuSeen]]] = {}
    for host in hosts:
        for qemu in host.qemus:
            if qemu.uuid in claims.open and qemu.uuid in known:
                continue
            for mac in qemu.macs:
                having.setdefault(mac, []).append((host.host, qemu))
            yield from _unknown(known.get(qemu.uuid), host.host, qemu)
    for mac, qemus in having.items():
        if len(qemus) > 1:
            yield Disagreement(
                kind="mac-twice",
                subject=mac,
                source=" ".join(sorted({host for host, _ in qemus})),
                database=_owner(state, mac),
                found="; ".join(f"{_said(known, q)}, pid {q.pid} on {host}" for host, q in qemus),
                repair="end the one that is wrong: its frames reach the other",
            )


def _unknown(vm: Vm | None, host: str, qemu: QemuSeen) -> Iterator[Disagreement]:
    own = {nic.mac for nic in vm.spec.nics} if vm is not None else set()
    for mac in sorted(set(qemu.macs) - own):
        yield Disagreement(
            kind="mac-unknown",
            subject=mac,
            source=host,
            database=f"{vm.name} has {', '.join(sorted(own)) or 'none'}" if vm else "no such VM",
            found=f"pid {qemu.pid} ({qemu.uuid[:8]}) has it",
            repair=f"tashictl host check {host}" if vm is None else f"tashictl vm show {vm.name}",
        )


def _owner(state: State, mac: str) -> str:
    names = [vm.name for vm in state.vms.values() if any(n.mac == mac for n in vm.spec.nics)]
    return ", ".join(names) or "no VM has it"


def _said(known: dict[str, Vm], qemu: QemuSeen) -> str:
    vm = known.get(qemu.uuid)
    return vm.name if vm is not None else qemu.uuid[:8]


# -- TAPs


def _tap(state: State, claims: Claims, host: HostSeen, tap: str) -> Iterator[Disagreement]:
    match = _TAP.fullmatch(tap)
    if match is None:
        return
    vm_id, index = int(match[1]), int(match[2])
    vm = state.vms.get(vm_id)
    if vm is not None and vm.uuid in claims.open:
        return
    if vm is None and vm_id > state.meta.last_vm_id:  # of another cluster's VM, or by hand
        said = f"ids end at {state.meta.last_vm_id}"
    elif vm is None:
        said = f"no VM has id {vm_id}"
    elif vm.host != host.host:
        said = f"{vm.name} is on {vm.host}"
    elif all(nic.index != index for nic in vm.spec.nics):
        said = f"{vm.name} has no interface {index}"
    else:
        return
    yield Disagreement(
        kind="tap-orphan",
        subject=tap,
        source=host.host,
        database=said,
        found="it is there",
        repair=f"ip link del {tap}   on {host.host}, if nothing uses it",
    )
