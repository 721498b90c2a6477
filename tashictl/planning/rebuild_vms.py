"""From manifests and the newest copy of the state to one record for each VM, by uuid.

What a host shows wins over what is remembered, a manifest of a higher generation over a lower one.
Where two hosts have the same VM nothing is chosen that the hosts themselves do not settle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tashictl.model import names
from tashictl.model.event import Severity
from tashictl.model.host import VmFact
from tashictl.model.rebuild import Evidence, Finding
from tashictl.model.vm import NicSpec, Observed, OperationKind, Seen, Vm, Wanted
from tashictl.planning import drift, paths
from tashictl.planning.manifest import MANIFEST_SCHEMA, Manifest

LEFT_OUT = "its host was left out when the state was rebuilt"
_TAKEN_BACK = "its start was interrupted when the state was rebuilt"
_CREATING = "creating"
_STOPPED = "stopped"


class Found(Struct, frozen=True, kw_only=True):
    """A VM as one host shows it; `manifest` is None where it cannot be read."""

    host: str
    fact: VmFact
    manifest: Manifest | None


class Candidate(Struct, frozen=True, kw_only=True):
    """A record that may come into the new state; `known` is one of the base, by uuid."""

    vm: Vm
    known: bool
    alive: bool


class Lost(Struct, frozen=True, kw_only=True):
    """The interfaces of a VM that gets no record, whose addresses are to be kept back."""

    nics: tuple[NicSpec, ...]
    why: str


class Sorted(Struct, frozen=True, kw_only=True):
    """Every VM: its record, what is told of it, or the addresses that it leaves."""

    candidates: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    lost: tuple[Lost, ...]


_Out = Candidate | Finding | Lost


def sort(evidence: Evidence) -> Sorted:
    """Look at every uuid that a host shows or the base knows."""
    known = {vm.uuid: vm for vm in evidence.base.vms.values()} if evidence.base else {}
    shown = _shown(evidence)
    out: list[_Out] = []
    for uuid in sorted(shown.keys() | known.keys()):
        base = known.get(uuid)
        if uuid in shown:
            out += _seen(evidence, shown[uuid], base)
        elif base is not None:
            out += _unseen(evidence, base)
    return Sorted(
        candidates=tuple(o for o in out if isinstance(o, Candidate)),
        findings=tuple(o for o in out if isinstance(o, Finding)),
        lost=tuple(o for o in out if isinstance(o, Lost)),
    )


def manifest_of(fact: VmFact, cluster: str) -> Manifest | None:
    """The manifest of this VM of this cluster, or None for whatever else lies there."""
    try:
        found = msgspec.convert(fact.manifest, Manifest)
    except msgspec.ValidationError:
        return None
    right = (found.cluster, found.uuid) == (cluster, fact.uuid)
    sound = found.schema <= MANIFEST_SCHEMA and found.id > 0 and names.is_name(found.name)
    return found if right and sound else None


def nics_in(raw: dict[str, object] | None) -> tuple[NicSpec, ...]:
    """What can be made out of the interfaces in a manifest that does not fit its form."""
    spec = (raw or {}).get("spec")
    listed = spec.get("nics") if isinstance(spec, dict) else None
    found = []
    for one in listed if isinstance(listed, list) else ():
        try:
            found.append(msgspec.convert(one, NicSpec))
        except msgspec.ValidationError:
            continue
    return tuple(found)


def _shown(evidence: Evidence) -> dict[str, list[Found]]:
    shown: dict[str, list[Found]] = {}
    for host, facts in sorted(evidence.looks.items()):
        for fact in facts.vms:
            manifest = manifest_of(fact, evidence.cluster)
            one = Found(host=host, fact=fact, manifest=manifest)
            shown.setdefault(fact.uuid, []).append(one)
    return shown


def _seen(evidence: Evidence, shown: list[Found], base: Vm | None) -> Iterator[_Out]:
    alive = [one for one in shown if one.fact.alive]
    if len(alive) > 1:
        yield from _twice(evidence, alive, base, "runs on several hosts at once", "runs-twice")
        return
    chosen = alive[0] if alive else _newest(shown, base)
    if chosen is None:
        yield from _twice(
            evidence, shown, base, "lies on several hosts, and runs on none", "double"
        )
        return
    name = _name(chosen, base)
    left_out = base is not None and base.host in evidence.without and not alive
    if base is not None and left_out and _generation(chosen) <= base.generation:
        yield from _unseen(evidence, base)
        where = f"{base.host}, which was left out"
    else:
        yield from _placed(evidence, chosen, base)
        where = chosen.host
        shown = [one for one in shown if one is not chosen]
    for one in shown:
        yield _finding(
            evidence,
            one,
            "remains",
            Severity.WARNING,
            f"what is left of {name} on {one.host}: it is recorded on {where}",
            name,
        )


def _newest(shown: list[Found], base: Vm | None) -> Found | None:
    """The one of the highest generation; of several that where the base has it, or None."""
    top = max(map(_generation, shown))
    first = [one for one in shown if _generation(one) == top]
    if len(first) > 1:
        first = [one for one in first if base is not None and one.host == base.host]
    return first[0] if first else None


def _generation(one: Found) -> int:
    return one.manifest.generation if one.manifest is not None else 0


def _twice(
    evidence: Evidence, shown: list[Found], base: Vm | None, what: str, kind: str
) -> Iterator[_Out]:
    """The same VM in two places: each is told, none is recorded."""
    name = next((_name(one, base) for one in shown), "")
    for one in shown:
        pid = f", pid {one.fact.pid}" if one.fact.pid else ""
        text = f"{name} {what}; not recorded: here on {one.host}{pid}"
        yield _finding(evidence, one, kind, Severity.ERROR, text, name)
        yield Lost(nics=_nics(one, base), why=f"{name} {what}")


def _placed(evidence: Evidence, one: Found, base: Vm | None) -> Iterator[_Out]:
    """The VM is where `one` is."""
    if one.manifest is None:
        alive = f", and runs as pid {one.fact.pid}" if one.fact.alive else ""
        said = "is kept as it was known" if base is not None else "is not recorded"
        text = f"{one.fact.uuid} on {one.host} has no manifest that can be read{alive}: it {said}"
        severity = Severity.WARNING if base is not None else Severity.ERROR
        name = base.name if base is not None else None
        yield _finding(evidence, one, "unreadable", severity, text, name)
    vm = _record(one, base)
    if vm is None:
        yield Lost(nics=nics_in(one.fact.manifest), why=f"{one.fact.uuid} has no manifest")
        return
    if _is_leftover(one, base):
        text = f"{vm.name} on {vm.host} was never finished: it is to be removed"
        yield _finding(evidence, one, "leftover", Severity.WARNING, text, vm.name)
        vm = replace(vm, wanted=Wanted.ABSENT, observed=Observed(at=_now(evidence)))
    elif _is_stopped(one) and vm.wanted is not Wanted.ABSENT:
        vm = replace(vm, wanted=Wanted.STOPPED)
    if base is None and vm.wanted is not Wanted.ABSENT:
        text = f"{vm.name} (id {vm.id}) is recorded from its manifest on {vm.host}"
        yield _finding(evidence, one, "added", Severity.NOTE, text, vm.name)
    alone = replace(evidence.looks[one.host], vms=(one.fact,))  # not all of a full host each time
    (after,) = drift.seen([vm], drift.look_of(alone), _now(evidence)) or (vm,)
    yield Candidate(vm=after, known=base is not None, alive=one.fact.alive)


def _record(one: Found, base: Vm | None) -> Vm | None:
    manifest = one.manifest
    if base is not None and (manifest is None or base.generation > manifest.generation):
        reason = base.reason if base.operation is None else None
        return replace(base, host=one.host, operation=None, reason=reason)
    if manifest is None:
        return None
    asked = Vm(
        id=manifest.id,
        name=manifest.name,
        uuid=manifest.uuid,
        user=manifest.user,
        spec=manifest.spec,
        generation=manifest.generation,
        created=manifest.created,
        host=one.host,
    )
    if base is None:
        return asked
    return replace(
        asked,
        id=base.id,
        wanted=base.wanted,
        observed=base.observed,
        started=base.started,
        pid=base.pid,
        reason=base.reason if base.operation is None else None,
    )


def _is_stopped(one: Found) -> bool:
    """Whether the VM was stopped and keeps its disks."""
    return not one.fact.alive and one.manifest is not None and one.manifest.phase == _STOPPED


def _is_leftover(one: Found, base: Vm | None) -> bool:
    """Whether a creation ended in the middle; one that was seen to run, or had waited, is none."""
    if one.fact.alive or one.manifest is None or one.manifest.phase != _CREATING:
        return False
    if base is None:
        return True
    return (
        base.operation is not None
        and base.operation.kind is OperationKind.CREATE
        and not base.operation.hold
    )


def _unseen(evidence: Evidence, base: Vm) -> Iterator[_Out]:
    """A VM that only the base knows."""
    free = replace(base, operation=None)
    if base.host is None:
        yield Candidate(vm=free, known=True, alive=False)
        return
    if base.host not in evidence.looks:
        since = base.observed.at or _now(evidence)
        observed = replace(base.observed, what=Seen.UNKNOWN, at=since)
        vm = replace(free, observed=observed, reason=LEFT_OUT)
        yield _told(
            evidence, base, "orphaned", f"{base.name} is on {base.host}, which was not asked"
        )
        yield Candidate(vm=vm, known=True, alive=False)
        return
    if base.operation is not None and base.operation.hold and base.wanted is not Wanted.ABSENT:
        spec = replace(base.spec, machine=None)
        held = replace(free, host=None, held=True, observed=Observed(), spec=spec, pid=None)
        yield Candidate(vm=replace(held, reason=_TAKEN_BACK), known=True, alive=False)
        return
    why = f"nothing of {base.name} (id {base.id}) is on {base.host}"
    if base.wanted is Wanted.ABSENT:  # it was to go, and has gone
        return
    yield _told(evidence, base, "dropped", f"{why}: it is not recorded any more")
    yield Lost(nics=base.spec.nics, why=why)


def _told(evidence: Evidence, vm: Vm, kind: str, text: str) -> Finding:
    folder = paths.of(vm.uuid, evidence.settings).folder
    return Finding(
        kind=kind,
        severity=Severity.WARNING,
        text=text,
        vm=vm.name,
        uuid=vm.uuid,
        host=vm.host,
        folder=folder,
    )


def _finding(
    evidence: Evidence, one: Found, kind: str, severity: Severity, text: str, name: str | None
) -> Finding:
    folder = paths.of(one.fact.uuid, evidence.settings).folder
    return Finding(
        kind=kind,
        severity=severity,
        text=text,
        vm=name,
        uuid=one.fact.uuid,
        host=one.host,
        folder=folder,
    )


def _name(one: Found, base: Vm | None) -> str:
    if one.manifest is not None:
        return one.manifest.name
    return base.name if base is not None else one.fact.uuid


def _nics(one: Found, base: Vm | None) -> tuple[NicSpec, ...]:
    if one.manifest is not None:
        return one.manifest.spec.nics
    return base.spec.nics if base is not None else nics_in(one.fact.manifest)


def ids_in(looks: Iterable[VmFact], cluster: str) -> tuple[int, int]:
    """The highest ids of VMs and of operations in manifests and fences."""
    vms, operations = [0], [0]
    for fact in looks:
        found = manifest_of(fact, cluster)
        if found is not None:
            vms.append(found.id)
            operations.append(found.operation)
        if fact.fence is not None:
            operations.append(fact.fence[1])
    return max(vms), max(operations)


def _now(evidence: Evidence) -> str:
    return evidence.now.strftime("%Y-%m-%dT%H:%M:%SZ")
