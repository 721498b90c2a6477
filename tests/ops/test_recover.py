"""What was interrupted: finished, taken back, or superseded; never left without an owner."""

from collections.abc import Callable

import pytest

from tashictl import errors
from tashictl.model.operation import Status
from tashictl.model.vm import TashiState
from tashictl.ops import recover
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, raw


class Killed(BaseException):
    """kill -9: nothing of the controller runs on; its locks are freed."""


CREATE = ("WriteManifest", "CreateOverlay", "WriteIfup", "AddTap", "StartQemu", "AwaitQmp")
DESTROY = ("KillQemu", "RemoveTap", "RemoveDir")
MOMENTS = ("before", "sent", "after")


def die(stage: Stage, step: str, moment: str, act: Callable[[], object]) -> None:
    """Let the controller die at a fault point while it does `act`."""

    def killed(_cut: Callable[[], None]) -> None:
        raise Killed

    stage.faults.split_at = step
    stage.faults.reactions[step, moment] = killed
    with pytest.raises(Killed):
        act()
    stage.faults.split_at = None
    stage.faults.reactions.clear()


def kill_create(stage: Stage, step: str, moment: str) -> None:
    die(stage, step, moment, lambda: ops.create(stage.world, stage.context, raw()))


def lose_journal(stage: Stage, operation: int) -> None:
    (stage.folder / "journal" / f"{operation}.jsonl").unlink()


def nothing_is_left(stage: Stage) -> None:
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.locks_left() == []


def it_runs(stage: Stage) -> None:
    (vm,) = stage.state.vms.values()
    assert vm.state is TashiState.Running
    assert vm.operation is None
    assert stage.host().running == {vm.uuid}
    assert len(stage.host().manifests) == len(stage.host().overlays) == len(stage.host().taps) == 1


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_a_killed_create_is_shown_as_interrupted(stage: Stage, step: str, moment: str) -> None:
    kill_create(stage, step, moment)

    assert stage.state.vms[1].state is TashiState.Activating
    (shown,) = recover.listing(stage.world, ended=False)
    assert (shown.id, shown.status, shown.target) == (1, Status.INTERRUPTED, "web1")


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_a_killed_create_can_be_finished(stage: Stage, step: str, moment: str, lost: bool) -> None:
    kill_create(stage, step, moment)
    if lost:
        lose_journal(stage, 1)

    outcome = recover.resume(stage.world, stage.context, 1)

    assert (outcome.operation, outcome.status) == (1, Status.DONE)
    it_runs(stage)
    assert stage.status(1) == "done"
    assert recover.listing(stage.world, ended=False) == []


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_a_killed_create_can_be_taken_back(
    stage: Stage, step: str, moment: str, lost: bool
) -> None:
    kill_create(stage, step, moment)
    if lost:
        lose_journal(stage, 1)

    outcome = recover.undo(stage.world, stage.context, 1)

    assert (outcome.vm, outcome.status) == (None, Status.UNDONE)
    nothing_is_left(stage)
    assert stage.status(1) == "undone"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_a_killed_create_can_be_destroyed(stage: Stage, step: str, moment: str) -> None:
    kill_create(stage, step, moment)

    ops.destroy(stage.world, stage.context, "web1")

    nothing_is_left(stage)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_the_next_create_of_that_name_settles_it_first(
    stage: Stage, step: str, moment: str
) -> None:
    kill_create(stage, step, moment)

    try:
        vm = ops.create(stage.world, stage.context, raw())
    except errors.Conflict as error:
        assert error.code == "E-EXISTS"  # QEMU answered: it was finished
    else:
        assert vm.id == 2  # it was taken back
    it_runs(stage)
    assert "was interrupted" in stage.report.notes[-1] + "".join(stage.report.notes)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", DESTROY)
def test_a_killed_destroy_goes_on(stage: Stage, step: str, moment: str) -> None:
    ops.create(stage.world, stage.context, raw())
    die(stage, step, moment, lambda: ops.destroy(stage.world, stage.context, "web1"))
    assert stage.state.vms[1].state is TashiState.Destroying

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None
    assert (outcome.operation, outcome.status) == (2, Status.DONE)
    nothing_is_left(stage)


def test_recovery_outranks_what_is_still_under_way(stage: Stage) -> None:
    kill_create(stage, "AddTap", "sent")

    recover.resume(stage.world, stage.context, 1)

    attempts = [s.fence.attempt for s in stage.remote.scripts if s.fence]
    assert attempts[-1] == 2
    assert attempts[0] == 1
    assert stage.remote.scripts[-1].fence is not None
    # It waits as long as a script of before may run.
    assert stage.remote.scripts[-1].fence.lock_wait_s >= stage.remote.scripts[0].timeout_s


def test_a_second_recovery_outranks_the_first(stage: Stage) -> None:
    kill_create(stage, "AddTap", "after")
    die(stage, "AddTap", "sent", lambda: recover.resume(stage.world, stage.context, 1))

    recover.undo(stage.world, stage.context, 1)

    assert [s.fence.attempt for s in stage.remote.scripts if s.fence][-1] == 3
    nothing_is_left(stage)


def test_a_lost_journal_does_not_hide_attempts_that_the_host_saw(stage: Stage) -> None:
    kill_create(stage, "AddTap", "after")
    die(stage, "AddTap", "sent", lambda: recover.resume(stage.world, stage.context, 1))
    lose_journal(stage, 1)
    stage.host().fences = {u: (e, o, 7) for u, (e, o, _) in stage.host().fences.items()}

    recover.resume(stage.world, stage.context, 1)

    it_runs(stage)
    assert [s.fence.attempt for s in stage.remote.scripts if s.fence][-1] > 7


def test_an_operation_killed_after_its_pivot_only_goes_on(stage: Stage) -> None:
    def killed(name: str, text: str) -> None:
        if name == "qmp":
            raise Killed

    usual = stage.report.step
    stage.report.step = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        ops.create(stage.world, stage.context, raw())
    stage.report.step = usual  # type: ignore[method-assign]

    with pytest.raises(errors.Conflict) as caught:
        recover.undo(stage.world, stage.context, 1)
    assert caught.value.code == "E-FORWARD"

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None
    assert outcome.status is Status.DONE
    it_runs(stage)


def test_recovery_that_cannot_reach_the_host_changes_nothing(stage: Stage) -> None:
    kill_create(stage, "AddTap", "sent")
    before = stage.state
    stage.remote.down.add("node1")

    for recovery in (recover.resume, recover.undo):
        with pytest.raises(errors.Unreachable):
            recovery(stage.world, stage.context, 1)

    assert stage.state.vms == before.vms
    assert stage.status(1) == "interrupted"


def test_a_tombstone_goes_when_the_host_answers_again(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    with pytest.raises(errors.Uncertain):
        ops.create(stage.world, stage.context, raw())
    assert stage.host().running

    outcome = recover.settle(stage.world, stage.context, 1)  # it answers, but it is not wanted

    assert outcome is not None
    assert outcome.status is Status.UNDONE
    nothing_is_left(stage)


def test_nothing_interrupted_is_nothing_to_settle(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    assert recover.settle(stage.world, stage.context, 1) is None
    assert recover.settle(stage.world, stage.context, 99) is None


@pytest.mark.parametrize("recovery", [recover.resume, recover.undo])
def test_what_has_ended_or_never_was_is_refused(
    stage: Stage, recovery: Callable[..., object]
) -> None:
    ops.create(stage.world, stage.context, raw())

    with pytest.raises(errors.Conflict) as caught:
        recovery(stage.world, stage.context, 1)
    with pytest.raises(errors.NoSuchTarget):
        recovery(stage.world, stage.context, 9)

    assert caught.value.code == "E-NOT-INTERRUPTED"


def test_a_running_operation_is_not_taken(stage: Stage) -> None:
    seen: list[object] = []

    def look(_cut: Callable[[], None]) -> None:
        (shown,) = recover.listing(stage.world, ended=False)
        seen.append(shown.status)
        with pytest.raises(errors.Conflict) as caught:
            stage.journals.reopen(1)
        seen.append(caught.value.code)

    stage.faults.reactions["AwaitQmp", "sent"] = look

    ops.create(stage.world, stage.context, raw())

    assert seen == [Status.RUNNING, "E-BUSY"]


def test_ended_operations_are_listed_only_when_asked_for(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())
    ops.destroy(stage.world, stage.context, "web1")

    assert recover.listing(stage.world, ended=False) == []
    shown = recover.listing(stage.world, ended=True)
    assert [(o.id, o.kind, o.status) for o in shown] == [
        (1, "create", Status.DONE),
        (2, "destroy", Status.DONE),
    ]


def test_a_journal_whose_end_was_lost_is_shown_by_what_the_database_says(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())
    path = stage.folder / "journal" / "1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))

    assert stage.status(1) == "interrupted"
    assert recover.show(stage.world, 1).status is Status.DONE
    assert recover.listing(stage.world, ended=False) == []


def test_an_unknown_operation_is_no_such_target(stage: Stage) -> None:
    with pytest.raises(errors.NoSuchTarget):
        recover.show(stage.world, 1)


def test_a_journal_of_an_unknown_version_is_refused_not_guessed(stage: Stage) -> None:
    kill_create(stage, "AddTap", "sent")
    path = stage.folder / "journal" / "1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":9', 1))

    for act in (
        lambda: recover.resume(stage.world, stage.context, 1),
        lambda: recover.undo(stage.world, stage.context, 1),
        lambda: ops.destroy(stage.world, stage.context, "web1"),
    ):
        with pytest.raises(errors.NotPermitted) as caught:
            act()
        assert caught.value.code == "E-SCHEMA"
    assert stage.state.vms[1].state is TashiState.Activating


def test_a_scheduled_start_that_was_killed_goes_back_to_held(stage: Stage) -> None:
    for number in range(2):
        ops.create(stage.world, stage.context, raw(f"big{number}", cores="4"))
    pending = ops.create(stage.world, stage.context, raw())
    ops.destroy(stage.world, stage.context, "big0")
    die(stage, "AddTap", "after", lambda: ops.schedule(stage.world, stage.context))

    recover.settle(stage.world, stage.context, pending.id)

    vm = stage.state.vms[pending.id]
    assert (vm.state, vm.host, vm.spec.machine) == (TashiState.Held, None, None)
    assert stage.host().empty


def test_a_destroy_waits_on_the_host_for_the_script_that_it_supersedes(stage: Stage) -> None:
    kill_create(stage, "StartQemu", "sent")

    ops.destroy(stage.world, stage.context, "web1")

    fence = stage.remote.scripts[-1].fence
    ours = stage.context.settings.tashictl
    assert fence is not None and fence.lock_wait_s > ours.step_timeout_s
