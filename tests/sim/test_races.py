"""Several controllers at once, in turns that a seed chooses."""

from __future__ import annotations

import pytest

from tests.sim.races import RACES, Raced, faults_for, race

SEEDS = range(12)
FAULTY = 25


def _failures(results: list[tuple[str, Raced]]) -> list[str]:
    return [f"{label}: {p}  {r.outcomes}" for label, r in results for p in r.problems]


@pytest.mark.parametrize("name", RACES)
def test_controllers_that_race_leave_nothing_double_and_nothing_behind(name: str) -> None:
    results = [(f"{name} {seed}", race(name, seed)) for seed in SEEDS]
    assert not _failures(results)


@pytest.mark.parametrize("name", RACES)
def test_the_same_holds_when_one_of_them_meets_a_fault(name: str) -> None:
    faults = faults_for(name)
    step = max(1, len(faults) // FAULTY)
    results = [(f"{name} 1 {fault}", race(name, 1, fault)) for fault in faults[::step]]
    assert not _failures(results)


def test_a_seed_repeats_a_race() -> None:
    assert race("after-kill", 5) == race("after-kill", 5)


def test_two_creates_for_the_last_slot_leave_one_running_and_one_pending() -> None:
    for seed in SEEDS:
        assert race("last-slot", seed).outcomes == (("ok",), ("ok",))
