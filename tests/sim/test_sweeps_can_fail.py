"""The simulated sweeps can fail: break what keeps a promise of the sweep, and they say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.event import Problem
from tashictl.model.vm import Observed, Seen, Vm
from tashictl.ops import vm as vm_ops
from tashictl.planning import (
    brake,
    drift,
    proof,
    reconcile,
    reconcile_repairs,
    reconcile_unknown,
    reconcile_vms,
)
from tashictl.planning.verdict import Scene
from tests.sim.cases import Command
from tests.sim.harness import a_cluster
from tests.sim.large import Size
from tests.sim.storm import storm
from tests.sim.sweeps import beside, race, swept
from tests.sim.test_worlds import OLD, an_old_copy, what_is_there

Patch = pytest.MonkeyPatch
Problems = list[str]
_FEW = Size(hosts=12, storms=2, rounds=10)


def _stormy() -> Problems:
    return [problem for seed in (1, 3) for problem in storm(seed, _FEW).found]


def _plain() -> Problems:
    return list(swept("forget", "create", Command("sweep")).problems)


def _old_copy() -> Problems:
    with a_cluster(1, hosts=1) as cluster:
        an_old_copy(cluster, interrupted=False, journals=True)
        before = what_is_there(cluster.hosts[0])
        outcome = cluster.controller().sweep()
        same = what_is_there(cluster.hosts[0]) == before
        return [] if outcome == OLD and same else [f"an old copy was believed: {outcome}"]


def _made_and_removed_meanwhile() -> Problems:
    return [problem for seed in (17, 38) for problem in race(seed, ("brief",)).problems]


def _started_meanwhile() -> Problems:
    return list(beside("forget", "start", 16).problems)


def _paused_meanwhile() -> Problems:
    return list(beside("hold", "pause", 6).problems)


def _silence_is_an_end(patch: Patch) -> None:
    def lost(vm: Vm, now: str) -> Vm:
        return replace(vm, observed=Observed(what=Seen.STOPPED, at=now), reason="no answer")

    patch.setattr(drift, "_lost", lost)


def _the_brake_is_off(patch: Patch) -> None:
    patch.setattr(brake, "reasons", lambda *_: ())


def _the_brake_is_on(patch: Patch) -> None:
    patch.setattr(brake, "_LEAST_VMS", 0)
    patch.setattr(brake, "_SHARE", 0.0)


def _nothing_of(kind: str) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        patch.setattr(reconcile_repairs, kind, lambda *_: ())

    return apply


def _what_came_meanwhile_is_old(patch: Patch) -> None:
    patch.setattr(reconcile_unknown, "_is_newer", lambda *_: False)


def _unknown_vms_are_not_taken_in(patch: Patch) -> None:
    patch.setattr(reconcile_unknown, "_adopted", lambda *_: None)


def _exits_are_not_told(patch: Patch) -> None:
    def problems(scene: Scene, after: Any) -> Iterator[Problem]:
        return (p for p in real(scene, after) if not p.id.startswith("vm-exited"))

    real = reconcile_vms.problems
    patch.setattr(reconcile_vms, "problems", problems)


def _a_removal_is_not_thought_over(patch: Patch) -> None:
    real = vm_ops.destroy
    patch.setattr(
        vm_ops, "destroy", lambda world, context, name, _=None: real(world, context, name)
    )


def _every_round_restarts(patch: Patch) -> None:
    def seen(vms: Iterable[Vm], look: Any, now: str) -> tuple[Vm, ...]:
        return tuple(vm for vm in real(vms, look, now) if vm.observed.what is not Seen.STOPPED)

    real = drift.seen
    patch.setattr(drift, "seen", seen)


def _newer_records_are_overwritten(patch: Patch) -> None:
    real = reconcile.judge
    patch.setattr(reconcile, "judge", lambda scene: real(replace(scene, state=_before(scene))))


def _before(scene: Scene) -> Any:
    return replace(scene.state, vms=dict(scene.known))


def _old_copies_are_believed(patch: Patch) -> None:
    patch.setattr(proof, "of_an_old_copy", lambda _: "")


MISTAKES: dict[str, tuple[Callable[[Patch], None], Callable[[], Problems], str]] = {
    "what is silent has ended": (_silence_is_an_end, _stormy, "lost, became|but runs"),
    "the brake is off": (_the_brake_is_off, _stormy, "brake was off"),
    "the brake is on too early": (_the_brake_is_on, _stormy, "brake was on"),
    "what was interrupted stays so": (_nothing_of("_interrupted"), _plain, "stands"),
    "tombstones stay": (_nothing_of("_tombstones"), _plain, "wanted absent"),
    "what waits waits on": (_nothing_of("_waiting"), _plain, "waits is"),
    "what ended with its host is let be": (_nothing_of("_rebooted"), _plain, "booted is"),
    "unknown VMs stay unknown": (_unknown_vms_are_not_taken_in, _plain, "not recorded there"),
    "nobody is told of an end": (_exits_are_not_told, _plain, "nobody is told"),
    "an end is not seen": (_every_round_restarts, _plain, "has no QEMU"),
    "a removal is not thought over": (
        _a_removal_is_not_thought_over,
        _started_meanwhile,
        "went well, and booted is gone",
    ),
    "old copies are believed": (_old_copies_are_believed, _old_copy, "was believed"),
    "what came and went meanwhile is taken in": (
        _what_came_meanwhile_is_old,
        _made_and_removed_meanwhile,
        "given out twice|came back",
    ),
    "newer records are overwritten": (
        _newer_records_are_overwritten,
        _paused_meanwhile,
        "went well, and other is|paused",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_simulated_sweeps_notice_that(mistake: str, monkeypatch: Patch) -> None:
    apply, play, word = MISTAKES[mistake]
    assert play() == []
    apply(monkeypatch)
    found = play()
    assert any(w in problem for problem in found for w in word.split("|")), found
