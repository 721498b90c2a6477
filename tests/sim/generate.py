"""Generate the cases: each fault at each point that a command reaches, then what comes after."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from typing import get_args

from msgspec import Struct

from tashictl.adapters.sim.faults import AT_A_SERVER, AT_THE_MONITOR, Moment
from tashictl.model.steps import Step
from tests.sim.cases import ALL_KINDS, Case, Command, faults_at, matching
from tests.sim.play import Played, play

# Steps that the controller does itself have no moment that is seen only at the host.
MOMENTS = {
    **dict.fromkeys((*AT_THE_MONITOR, *AT_A_SERVER), (Moment.BEFORE, Moment.SENT, Moment.AFTER)),
    "PutImage": (Moment.BEFORE, Moment.AFTER),
    "PutSeed": (Moment.BEFORE, Moment.AFTER),
}
FAMILIES = (
    *("create", "count", "destroy", "schedule", "import", "seeded"),
    *("start", "pause", "unpause", "reset", "shutdown"),
    *("named", "unname"),
)
AFTER = {
    "create": ("destroy", "create", "resume", "undo"),
    "count": ("count", "wipe"),
    "destroy": ("destroy", "create", "resume"),
    "schedule": ("destroy", "schedule", "resume", "undo"),
    "import": ("import",),
    "start": ("destroy", "start", "resume", "undo", "check"),
    "pause": ("destroy", "pause", "resume", "undo"),
    "unpause": ("destroy", "unpause", "resume", "pause"),
    "reset": ("destroy", "reset", "resume", "undo"),
    "shutdown": ("destroy", "shutdown", "create", "resume", "undo"),
    "seeded": ("destroy", "seeded", "resume", "undo"),
    "named": ("destroy", "named", "resume", "undo"),
    "unname": ("destroy", "named", "resume"),
}
BEFORE = {
    "create": (),
    "count": (),
    "destroy": (Command("create"),),
    "schedule": (Command("pend"),),
    "import": (),
    "start": (Command("create"), Command("crash")),
    "pause": (Command("create"),),
    "unpause": (Command("create"), Command("pause")),
    "reset": (Command("create"),),
    "shutdown": (Command("create"),),
    "seeded": (),
    "named": (),
    "unname": (Command("named"),),
}
# Of a family that is like another one only what it adds is played.
ONLY = {
    "seeded": ("PutSeed", "PlaceSeed", "Port"),
    "named": ("AddDhcp", "AddDns", "AwaitQmp", "StartQemu", "Port"),
    "unname": ("RemoveDhcp", "RemoveDns", "RemoveDir", "Port"),
}


def singles(verb: str, seed: int) -> Iterator[Case]:
    """One fault, then each next command."""
    setup = BEFORE[verb]
    bare = play(Case((*setup, Command(verb))), seed)
    points = [p for p in bare.traces[-1] if p.step in ONLY.get(verb, (p.step,))]
    for fault, alone in faults_at(points):
        faulted = Command(verb, (fault,), alone)
        for following in AFTER[verb]:
            yield Case((*setup, faulted, Command(following)))


def pairs(first: Played) -> Iterator[Case]:
    """A second fault: in the same command after the first, or in the next one."""
    *before, faulted, following = first.case.commands
    same, other = first.traces[-2:]
    for fault, _ in faults_at(same):
        twice = Command(faulted.verb, (*faulted.faults, fault), faulted.alone)
        yield Case((*before, twice, following))
    for fault, alone in faults_at(other):
        second = Command(following.verb, (fault,), alone)
        for last in (
            ("wipe",) if faulted.verb == "count" else ("destroy", "create", "resume", "undo")
        ):
            yield Case((*before, faulted, second, Command(last)))


def sampled_pairs(played: list[Played], count: int, seed: int) -> Iterator[Case]:
    """A sample of all pairs."""
    source = random.Random(seed)
    for _ in range(count):
        choices = list(pairs(source.choice(played)))
        if choices:
            yield source.choice(choices)


class Report(Struct, frozen=True):
    """How a family went: how many cases, what failed and why, what was reached."""

    family: str
    count: int
    seconds: float
    failed: tuple[tuple[str, str], ...]
    fired: frozenset[tuple[str, str, str]]  # step, moment, kind

    @property
    def text(self) -> str:
        """The failures, one line each, with the id that repeats it."""
        lines = [f"  {case}\n      {problem}" for case, problem in self.failed[:40]]
        more = len(self.failed) - 40
        return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


def family(
    verb: str, seed: int, pair_count: int, patterns: tuple[str, ...] = (), share: float = 1.0
) -> Report:
    """Play one family: all single faults (or a `share` of them), and a sample of pairs."""
    begun_s = time.monotonic()
    cases = matching(singles(verb, seed), patterns)
    if share < 1.0:
        cases = random.Random(seed).sample(cases, int(share * len(cases)))
    played = [play(case, seed) for case in cases]
    if not patterns:
        played += [play(case, seed) for case in sampled_pairs(list(played), pair_count, seed)]
    return report(verb, played, time.monotonic() - begun_s)


def report(name: str, played: Iterable[Played], seconds: float) -> Report:
    """Sum up."""
    runs = list(played)
    failed = [(str(p.case), f"{problem}  {p.outcomes}") for p in runs for problem in p.problems]
    fired = {
        (f.point.step, f.point.moment.value, f.kind)
        for p in runs
        for c in p.case.commands
        for f in c.faults
        if f not in p.unfired
    }
    return Report(name, len(runs), seconds, tuple(failed), frozenset(fired))


def uncovered(reports: Iterable[Report]) -> list[str]:
    """Step kinds that no fault has met, and moments and kinds of fault that were never reached."""
    fired = set().union(*(r.fired for r in reports))
    steps = {step for step, _, _ in fired}
    known = {kind.__name__ for kind in get_args(Step)}
    lines = [f"step {name}: in no plan that is played" for name in sorted(known - steps)]
    for name in sorted(known & steps):
        for moment in Moment:
            if moment in MOMENTS.get(name, Moment) and not any(
                (name, moment.value) == f[:2] for f in fired
            ):
                lines.append(f"step {name}: nothing went wrong at the moment {moment.value}")
    kinds = {kind for _, _, kind in fired}
    return [*lines, *(f"fault {kind}: never happened" for kind in sorted(ALL_KINDS - kinds))]
