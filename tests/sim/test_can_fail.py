"""The simulation can fail: break what keeps the promise, and it says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tashictl.adapters.sim.faults import FaultPoints, Moment
from tashictl.adapters.sim.host import SimHost
from tashictl.adapters.sim.script import Run
from tashictl.adapters.sim.steps import Body
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import KillQemu, Plan, PutSeed, RemoveDir, RemoveTap, WriteManifest
from tashictl.model.vm import Vm
from tashictl.ops import execute, seeding
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import create as create_plan
from tashictl.planning import destroy as destroy_plan
from tests.sim.cases import parse
from tests.sim.play import play

Patch = pytest.MonkeyPatch


def _problems(*cases: str) -> list[str]:
    return [problem for text in cases for problem in play(parse(text), 1).problems]


def _forgetful_host(patch: Patch) -> None:
    def end(self: Run, rc: int | None) -> None:
        real(self, rc)
        fence, steps = self.script.fence, self.script.steps
        if fence is not None and steps[0].folder not in self.host.folders:
            self.host.files.pop(self.host.fence_path(fence), None)

    real = Run._end
    patch.setattr(Run, "_end", end)


def _attempts_never_rise(patch: Patch) -> None:
    patch.setattr(execute.Execution, "raise_attempt", lambda _: None)


def _undo_without(kind: type) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        real = create_plan.undo

        def undo(plan: Plan, begun: tuple[int, ...]) -> Plan:
            return tuple(s for s in real(plan, begun) if not isinstance(s, kind))

        patch.setattr(create_plan, "undo", undo)

    return apply


def _locks_of_qemu_are_not_seen(patch: Patch) -> None:
    patch.setattr(SimHost, "is_locked", lambda *_: False)


def _records_go_before_the_host_was_heard(patch: Patch) -> None:
    def forward(self: execute.Execution, plan: Plan) -> None:
        try:
            real(self, plan)
        except Exception:  # the very mistake that is to be noticed
            if isinstance(plan[0], KillQemu):
                return
            raise

    real = execute.Execution.forward
    patch.setattr(execute.Execution, "forward", forward)


def _death_is_swallowed(patch: Patch) -> None:
    def reached(self: FaultPoints, step: str, moment: str, cut: Callable[[], None]) -> None:
        try:
            real(self, step, moment, cut)
        except BaseException:  # noqa: BLE001  the very mistake that is to be noticed
            return

    real = FaultPoints.reached
    patch.setattr(FaultPoints, "reached", reached)


def _destroy_leaves_qemu(patch: Patch) -> None:
    real = destroy_plan.plan

    def plan(vm: Vm, settings: Settings, networks: tuple[Network, ...]) -> Plan:
        return tuple(s for s in real(vm, settings, networks) if not isinstance(s, KillQemu))

    patch.setattr(destroy_plan, "plan", plan)


LATE = (
    "~create/StartQemu/before/late+destroy",
    "~create/StartQemu/before/latemid+destroy",
    "~create/WriteManifest/before/late+destroy",
)
MISTAKES: dict[str, tuple[Callable[[Patch], None], tuple[str, ...], str]] = {
    "the host forgets fences with the folder": (_forgetful_host, LATE, "came back"),
    "the controller does not raise the attempt": (_attempts_never_rise, LATE, "came back"),
    "undo leaves the TAP": (_undo_without(RemoveTap), ("create/AddTap/done/fail",), "TAP|tashi2"),
    "undo leaves the folder": (_undo_without(RemoveDir), ("create/AddTap/done/fail",), "manifest"),
    "destroy leaves QEMU": (_destroy_leaves_qemu, ("create+destroy",), "did not converge"),
    "a second QEMU is started": (
        _locks_of_qemu_are_not_seen,
        ("create/StartQemu/done/kill+resume",),
        "double",
    ),
    "a record goes though its host was not heard": (
        _records_go_before_the_host_was_heard,
        ("create+destroy/KillQemu/before/down+create",),
        "removed while",
    ),
    "a death is swallowed": (
        _death_is_swallowed,
        ("create/StartQemu/before/kill+destroy",),
        "dead controller",
    ),
}


def _seeds_are_not_forgotten(patch: Patch) -> None:
    patch.setattr(seeding, "forget", lambda *_: None)
    patch.setattr(seeding, "tidy", lambda *_: None)


def _seeds_are_forgotten_too_early(patch: Patch) -> None:
    real = seeding.send

    def send(world: World, context: Context, step: PutSeed, begun: Callable[[], None]) -> None:
        real(world, context, step, begun)
        world.seeds.forget(step.uuid)

    patch.setattr(seeding, "send", send)


def _the_first_script_always_writes(patch: Patch) -> None:
    patch.setattr(Body, "_is_further", lambda *_: False)


def _a_start_is_taken_back_as_a_create_is(patch: Patch) -> None:
    real = create_plan.undo

    def undo(plan: Plan, begun: tuple[int, ...]) -> Plan:
        return tuple(
            RemoveDir(host=s.host, uuid=s.uuid, folder=s.folder, run_folder=s.run_folder)
            if isinstance(s, WriteManifest)
            else s
            for s in real(plan, begun)
        )

    patch.setattr(create_plan, "undo", undo)


MISTAKES |= {
    "a start that is taken back removes the disks": (
        _a_start_is_taken_back_as_a_create_is,
        ("create+crash+start/AddTap/done/fail+start",),
        "a disk was lost",
    ),
    "a seed stays on the controller": (_seeds_are_not_forgotten, ("seeded",), "still kept"),
    "a seed goes before the VM runs": (
        _seeds_are_forgotten_too_early,
        ("pend+schedule/PlaceSeed/sent/fail+schedule",),
        "lost its seed",
    ),
    "a late copy takes the manifest back": (
        _the_first_script_always_writes,
        ("seeded/WriteManifest/before/dup+seeded",),
        "not whole",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_simulation_notices_that(mistake: str, monkeypatch: Patch) -> None:
    apply, cases, word = MISTAKES[mistake]
    assert _problems(*cases) == []
    apply(monkeypatch)
    found = _problems(*cases)
    assert any(w in problem for problem in found for w in word.split("|")), found


def test_a_case_and_its_seed_repeat_a_run() -> None:
    case = parse("create/StartQemu/sent/cut/KillQemu/done/kill+resume/RemoveDir/sent/down+destroy")
    assert play(case, 7) == play(case, 7)


def test_an_id_is_read_back_as_the_case_it_names() -> None:
    text = "~create/WriteManifest.2/before/late/KillQemu/sent/cut+destroy"
    assert str(parse(text)) == text
    assert parse(text).commands[0].faults[0].point.moment is Moment.BEFORE
