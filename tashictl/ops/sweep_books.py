"""What a round leaves in the books: events, problems, and what was measured.

A book that cannot be written is itself a problem, and never keeps a round from its work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.event import Event, Problem, Severity
from tashictl.model.sample import Counters, Point
from tashictl.model.sighting import Sighting
from tashictl.ops.ports import World
from tashictl.ops.ports_sweep import Books
from tashictl.ops.sweep_repair import Done
from tashictl.planning import rates
from tashictl.planning.verdict import RepairKind, Scene, Verdict

_KINDS = {
    RepairKind.SETTLE: "operation-settled",
    RepairKind.REMOVE_HOST: "host-removed",
    RepairKind.CLEAR: "vm-removed",
    RepairKind.RESTART: "vm-restarted",
    RepairKind.FORGET: "vm-forgotten",
    RepairKind.SCHEDULE: "vm-scheduled",
}

_VM = "vm:"
_AT_ONCE = 128  # hosts whose points are in memory together: 4 kB for each of their VMs


class Told(Struct, frozen=True, kw_only=True):
    """What a round tells: `problems` are all that are open, `new` and `gone` are of this round."""

    events: tuple[Event, ...]
    problems: tuple[Problem, ...]
    new: tuple[Problem, ...]
    gone: tuple[Problem, ...]


def counters(books: Books) -> Mapping[str, Counters]:
    """The counters of the last round; none where the history cannot be read."""
    try:
        return books.history.last()
    except TashiError:
        return {}


def close(
    world: World,
    books: Books,
    scene: Scene,
    verdict: Verdict,
    done: Iterable[Done],
    measured: Mapping[str, Sighting],
) -> Told:
    """Write the books of a round that was done; `measured` are its sightings, whole."""
    tried = tuple(done)
    actor = world.who.controller()
    right = {one.repair.target for one in tried if one.error is None and one.text}
    problems = [*standing(verdict.problems, right), *_failures(tried)]
    problems += _measured(books, scene, measured)
    events = [*verdict.events, *_deeds(scene, tried)]
    try:
        looked_at, is_damaged = _looked_at(books, scene)
        new, gone = books.book.settle(problems, looked_at, scene.leads, scene.now)
        begun = books.book.events(limit=1) if is_damaged else ()  # it says what became of the old
        failed = {p.id for p in new if p.id.startswith("repair:")}
        events += [_failed(scene, p) for p in problems if p.id in failed]
        events += [_over(scene, p) for p in gone]
        written = (*begun, *books.book.write(_signed(events, actor)))
        every = tuple(books.book.problems().values())
    except TashiError as error:
        lost = Problem(id="book", severity=Severity.ERROR, text=str(error), hint=error.hint)
        every = (*problems, lost)
        return Told(events=tuple(events), problems=every, new=every, gone=())
    return Told(events=written, problems=every, new=new, gone=gone)


def _signed(events: Iterable[Event], actor: str) -> list[Event]:
    return [replace(event, actor=actor) for event in events]


def _looked_at(books: Books, scene: Scene) -> tuple[set[str], bool]:
    """The hosts whose look decides: those that were seen, and those that are no more.

    Also whether the book could not be read: the next thing that is written sets a damaged one
    aside, or says what is the matter.
    """
    found = {host for host in scene.asked if scene.looked_at(host) is not None}
    if not scene.leads:
        return found, False
    try:
        scopes = {p.scope for p in books.book.problems().values() if p.scope is not None}
    except TashiError:
        return found, True
    return found | (scopes - scene.state.hosts.keys()), False


def standing(problems: Iterable[Problem], right: Collection[str]) -> Iterator[Problem]:
    """What was found, without what has been put right since then: `right` are its targets."""
    for problem in problems:
        kind = problem.id.partition(":")[0]
        if problem.vm not in right or kind not in ("vm-exited", "operation"):
            yield problem


def _deeds(scene: Scene, done: Iterable[Done]) -> Iterator[Event]:
    for one in done:
        if one.error is not None or not one.text:
            continue
        repair = one.repair
        yield Event(
            at=scene.now,
            kind=_KINDS[repair.kind],
            host=repair.host or (one.vm.host if one.vm is not None else None),
            vm=repair.vm.name if repair.vm is not None else None,
            text=one.text,
            reason=repair.why,
        )


def _failures(done: Iterable[Done]) -> Iterator[Problem]:
    for one in done:
        error, repair = one.error, one.repair
        if error is None:
            continue
        what, cause, hint = str(error), "", ""
        if isinstance(error, TashiError):
            what, cause, hint = error.what, error.cause, error.hint
        said = f"{what}: {cause}" if cause else what
        yield Problem(
            id=f"repair:{repair.kind.value}:{repair.target}",
            severity=Severity.ERROR,
            text=f"{repair.target}: {repair.kind.value} failed: {' '.join(said.split())}",
            hint=hint.splitlines()[0] if hint else "",
            vm=repair.vm.name if repair.vm is not None else None,
            host=repair.host,
            scope=repair.host,
        )


def _failed(scene: Scene, problem: Problem) -> Event:
    return Event(
        at=scene.now,
        kind="repair-failed",
        severity=Severity.ERROR,
        host=problem.host,
        vm=problem.vm,
        text=problem.text,
        problem=problem.id,
    )


def _over(scene: Scene, problem: Problem) -> Event:
    return Event(
        at=scene.now,
        kind="problem-over",
        host=problem.host,
        vm=problem.vm,
        text=f"over: {problem.text}",
        reason=f"since {problem.since}" if problem.since else "",
        problem=problem.id,
    )


def _measured(books: Books, scene: Scene, measured: Mapping[str, Sighting]) -> list[Problem]:
    """Make rates of what was seen now and at the last round, and keep them."""
    seen = [host for host in measured if scene.looked_at(host) is not None]
    try:
        for begin in range(0, len(seen), _AT_ONCE):
            end = begin + _AT_ONCE
            found, points = _taken(scene, ((h, measured[h]) for h in seen[begin:end]))
            books.history.append(found, points, _Labels(scene) if end >= len(seen) else None)
        if scene.leads:
            books.history.forget(_gone(scene))
    except TashiError as error:
        return [Problem(id="history", text=str(error), hint=error.hint)]
    return []


def _taken(
    scene: Scene, seen: Iterable[tuple[str, Sighting]]
) -> tuple[dict[str, Counters], list[Point]]:
    found: dict[str, Counters] = {}
    points: list[Point] = []
    for host, sighting in seen:
        new, some = rates.take(host, sighting, scene.counters)
        found.update(new)
        points += some
        for more, others in _blocks(scene, sighting):
            found.update(more)
            points += others
    return found, points


def _blocks(scene: Scene, sighting: Sighting) -> Iterator[tuple[dict[str, Counters], list[Point]]]:
    for vm in sighting.vms:
        said = scene.dialogues.get(vm.uuid)
        if said is not None and said.status is not None:
            incarnation = f"{sighting.boot_id}/{vm.pid}/{vm.starttime}"
            yield rates.take_blocks(vm.uuid, said.at_s, incarnation, said.blocks, scene.counters)


def _gone(scene: Scene) -> list[str]:
    uuids = {vm.uuid for vm in scene.state.vms.values()}
    gone = []
    for subject in scene.counters:
        kind, _, name = subject.partition("/")[0].partition(":")
        if name not in (scene.state.hosts if kind == "host" else uuids):
            gone.append(subject)
    return gone


class _Labels(Mapping[str, str]):
    """What the subjects are called, so that they are found by name when they are gone."""

    def __init__(self, scene: Scene) -> None:
        self._names = {vm.uuid: vm.name for vm in scene.state.vms.values()}

    def __getitem__(self, subject: str) -> str:
        return self._names[subject.removeprefix(_VM)]

    def __iter__(self) -> Iterator[str]:
        return (_VM + uuid for uuid in self._names)

    def __len__(self) -> int:
        return len(self._names)
