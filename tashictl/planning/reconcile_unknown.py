"""What runs, or lies there, and is not where the database has it: taken in, moved, or told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.event import Event, Problem, Severity
from tashictl.model.sighting import ForeignQemu, Sighting, VmSample
from tashictl.model.vm import Observed, Seen, Vm, Wanted
from tashictl.planning import proof
from tashictl.planning.manifest import Manifest
from tashictl.planning.verdict import Scene

Places = Mapping[str, tuple[str, ...]]


class Strange(Struct, frozen=True, kw_only=True):
    """What is told."""

    problems: tuple[Problem, ...]
    events: tuple[Event, ...]


def places(scene: Scene) -> Places:
    """On which hosts each uuid is alive."""
    found: dict[str, tuple[str, ...]] = {}
    for host, _, vm in _samples(scene):
        if vm.alive:
            found[vm.uuid] = (*found.get(vm.uuid, ()), host)
    return found


def is_elsewhere(vm: Vm, alive: Places) -> bool:
    """Whether it is alive, and not on the host that the database has it on."""
    hosts = alive.get(vm.uuid, ())
    return bool(hosts) and vm.host not in hosts


def of(scene: Scene, after: Mapping[int, Vm]) -> tuple[tuple[Vm, ...], Strange]:
    """Records of VMs that are taken in or have moved, and what is told."""
    alive = places(scene)
    taken: dict[int, Vm] = {}
    problems: list[Problem] = []
    events: list[Event] = []
    by_uuid = {vm.uuid: vm for vm in after.values()}
    before = {vm.uuid for vm in scene.known.values()}
    for uuid, hosts in alive.items():
        if len(hosts) > 1:
            problems.append(_twice(uuid, hosts, by_uuid.get(uuid)))
    for host, sighting, sample in _samples(scene):
        if len(alive.get(sample.uuid, ())) > 1:
            continue
        vm = by_uuid.get(sample.uuid)
        if vm is None:
            # One that was known before the look has been removed since, as was one made since.
            removed = sample.uuid in before or _is_newer(scene, sample)
            if removed or (sample.uuid in alive and not sample.alive):
                continue
            if sighting.hidden and not sample.alive:
                continue
            found = _adopted(scene, host, sighting, sample, {**after, **taken})
        elif vm.host != host and sample.alive and _is_as_it_was(scene, vm):
            found = _moved(scene, host, sighting, sample, vm)
        else:
            continue
        if isinstance(found, Problem):
            problems.append(found)
        elif found is not None:
            taken[found.id] = found
            events.append(_taken_in(scene, found, vm, host))
    ours = {vm.uuid: vm for vm in scene.state.vms.values()}
    for host in scene.sightings:
        problems += _foreign(scene, host, ours)
    return tuple(taken.values()), Strange(problems=tuple(problems), events=tuple(events))


def _samples(scene: Scene) -> Iterator[tuple[str, Sighting, VmSample]]:
    for host in scene.sightings:
        sighting = scene.looked_at(host)
        if sighting is None or proof.is_foreign(scene, sighting):
            continue
        for vm in sighting.vms:
            yield host, sighting, vm


def _is_newer(scene: Scene, sample: VmSample) -> bool:
    """Whether its manifest is of an operation that began while the hosts were looked at."""
    operation = (sample.manifest or {}).get("operation")
    known = scene.last_known
    return known is not None and isinstance(operation, int) and operation > known


def _is_as_it_was(scene: Scene, vm: Vm) -> bool:
    """Whether its record is at rest, and not newer than the looks."""
    return vm.operation is None and scene.state.vms.get(vm.id) == scene.known.get(vm.id)


def _adopted(
    scene: Scene, host: str, sighting: Sighting, sample: VmSample, vms: Mapping[int, Vm]
) -> Vm | Problem | None:
    if sample.manifest is None and not sample.alive:
        return _remains(host, sample, "a folder without a manifest") if sample.folder else None
    try:
        manifest = msgspec.convert(
            {k: v for k, v in (sample.manifest or {}).items() if k != "started"}, Manifest
        )
    except msgspec.ValidationError as error:
        return _remains(host, sample, f"its manifest cannot be read: {error}")
    if manifest.cluster != scene.state.meta.cluster or manifest.uuid != sample.uuid:
        return _remains(host, sample, f"its manifest is of cluster {manifest.cluster}")
    taken = next((vm.name for vm in vms.values() if vm.id == manifest.id), None)
    if taken is not None:
        return _double(host, sample, manifest.name, f"{taken} has its id {manifest.id}")
    if any(vm.name == manifest.name for vm in vms.values()):
        return _double(host, sample, manifest.name, "another VM has its name")
    return Vm(
        id=manifest.id,
        name=manifest.name,
        uuid=manifest.uuid,
        user=manifest.user,
        spec=manifest.spec,
        wanted=Wanted.RUNNING,
        observed=_observed(sighting, sample, manifest.generation),
        host=host,
        generation=manifest.generation,
        created=manifest.created,
        pid=sample.pid,
        reason=None if sample.alive else f"found on {host}, not running; the database had lost it",
    )


def _observed(sighting: Sighting, sample: VmSample, generation: int) -> Observed:
    return Observed(
        what=Seen.RUNNING if sample.alive else Seen.STOPPED,
        at=sighting.at,
        boot_id=sighting.boot_id,
        generation=generation,
    )


def _moved(
    scene: Scene, host: str, sighting: Sighting, sample: VmSample, vm: Vm
) -> Vm | Problem | None:
    """It is alive on another host: it is there now, if the one of the record has said otherwise."""
    if vm.wanted is Wanted.ABSENT:
        return None
    if scene.looked_at(vm.host) is None:
        return Problem(
            id=f"vm-elsewhere:{vm.name}",
            severity=Severity.ERROR,
            text=f"{vm.name} runs on {host}; the database has it on {vm.host}, which does not "
            "answer: it may run twice",
            hint=f"tashictl host check {vm.host}",
            vm=vm.name,
            host=host,
            scope=host,
        )
    observed = _observed(sighting, sample, vm.generation)
    return replace(vm, host=host, observed=observed, pid=sample.pid, reason=None)


def _taken_in(scene: Scene, after: Vm, before: Vm | None, host: str) -> Event:
    if before is not None:
        return Event(
            at=scene.now,
            kind="vm-moved",
            severity=Severity.WARNING,
            host=host,
            vm=after.name,
            text=f"{after.name} is on {host} now",
            reason=f"it runs there and not on {before.host}, where the database had it",
        )
    state = "runs" if after.observed.what is Seen.RUNNING else "lies, not running,"
    return Event(
        at=scene.now,
        kind="vm-adopted",
        severity=Severity.WARNING,
        host=host,
        vm=after.name,
        text=f"{after.name} (id {after.id}) was taken into the database",
        reason=f"it {state} on {host} with our manifest, and the database did not know it",
    )


def _twice(uuid: str, hosts: tuple[str, ...], vm: Vm | None) -> Problem:
    name = vm.name if vm is not None else uuid
    where = " and ".join(hosts)
    return Problem(
        id=f"vm-twice:{name}",
        severity=Severity.ERROR,
        text=f"{name} runs twice, on {where}: its disks may be written by both",
        hint="find out which one is right, and end the other's QEMU on its host",
        vm=name,
        host=hosts[0],
        scope=hosts[0],
    )


def _double(host: str, sample: VmSample, name: str, why: str) -> Problem:
    runs = "runs" if sample.alive else "lies"
    return Problem(
        id=f"vm-double:{sample.uuid}",
        severity=Severity.ERROR,
        text=f"{name} ({sample.uuid}) {runs} on {host} and cannot be taken in: {why}",
        hint=f"end it on {host}, or rename the other, then sweep again",
        vm=name,
        host=host,
        scope=host,
    )


def _remains(host: str, sample: VmSample, why: str) -> Problem:
    runs = "a QEMU of it runs" if sample.alive else "nothing of it runs"
    return Problem(
        id=f"remains:{host}:{sample.uuid}",
        text=f"{host} has {sample.uuid}, which the database does not know: {why}; {runs}",
        hint=f"look at its folder on {host}, and remove it there if nobody needs it",
        host=host,
        scope=host,
    )


def _foreign(scene: Scene, host: str, ours: Mapping[str, Vm]) -> Iterator[Problem]:
    sighting = scene.looked_at(host)
    for qemu in sighting.foreign if sighting is not None else ():
        vm = ours.get(qemu.uuid or "")
        yield _foreigner(host, qemu) if vm is None else _unlocked(host, qemu, vm)


def _unlocked(host: str, qemu: ForeignQemu, vm: Vm) -> Problem:
    """A QEMU with the uuid of a VM of ours, which does not hold that VM's lock."""
    return Problem(
        id=f"vm-unlocked:{vm.name}",
        severity=Severity.ERROR,
        text=f"{host}: a QEMU (pid {qemu.pid}) says that it is {vm.name} and does not hold its "
        "lock: it was started by hand, or its run folder was removed; its disks may be written "
        "twice",
        hint=f"end the one that is not wanted, on {host}",
        vm=vm.name,
        host=host,
        scope=host,
    )


def _foreigner(host: str, qemu: ForeignQemu) -> Problem:
    named = f" {qemu.name}" if qemu.name else ""
    return Problem(
        id=f"foreign-qemu:{host}:{qemu.uuid or qemu.pid}",
        text=f"{host}: a QEMU{named} (pid {qemu.pid}) runs that is not of this cluster; what it "
        "uses is not counted",
        hint=f"tashictl state adopt {host}, or tashictl event ack",
        host=host,
        scope=host,
    )
