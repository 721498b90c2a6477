"""What `status` knows: the object of the contract, and everything that wants attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from tashictl.cli import text
from tashictl.model import units
from tashictl.model.host import HostState
from tashictl.model.vm import TashiState

if TYPE_CHECKING:
    from tashictl.model.cluster import Cluster, Host
    from tashictl.model.event import Problem
    from tashictl.model.inventory import Inventory
    from tashictl.model.operation import Operation
    from tashictl.model.state import State
    from tashictl.model.vm import Vm


class Line(Struct, frozen=True, kw_only=True):
    """Something that wants attention: `kind` is for programs, `command` is what to type."""

    kind: str
    target: str
    said: str
    command: str


class Picture(Struct, frozen=True, kw_only=True):
    """All that `status` looks at."""

    name: str
    state: State
    cluster: Cluster
    inventory: Inventory
    operations: Sequence[Operation]
    now: datetime
    problems: Sequence[Problem] = ()


def record(picture: Picture) -> dict[str, object]:
    """The object of the contract."""
    state, hosts = picture.state, picture.cluster.hosts
    usable = [h for h in hosts if _usable(h)]
    vms = state.vms.values()
    return {
        "cluster": {"name": picture.name, "id": state.meta.cluster, "stale": state.meta.stale},
        "hosts": {
            "total": len(hosts),
            "up": sum(h.record.up is True for h in hosts),
            "down": sum(h.record.up is False for h in hosts),
            "unknown": sum(h.record.up is None for h in hosts),
            "drained": sum(h.state is HostState.Drained for h in hosts),
            "version_mismatch": sum(h.state is HostState.VersionMismatch for h in hosts),
            "not_added": not_added(picture),
        },
        "vms": {"total": len(state.vms), "by_state": by_state(vms)},
        "cores": {
            "used": sum(h.used_cores for h in hosts),
            "total": sum(h.cores for h in hosts),
            "free": sum(max(0, h.free_cores) for h in usable),
        },
        "memory_mib": {
            "used": sum(h.used_memory_mib for h in hosts),
            "total": sum(h.memory_mib for h in hosts),
            "free": sum(max(0, h.free_memory_mib) for h in usable),
        },
        "images": len(state.images),
        "operations": {
            "running": [o.id for o in picture.operations if o.status.value == "running"],
            "interrupted": [o.id for o in picture.operations if o.status.value == "interrupted"],
        },
        "deferred": len(state.deferred),
        "attention": [
            {"kind": one.kind, "target": one.target, "text": one.said, "command": one.command}
            for one in of(picture)
        ],
        "next": next_step(picture),
    }


def by_state(vms: Iterable[Vm]) -> dict[str, int]:
    """How many VMs are in each of the states that some are in, in Tashi's order."""
    found = Counter(vm.state for vm in vms)
    return {state.name: found[state] for state in TashiState if found[state]}


def _usable(host: Host) -> bool:
    return host.state is HostState.Normal and host.record.up is not False


def not_added(picture: Picture) -> list[str]:
    """The hosts that the inventory lists and that were not added."""
    return [h.name for h in picture.inventory.hosts if h.name not in picture.state.hosts]


def next_step(picture: Picture) -> str | None:
    """What to type in a cluster that has no VM yet; None where there is nothing to say."""
    state = picture.state
    if not state.hosts:
        known = not_added(picture)
        return f"tashictl host add {known[0] if known else 'NAME'}"
    if not state.images:
        return "tashictl image import FILE"
    if not state.vms:
        return f"tashictl vm create NAME --disk {next(iter(sorted(state.images)))}"
    return None


# -- what wants attention


def of(picture: Picture) -> list[Line]:
    """Everything that is not as it should be, the worst first."""
    found = [
        *_database(picture),
        *_operations(picture),
        *_deferred(picture),
        *_hosts(picture),
        *_vms(picture),
    ]
    said = {f"{one.kind}:{one.target}" for one in found}
    return [*found, *_problems(picture, said)]


def _problems(picture: Picture, said: set[str]) -> Iterator[Line]:
    """What the sweep found that nobody acknowledged and no line says already, in one line."""
    zone = picture.now.tzinfo
    some = [p for p in picture.problems if p.acked_at is None and p.id not in said]
    if not some:
        return
    began = [when.astimezone(zone) for p in some if (when := text.read_time(p.since)) is not None]
    new = sum(when.date() == picture.now.date() for when in began)
    today = f", {new} new today" if new else ""
    yield Line(
        kind="problems",
        target=some[0].id,
        said=some[0].text if len(some) == 1 else f"{len(some)} problems{today}",
        command="tashictl event list --problems",
    )


def _database(picture: Picture) -> Iterator[Line]:
    stale = picture.state.meta.stale
    if stale:
        yield Line(
            kind="stale",
            target="database",
            said=f"the database is an old copy, nothing may be changed: {stale}",
            command="tashictl state rebuild",
        )


def _operations(picture: Picture) -> Iterator[Line]:
    for operation in picture.operations:
        if operation.status.value != "interrupted":
            continue
        begun = [s for s in operation.steps if s.status != "waiting"]
        hosts = list(dict.fromkeys(s.host for s in operation.steps))
        where = f" on {hosts[0]}" if hosts and hosts[0] != operation.target else ""
        last = f" at {begun[-1].name}" if begun else ""
        yield Line(
            kind="operation",
            target=str(operation.id),
            said=f"op {operation.id} {operation.kind} {operation.target}{where}: interrupted "
            f"{ago(operation.started, picture.now)}{last}",
            command=f"tashictl op resume {operation.id}",
        )


def _deferred(picture: Picture) -> Iterator[Line]:
    """What waits for a server of names: one line for each server."""
    waiting = picture.state.deferred.values()
    for server in dict.fromkeys(one.key.partition("/")[0] for one in waiting):
        some = [one for one in waiting if one.key.startswith(f"{server}/")]
        adds = sum(one.add for one in some)
        parts = [count(adds, "registration")] if adds else []
        parts += [count(len(some) - adds, "removal")] if len(some) > adds else []
        since = min(one.since for one in some)
        wait = "waits" if len(some) == 1 else "wait"
        yield Line(
            kind="deferred",
            target=server,
            said=f"{server.upper()}: {' and '.join(parts)} {wait} for the server, the first "
            f"{ago(since, picture.now)}: {some[-1].why}",
            command="tashictl sweep",
        )


def _hosts(picture: Picture) -> Iterator[Line]:
    now = picture.now
    for host in picture.cluster.hosts:
        record, name = host.record, host.name
        check = f"tashictl host check {name}"
        carried = f", with {count(host.vms, 'VM')}" if host.vms else ""
        if record.up is not True:
            seen = text.show_time(record.last_contact, now)
            since = f"since {seen}" if seen else "since it was added"
            said = f"{name}: not reached {since}{carried}"
            yield Line(kind="host-down", target=name, said=said, command=check)
        if host.state is HostState.VersionMismatch:
            version = record.facts.qemu_version if record.facts else None
            said = f"{name}: its QEMU {version or ''} is not one that is used".replace("  ", " ")
            yield Line(kind="host-version", target=name, said=said, command=check)
    listed = {h.name for h in picture.inventory.hosts}
    for name in sorted(set(picture.state.hosts) - listed):
        said = f"{name}: added, but the inventory does not list it any more"
        yield Line(
            kind="host-unlisted",
            target=name,
            said=said,
            command=f"tashictl host remove {name} --force",
        )
    waiting = not_added(picture)
    if waiting and picture.state.hosts:
        yield Line(
            kind="host-not-added",
            target=waiting[0],
            said=f"{text.few(waiting)}: in the inventory, not added yet",
            command=f"tashictl host add {waiting[0]}",
        )


def _vms(picture: Picture) -> Iterator[Line]:
    interrupted = {o.id for o in picture.operations if o.status.value == "interrupted"}
    for vm in sorted(picture.state.vms.values(), key=lambda v: v.id):
        if vm.operation is not None and vm.operation.id in interrupted:
            continue  # said above
        state = vm.state
        if state in (TashiState.Pending, TashiState.Held):
            reason = f": {vm.reason}" if vm.reason else ""
            waited = f" {age(vm.created, picture.now)}" if state is TashiState.Pending else ""
            yield Line(
                kind=state.name.lower(),
                target=vm.name,
                said=f"{vm.name} {state.name.lower()}{waited}{reason}",
                command="tashictl schedule",
            )
        elif state is TashiState.Orphaned:
            seen = text.show_time(vm.observed.at, picture.now)
            yield Line(
                kind="orphaned",
                target=vm.name,
                said=f"{vm.name} orphaned: {vm.host} does not answer for it"
                + (f", last seen {seen}" if seen else ""),
                command=f"tashictl host check {vm.host}",
            )
        elif vm.operation is None and vm.reason and state is not TashiState.Running:
            yield Line(
                kind=state.name.lower(),
                target=vm.name,
                said=f"{vm.name} {state.name.lower()}: {vm.reason}",
                command=_next(vm),
            )


def _next(vm: Vm) -> str:
    verb = "start" if vm.state is TashiState.Exited else "show"
    return f"tashictl vm {verb} {vm.name}"


def age(at: str, now: datetime) -> str:
    """How long ago `at` was: ``3 min``."""
    when = text.read_time(at)
    if when is None:
        return "long"
    passed_s = max(0.0, (now - when).total_seconds())
    return f"{passed_s:.0f} s" if passed_s < 10 else units.show_seconds(passed_s)


def ago(at: str, now: datetime) -> str:
    """How long ago `at` was: ``3 min ago``."""
    return f"{age(at, now)} ago"


def count(number: int, thing: str) -> str:
    """``1 VM``, ``2 VMs``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
