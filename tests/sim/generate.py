"""Generate the cases: each fault at each point that a command reaches, then what comes after."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.sim.cases import Case, Command, faults_at, parse
from tests.sim.play import Played, play

AFTER = {"create": ("destroy", "create", "resume", "undo"), "destroy": ("destroy", "create", "resume")}
SETUP = {"create": "", "destroy": "create+"}


def singles(verb: str, seed: int) -> Iterator[Case]:
    """One fault, then each next command."""
    setup = parse(f"create+{verb}").commands[:1] if SETUP[verb] else ()
    bare = play(Case((*setup, Command(verb))), seed)
    for fault, alone in faults_at(bare.traces[-1]):
        faulted = Command(verb, (fault,), alone)
        for following in AFTER[verb]:
            yield Case((*setup, faulted, Command(following)))


def pairs(first: Played, seed: int) -> Iterator[Case]:
    """A second fault: in the same command after the first, or in the next one."""
    del seed
    *before, faulted, following = first.case.commands
    same, other = first.traces[-2:]
    for fault, _ in faults_at(same):
        twice = Command(faulted.verb, (*faulted.faults, fault), faulted.alone)
        yield Case((*before, twice, following))
    for fault, alone in faults_at(other):
        second = Command(following.verb, (fault,), alone)
        for last in ("destroy", "create", "resume", "undo"):
            yield Case((*before, faulted, second, Command(last)))


def sampled_pairs(played: list[Played], count: int, seed: int) -> Iterator[Case]:
    """A sample of all pairs."""
    source = random.Random(seed)
    for _ in range(count):
        choices = list(pairs(source.choice(played), seed))
        if choices:
            yield source.choice(choices)
