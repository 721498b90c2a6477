"""Sweeps that are interrupted, cut off, starved or raced: one or two more put everything right."""

from __future__ import annotations

import random

import pytest

from tashictl.adapters.sim.faults import Moment
from tests.sim.cases import Command
from tests.sim.sweeps import BESIDE, INTERRUPTED, POLICIES, Swept, beside, faults, race, swept

SEED = 20261126
AT_STEPS, AT_PORTS = 14, 8  # cases of each world
RACES = range(60)


def failures(played: list[Swept]) -> list[str]:
    return [f"{one.label}: {problem}  {one.outcomes}" for one in played for problem in one.problems]


def sampled(policy: str, interrupted: str) -> list[Command]:
    """Some of the faults at steps and looks, and deaths at some uses of the ports."""
    dice = random.Random(f"{SEED} {policy} {interrupted}")
    every = faults(policy, interrupted)
    ports = [c for c in every if c.faults[0].point.step == "Port"]
    steps = [c for c in every if c.faults[0].point.step != "Port"]
    return dice.sample(steps, AT_STEPS) + dice.sample(ports, AT_PORTS)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("interrupted", INTERRUPTED)
def test_whatever_befalls_a_sweep_the_next_two_put_everything_right(
    policy: str, interrupted: str
) -> None:
    played = [swept(policy, interrupted, command) for command in sampled(policy, interrupted)]

    assert not failures(played)
    assert any(one.fired for one in played)


@pytest.mark.slow
def test_the_same_holds_when_the_next_sweep_meets_a_fault_too() -> None:
    dice = random.Random(SEED)
    played: list[Swept] = []
    for interrupted in INTERRUPTED:
        policy = dice.choice(POLICIES)
        every = faults(policy, interrupted)
        played += [swept(policy, interrupted, *dice.sample(every, 2)) for _ in range(20)]

    assert not failures(played)


@pytest.mark.slow
def test_a_sweep_may_die_at_every_use_of_its_ports() -> None:
    deaths = [
        command
        for command in faults("restart", "create")
        if command.faults[0].kind == "kill" and command.faults[0].point.moment is Moment.BEFORE
    ]
    played = [swept("restart", "create", command) for command in deaths]

    assert not failures(played)
    assert len(played) > 60


def test_without_a_fault_one_sweep_puts_everything_right_and_the_next_has_nothing_to_do() -> None:
    for policy in POLICIES:
        for interrupted in INTERRUPTED:
            assert swept(policy, interrupted, Command("sweep")).outcomes == ("ok", "ok")


@pytest.mark.parametrize("act", BESIDE)
def test_what_others_do_while_a_sweep_is_stopped_stands(act: str) -> None:
    policies = ("forget", "restart")
    played = [beside(policies[port % 2], act, port) for port in range(1, 50, 4)]

    assert not failures(played)


@pytest.mark.parametrize("port", [11, 16, 24])
def test_a_vm_that_was_started_since_its_removal_was_decided_stays(port: int) -> None:
    assert not failures([beside("forget", "start", port)])


def test_two_sweeps_at_once_are_one_and_a_refusal_and_touch_nothing_of_what_runs() -> None:
    raced = [race(seed) for seed in RACES]

    assert [p for one in raced for p in one.problems] == []
    assert ("E-SWEEPING",) in {o for one in raced for o in one.outcomes}
