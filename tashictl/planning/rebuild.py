"""The state made anew from what the hosts show and from its newest copy. Pure.

No id, name or address is given out twice afterwards: what clashes is told, and what cannot be
accounted for is kept back for a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from tashictl.model.event import Severity
from tashictl.model.host import HostFacts, HostRecord, HostState
from tashictl.model.image import Image
from tashictl.model.rebuild import Evidence, Finding, Rebuilt
from tashictl.model.settings import Settings
from tashictl.model.state import Meta, Quarantined, State
from tashictl.model.vm import NicSpec, Vm
from tashictl.planning import paths, ports, quarantine, requirements
from tashictl.planning.rebuild_vms import Candidate, Lost, ids_in, sort


def rebuild(evidence: Evidence) -> Rebuilt:
    """The new state, everything that people must know of it, and the addresses kept back."""
    found = sort(evidence)
    last_vm, last_operation = _last_ids(evidence)
    vms, findings, lost = _without_clashes(evidence, found.candidates, last_vm)
    kept_back = tuple(_kept_back(evidence, (*found.lost, *lost)))
    base = evidence.base
    hosts = _hosts(evidence, vms.values())
    meta = Meta(
        cluster=evidence.cluster,
        epoch=evidence.epoch,
        generation=(base.meta.generation if base else 0) + 1,
        last_vm_id=max(last_vm, *vms, 0),
        last_operation_id=last_operation,
        last_host_id=max(h.id for h in hosts.values()) if hosts else 0,
    )
    if base is not None:
        meta = replace(meta, last_host_id=max(meta.last_host_id, base.meta.last_host_id))
    now = evidence.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    before = quarantine.in_force(base, now) if base is not None else ()
    state = State(
        meta=meta,
        vms=vms,
        hosts=hosts,
        images=_images(evidence),
        quarantine={one.key: one for one in (*before, *kept_back)},
    )
    recorded = {vm.uuid for vm in vms.values()}
    true = (f for f in found.findings if f.kind not in _OF_RECORDS or f.uuid in recorded)
    told = sorted((*true, *findings), key=_worst_first)
    return Rebuilt(state=state, findings=tuple(told), quarantined=kept_back)


_OF_RECORDS = ("added", "leftover")  # said of a VM before it was clear that its name is free
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def _worst_first(finding: Finding) -> tuple[int, str, str, str]:
    rank = _RANK[finding.severity]
    return rank, finding.kind, finding.vm or "", finding.host or ""


def _last_ids(evidence: Evidence) -> tuple[int, int]:
    """The last ids of VMs and of operations that may have been given out.

    Whoever gives out a VM's id takes an operation's too, so there were no more VMs since the base
    than operations; those of VMs that are gone again are seen in no manifest.
    """
    base = evidence.base.meta if evidence.base else Meta(cluster=evidence.cluster)
    facts = [fact for look in evidence.looks.values() for fact in look.vms]
    vm, operation = ids_in(facts, evidence.cluster)
    claims = [look.claimed_counter for look in evidence.looks.values()]
    operation = max(operation, evidence.counters.operation, base.last_operation_id, *claims, 0)
    since = operation - base.last_operation_id
    return max(vm, evidence.counters.vm, base.last_vm_id + since), operation


# -- clashes


def _without_clashes(
    evidence: Evidence, candidates: Iterable[Candidate], last_vm: int
) -> tuple[dict[int, Vm], list[Finding], list[Lost]]:
    """Whoever comes first keeps id and name: who was known, then who runs, then the older."""
    vms: dict[int, Vm] = {}
    named: dict[str, Vm] = {}
    held: dict[tuple[int, str], Vm] = {}
    findings: list[Finding] = []
    lost: list[Lost] = []
    highest = max([last_vm, *(one.vm.id for one in candidates)])
    free = itertools.count(highest + 1)
    for one in sorted(candidates, key=_first_come):
        vm = one.vm
        other = named.get(vm.name)
        if other is not None:
            findings.append(_same_name(evidence, vm, other))
            lost.append(Lost(nics=vm.spec.nics, why=f"a second VM is named {vm.name}"))
            continue
        if vm.id in vms:
            vm = replace(vm, id=next(free))
            findings.append(_same_id(evidence, vm, one.vm, vms[one.vm.id]))
        for nic in vm.spec.nics:
            for label, key in _addresses(nic):
                holder = held.setdefault(key, vm)
                if holder is not vm:
                    text = f"{vm.name} and {holder.name} both have {label}"
                    findings.append(_clash(evidence, vm, text, Severity.WARNING))
                    lost.append(Lost(nics=(nic,), why=text))
        vms[vm.id] = named[vm.name] = vm
    return dict(sorted(vms.items())), findings, lost


def _first_come(one: Candidate) -> tuple[bool, bool, str, int, str]:
    return not one.known, not one.alive, one.vm.created, one.vm.id, one.vm.uuid


def _same_name(evidence: Evidence, vm: Vm, other: Vm) -> Finding:
    where = f"on {vm.host}" if vm.host is not None else "which waits for a host"
    there = f" on {other.host}" if other.host is not None else ""
    text = (
        f"two VMs are named {vm.name}: the one of uuid {other.uuid}{there} is recorded, the one of"
        f" uuid {vm.uuid} {where} is not"
    )
    return _clash(evidence, vm, text, Severity.ERROR)


def _same_id(evidence: Evidence, vm: Vm, before: Vm, other: Vm) -> Finding:
    taps = paths.taps(before)
    left = f"; its devices on {vm.host} keep their names: {', '.join(taps)}" if taps else ""
    text = f"{vm.name} and {other.name} had the same id {other.id}: {vm.name} has {vm.id} now{left}"
    return _clash(evidence, vm, text, Severity.WARNING)


def _addresses(nic: NicSpec) -> Iterator[tuple[str, tuple[int, str]]]:
    """What nobody else may have, in words and as a key."""
    yield f"the MAC {nic.mac}", (0, nic.mac)
    for address in nic.addresses:
        yield f"the address {address} on network {nic.network}", (nic.network, address)


def _clash(evidence: Evidence, vm: Vm, text: str, severity: Severity) -> Finding:
    return Finding(
        kind="clash",
        severity=severity,
        text=text,
        vm=vm.name,
        uuid=vm.uuid,
        host=vm.host,
        folder=paths.of(vm.uuid, evidence.settings).folder,
    )


def _kept_back(evidence: Evidence, lost: Iterable[Lost]) -> Iterator[Quarantined]:
    for one in lost:
        seconds = evidence.settings.dhcp.quarantine_s
        yield from quarantine.of(one.nics, evidence.now, seconds, one.why)


# -- hosts and images


def _hosts(evidence: Evidence, vms: Iterable[Vm]) -> dict[str, HostRecord]:
    """Those that answered as they are now, the others as they were known."""
    known = dict(evidence.base.hosts) if evidence.base is not None else {}
    last = evidence.base.meta.last_host_id if evidence.base is not None else 0
    free = itertools.count(max([last, *(h.id for h in known.values())]) + 1)
    vms = tuple(vms)
    found = {
        name: replace(record, up=False) if name in evidence.without else record
        for name, record in known.items()
    }
    for name, facts in sorted(evidence.looks.items()):
        record = known.get(name) or HostRecord(id=next(free), name=name)
        facts = ports.foreign(facts, name, vms)
        found[name] = _host(record, facts, evidence.settings)
    return found


def _host(record: HostRecord, facts: HostFacts, settings: Settings) -> HostRecord:
    state = record.state
    if state is not HostState.Drained:
        fits = requirements.version_fits(facts.qemu_version, settings)
        state = HostState.Normal if fits else HostState.VersionMismatch
    return replace(
        record,
        up=True,
        state=state,
        last_contact=facts.at,
        facts=replace(facts, vms=(), images=()),
        seen_operation=facts.claimed_counter,
    )


def _images(evidence: Evidence) -> dict[str, Image]:
    """The images that were known and those that lie on a host, each with the hosts that have it."""
    images = dict(evidence.base.images) if evidence.base is not None else {}
    for host, facts in sorted(evidence.looks.items()):
        there = {fact.name: fact for fact in facts.images}
        for name, image in images.items():
            fact = there.pop(name, None)
            rest = tuple(h for h in image.hosts if h != host)
            if fact is not None and fact.size_bytes == image.size_bytes:
                rest = tuple(sorted((*rest, host)))
            images[name] = replace(image, hosts=rest)
        for fact in there.values():
            images[fact.name] = Image(
                name=fact.name,
                format=fact.format,
                size_bytes=fact.size_bytes,
                virtual_size_bytes=fact.virtual_size_bytes or fact.size_bytes,
                hosts=(host,),
                shared=evidence.settings.vfs_shared,
                arch=facts.arch,
            )
    return images
