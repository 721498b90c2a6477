"""A host that leaves: whatever was on its way to it, and whatever interrupts the removal itself."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tashictl.adapters.sim.faults import Planned, Point
from tashictl.adapters.sim.host import SimHost
from tashictl.ops import host_remove
from tashictl.planning import quiet
from tests.sim.cases import faults_at
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.things import CLUSTER, FOREIGN, NAME

SEED = 20261126
# A script that was answered is not on its way a second time: it travels in one SSH channel.
NOT_HERE = {"dup"}
PATIENCE = 60


def ours(host: SimHost) -> list[str]:
    """All of the cluster's that is on a host."""
    images = "/var/lib/tashi/shared/"
    kept = (f"/{FOREIGN}/", images)
    found = [p for p in host.files if not any(k in p for k in kept) and not p.endswith(".9")]
    found += [f for f in host.folders if CLUSTER in f]
    found += [t for t, whose in host.taps.items() if whose != "foreign"]
    return found + [f"QEMU {p.pid}" for p in host.processes.values() if not p.foreign]


def remove(controller: Controller, name: str) -> str:
    context = controller.cluster.context
    return controller.command(lambda: host_remove.remove(controller.world, context, name))


def remove_as_soon_as_may_be(cluster: Cluster, name: str) -> float:
    """Ask until it is done; how long that took."""
    begun_s = cluster.timeline.monotonic_s()
    for _ in range(PATIENCE):
        outcome = remove(cluster.controller(), name)
        if outcome in ("ok", "E-NO-HOST"):
            return cluster.timeline.monotonic_s() - begun_s
        assert outcome in ("E-HOST-UNQUIET", "E-BUSY"), outcome
        cluster.timeline.sleep(5.0)
    raise AssertionError(f"{name} is never quiet")


def traced(verb: str) -> tuple[Point, ...]:
    with a_cluster(SEED) as cluster:
        controller = cluster.controller()
        outcome = controller.create() if verb == "create" else remove(controller, "node1")
        assert outcome == "ok"
        return tuple(controller.injector.trace)


def planned(verb: str, share: float = 1.0) -> Iterator[tuple[Planned, bool]]:
    every = [(f, alone) for f, alone in faults_at(traced(verb)) if f.kind not in NOT_HERE]
    return iter(random.Random(SEED).sample(every, int(share * len(every))))


def create_and_leave(fault: Planned, alone: bool) -> list[str]:
    """A create that goes wrong, a destroy, then both hosts leave; what is found there after all."""
    split_at = fault.point.step if alone else None
    with a_cluster(SEED) as cluster:
        cluster.controller((fault,), split_at=split_at).create()
        cluster.heal()
        gone = cluster.controller().destroy(NAME)
        assert gone in ("ok", "E-NO-VM"), f"{fault}: {gone}"
        for host in cluster.hosts:
            remove_as_soon_as_may_be(cluster, host.name)
        cluster.network.deliver_held()
        cluster.run_out()
        assert cluster.watch.problems == [], fault
        return [f"{fault} {host.name}: {left}" for host in cluster.hosts if (left := ours(host))]


def test_no_script_that_comes_late_finds_a_host_without_its_fence() -> None:
    left = [
        line for fault, alone in planned("create", 0.35) for line in create_and_leave(fault, alone)
    ]

    assert left == []


def test_without_the_wait_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "last_unanswered", lambda *_: None)
    late = [(f, alone) for f, alone in planned("create") if f.kind in ("late", "lost")]

    assert late
    assert any(create_and_leave(fault, alone) for fault, alone in late)


def test_whatever_interrupts_a_removal_the_next_one_finishes_it() -> None:
    count = 0
    for fault, alone in planned("remove"):
        split_at = fault.point.step if alone else None
        with a_cluster(SEED) as cluster:
            remove(cluster.controller((fault,), split_at=split_at), "node1")
            cluster.heal()
            remove_as_soon_as_may_be(cluster, "node1")
            cluster.network.deliver_held()
            cluster.run_out()
            assert ours(cluster.hosts[0]) == [], fault
            assert "node1" not in cluster.state().hosts
            assert cluster.watch.problems == [], fault
            count += 1
    assert count > 40
