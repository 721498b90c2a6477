"""Cases: commands with faults, as compact strings; generated from what the plans reach.

``create/StartQemu/done/kill+destroy/KillQemu/sent/cut`` is a create that is killed when its QEMU
has started, then a destroy whose connection is cut while QEMU is being killed. A command may have
several faults, one after the other. ``Port.3`` is the third use of store, journal or network by a
command, which need not be near a step; ``Look.2`` is the second look of a sweep. A leading ``~``
gives the faulted step a batch of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from msgspec import Struct

from tashictl.adapters.sim.faults import AT_A_SERVER, AT_THE_MONITOR, Moment, Planned, Point

_ANYWHERE = ("kill", "power", "lostpower", "int", "stop", "nospace", "down", "reboot")
_AT_HOST = (*_ANYWHERE, "cut", "trunc", "full", "fail", "hang", "stall")
_AT_SEND = (*_ANYWHERE, "cut", "full")
_UNSCRIPTED = (*AT_THE_MONITOR, *AT_A_SERVER, "PutImage", "PutSeed", "Port", "Look")
_AT_LOOK = (*_ANYWHERE, "cut", "trunc", "hang", "full")
_AT_PORT = ("kill", "power", "lostpower", "int", "stop", "nospace")
_BATCH = ("late", "latemid", "lost")  # what befalls a whole script
ALL_KINDS = frozenset(
    {
        *(*_AT_HOST, *_AT_SEND, *_AT_PORT, *_BATCH, "dup", "exit", "die", "mute", "deaf"),
        *("nodns", "nodhcp", "deafdns", "deafdhcp"),
    }
)


class Command(Struct, frozen=True):
    """A command and what befalls it."""

    verb: str
    faults: tuple[Planned, ...] = ()
    alone: bool = False

    def __str__(self) -> str:
        return "/".join([("~" if self.alone else "") + self.verb, *map(str, self.faults)])


class Case(Struct, frozen=True):
    """Commands, one after the other."""

    commands: tuple[Command, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.commands))


def parse(text: str) -> Case:
    """Read a case's id."""
    return Case(tuple(_command(part) for part in text.split("+")))


def _command(text: str) -> Command:
    verb, *rest = text.split("/")
    if len(rest) % 3:
        raise ValueError(f"{text!r}: a fault is STEP/MOMENT/KIND")
    faults = []
    for at in range(0, len(rest), 3):
        step, _, nth = rest[at].partition(".")
        point = Point(step, int(nth or 1), Moment(rest[at + 1]))
        faults.append(Planned(point, rest[at + 2]))
    return Command(verb.lstrip("~"), tuple(faults), verb.startswith("~"))


def kinds_at(point: Point) -> tuple[str, ...]:
    """What may go wrong at a point."""
    if point.step == "Port":
        return _AT_PORT
    if point.step == "Look":
        return _AT_LOOK if point.moment is Moment.BEFORE else _ANYWHERE
    if point.step in ("PutImage", "PutSeed"):
        return (*_ANYWHERE, "cut", "full", "late") if point.moment is Moment.BEFORE else _ANYWHERE
    if point.step in AT_A_SERVER:
        server = point.step.removeprefix("Add").removeprefix("Remove").lower()
        before = point.moment is Moment.BEFORE
        return (*_ANYWHERE, *((f"no{server}", f"deaf{server}") if before else ()))
    if point.step in AT_THE_MONITOR:
        deaf = point.step == "PressPowerButton" and point.moment is Moment.BEFORE
        return (*_at_the_monitor(point.moment), *(("deaf",) if deaf else ()))
    match point.moment:
        case Moment.BEFORE:
            return _AT_SEND
        case Moment.SENT:
            return (*_AT_HOST, "exit") if point.step == "StartQemu" else _AT_HOST
        case Moment.DONE:
            return (*_AT_HOST, "die") if point.step == "StartQemu" else _AT_HOST
        case Moment.AFTER:
            return _ANYWHERE


def _at_the_monitor(moment: Moment) -> tuple[str, ...]:
    match moment:
        case Moment.BEFORE:
            return (*_ANYWHERE, "cut", "mute", "die")
        case Moment.SENT:
            return (*_ANYWHERE, "cut", "mute", "die")
        case _:
            return _ANYWHERE


def faults_at(points: Iterable[Point]) -> Iterator[tuple[Planned, bool]]:
    """Every fault at each of these points; True where the step travels alone."""
    whole = False  # a script of several steps is held up once, not once for each of them
    for point in points:
        for kind in kinds_at(point):
            yield Planned(point, kind), False
        scripted = point.moment is Moment.BEFORE and point.step not in _UNSCRIPTED
        if scripted and not whole:
            whole = True
            for kind in (*_BATCH, "dup"):
                yield Planned(point, kind), False
        if scripted:
            for kind in _BATCH:
                yield Planned(point, kind), True


def matching(cases: Iterable[Case], patterns: Iterable[str]) -> list[Case]:
    """The cases that some pattern (an id, or a glob) stands for; all where there is none."""
    wanted = tuple(patterns) or ("*",)
    return [c for c in cases if any(fnmatchcase(str(c), w) or str(c) == w for w in wanted)]
