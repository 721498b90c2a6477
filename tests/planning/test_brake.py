"""When a round stops to ask."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tashictl.planning import reconcile
from tests.planning.sweep_cases import record, scene, vm


def test_half_of_the_hosts_gone_at_once_is_asked_about() -> None:
    away = {"node2": "no answer", "node3": "no answer"}

    verdict = reconcile.judge(scene([vm(1)], {}, away))

    assert verdict.brake[0].startswith("2 of 3 hosts that were up do not answer")
    assert reconcile.judge(scene([vm(1)], {}, {"node2": "no answer"})).brake == ()


def test_hosts_that_were_down_already_do_not_count() -> None:
    before = scene([vm(1)], {}, {"node2": "no answer", "node3": "no answer"})
    down = {n: record(n, up=False) for n in ("node2", "node3")}
    hosts = {**before.state.hosts, **down}

    verdict = reconcile.judge(replace(before, state=replace(before.state, hosts=hosts)))

    assert verdict.brake == ()


@pytest.mark.parametrize(("number", "stops"), [(5, False), (6, True)])
def test_more_orphans_than_five_or_a_tenth_are_asked_about(number: int, stops: bool) -> None:
    vms = [vm(n, host="node1") for n in range(1, number + 1)]

    verdict = reconcile.judge(scene(vms, {}, {"node1": "no answer"}))

    assert bool(verdict.brake) is stops


def test_a_tenth_of_many_is_more_than_five() -> None:
    vms = [vm(n, host="node1" if n <= 10 else "node2") for n in range(1, 101)]

    verdict = reconcile.judge(scene(vms, {}, {"node1": "no answer"}))

    assert verdict.brake == ()
