"""What a round says of the hosts: up, down, rebooted, full, late, not ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.event import Event, Problem, Severity
from tashictl.model.host import HostRecord
from tashictl.model.sighting import Mount, Sighting
from tashictl.model.units import show_bytes, show_seconds
from tashictl.planning import proof
from tashictl.planning.verdict import Scene

CLOCK_S = 10.0  # from here on a clock is told to be wrong; scripts begin up to 60 s late
_FULL = 0.05
_FULL_BYTES = 2 << 30  # 5 % of a large disk is room enough
_BUSY_S = 300
_ISO = "%Y-%m-%dT%H:%M:%SZ"


class Hosts(Struct, frozen=True, kw_only=True):
    """Records that change, and what is told."""

    records: tuple[HostRecord, ...]
    problems: tuple[Problem, ...]
    events: tuple[Event, ...]


def of(scene: Scene) -> Hosts:
    """Look at every host of the round."""
    records: list[HostRecord] = []
    problems: list[Problem] = []
    events: list[Event] = []
    vms = Counter(vm.host for vm in scene.state.vms.values())
    for name in scene.asked:
        record = scene.state.hosts.get(name)
        if record is None:
            continue
        if name in scene.lost:
            after = replace(record, up=False)
            problems.append(_down(scene, record, vms[name]))
        else:
            sighting = scene.sightings[name]
            after = _up(scene, record, sighting)
            problems += _faults(scene, name, sighting)
        events += _changes(scene, record, after)
        if after != record:
            records.append(after)
    return Hosts(records=tuple(records), problems=tuple(problems), events=tuple(events))


def booted(sighting: Sighting) -> str | None:
    """When the host was booted, by its uptime and our clock; None where it does not tell."""
    if sighting.host is None or sighting.host.uptime_s <= 0:
        return None
    at = datetime.fromisoformat(sighting.at)
    return (at - timedelta(seconds=sighting.host.uptime_s)).strftime(_ISO)


def _up(scene: Scene, record: HostRecord, sighting: Sighting) -> HostRecord:
    """The record of a host that answered; its facts of the moment are those of the look."""
    facts = record.facts
    if sighting.busy_s is not None or proof.is_foreign(scene, sighting) or facts is None:
        return replace(record, up=True, last_contact=sighting.at)
    now = replace(
        facts,
        at=sighting.at,
        boot_id=sighting.boot_id or facts.boot_id,
        kernel=sighting.kernel or facts.kernel,
        clock_offset_s=sighting.clock_offset_s,
        bridges=sighting.bridges,
        # The uptime gives another second each time: only a reboot is news.
        booted=facts.booted if sighting.boot_id == facts.boot_id else booted(sighting),
    )
    return replace(record, up=True, last_contact=sighting.at, facts=now)


def _changes(scene: Scene, before: HostRecord, after: HostRecord) -> Iterator[Event]:
    name = before.name
    if before.up is not after.up:
        if after.up:
            since = f", last seen {before.last_contact}" if before.last_contact else ""
            text = f"{name} answers" + (" again" if before.up is False else "")
            yield Event(at=scene.now, kind="host-up", host=name, text=text + since)
        else:
            yield Event(
                at=scene.now,
                kind="host-down",
                severity=Severity.WARNING,
                host=name,
                text=f"{name} does not answer",
                reason=scene.lost.get(name, ""),
                problem=f"host-down:{name}",
            )
    old, new = before.facts, after.facts
    if old is not None and new is not None and old.boot_id != new.boot_id:
        yield Event(
            at=scene.now,
            kind="host-rebooted",
            severity=Severity.WARNING,
            host=name,
            text=f"{name} was rebooted",
            reason=f"booted {new.booted}" if new.booted else "",
        )


def _down(scene: Scene, record: HostRecord, vms: int) -> Problem:
    name = record.name
    seen = f"last seen {record.last_contact}" if record.last_contact else "never seen"
    carried = f"; {vms} VM{'' if vms == 1 else 's'} unknown" if vms else ""
    return Problem(
        id=f"host-down:{name}",
        severity=Severity.ERROR,
        text=f"{name} does not answer ({scene.lost[name]}), {seen}{carried}",
        hint=f"tashictl host check {name}",
        host=name,
        scope=name,
    )


def _faults(scene: Scene, name: str, sighting: Sighting) -> Iterator[Problem]:
    if sighting.busy_s is not None:
        if sighting.busy_s >= _BUSY_S:
            yield _problem(
                "probe-busy",
                name,
                f"{name}: an earlier look at it has been hanging for "
                f"{show_seconds(sighting.busy_s)}; nothing is known of its VMs",
            )
        return
    if proof.is_foreign(scene, sighting):
        whose = sighting.claim[0] if sighting.claim else ""
        text = f"{name} belongs to another cluster now ({whose}): nothing there is believed"
        hint = f"tashictl host remove {name} --force, or free it there first"
        yield replace(_problem("host-foreign", name, text), hint=hint, severity=Severity.ERROR)
        return
    if sighting.hidden:
        text = f"{name}: its login may not see all that runs there; a VM that it does not see is "
        text += "not taken for gone"
        yield replace(_problem("host-hidden", name, text), severity=Severity.ERROR)
    if abs(sighting.clock_offset_s) >= CLOCK_S:
        way = "fast" if sighting.clock_offset_s > 0 else "slow"
        off = show_seconds(abs(sighting.clock_offset_s))
        text = f"{name}: its clock is {off} {way}; scripts are fenced by time"
        yield replace(_problem("host-clock", name, text), hint="run NTP there and here")
    for mount in sighting.host.mounts if sighting.host is not None else ():
        yield from _mount(name, mount)


def _mount(name: str, mount: Mount) -> Iterator[Problem]:
    subject = f"{name}:{mount.path}"
    if mount.stuck_since is not None:
        text = f"{name}: {mount.path} ({mount.role}) hangs, stuck since {mount.stuck_since}"
        problem = _problem("mount-stuck", name, text)
        yield replace(problem, id=f"mount-stuck:{subject}", severity=Severity.ERROR)
    elif mount.free_bytes is not None and mount.size_bytes:
        free = mount.free_bytes
        if free < _FULL * mount.size_bytes and free < _FULL_BYTES:
            left = f"{show_bytes(free)} of {show_bytes(mount.size_bytes)}"
            text = f"{name}: {mount.path} ({mount.role}) is nearly full, {left} free"
            yield replace(_problem("disk-full", name, text), id=f"disk-full:{subject}")


def _problem(kind: str, host: str, text: str) -> Problem:
    hint = f"tashictl host check {host}"
    return Problem(id=f"{kind}:{host}", text=text, hint=hint, host=host, scope=host)
