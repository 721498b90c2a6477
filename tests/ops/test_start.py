"""A VM that has exited is started again; whatever goes wrong, its record and disks stay."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.operation import Status
from tashictl.model.vm import Observed, OperationKind, Seen, TashiState, Vm, Wanted
from tashictl.ops import host as host_ops
from tashictl.ops import power, recover, starting
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.powering import seen
from tests.ops.stage import Stage
from tests.ops.test_recover import MOMENTS, die, lose_journal

START = (*("CheckDisk", "WriteManifest", "WriteIfup", "AddTap", "StartQemu", "AwaitQmp"),)
EXITED = (TashiState.Exited, Wanted.RUNNING, False)
RUNNING = (TashiState.Running, Wanted.RUNNING, False)


@pytest.fixture
def exited(stage: Stage, vm: Vm) -> Vm:
    """node1 was rebooted, which ended web1, and a look has said so."""
    stage.host().running.clear()
    stage.host().taps.clear()
    gone = replace(
        vm, observed=Observed(what=Seen.STOPPED, at="2026-03-01T12:00:00Z"), pid=None, reason="x"
    )
    with stage.store.transaction() as tx:
        tx.put_vm(gone)
    stage.events.clear()
    stage.remote.scripts.clear()
    return gone


def again(stage: Stage) -> Vm:
    return starting.start_again(stage.world, stage.context, "web1")


def caught(stage: Stage) -> errors.TashiError:
    with pytest.raises(errors.TashiError) as found:
        again(stage)
    return found.value


def disks_stay(stage: Stage, vm: Vm) -> None:
    """Record, folder and disks are there, whatever became of the start."""
    assert stage.state.vms[1].uuid == vm.uuid
    assert stage.host().overlays == {f"/var/lib/tashi/0123456789ab/{vm.uuid}/disk0.qcow2"}
    assert set(stage.host().manifests) == {vm.uuid}


def phase(stage: Stage, vm: Vm) -> str:
    text = stage.host().manifests[vm.uuid]
    found: str = json.loads(text if text.endswith("}}") else text + "}")["phase"]
    return found


def is_back(stage: Stage, vm: Vm) -> None:
    assert seen(stage) == EXITED
    assert stage.host().running == stage.host().taps == set()
    disks_stay(stage, vm)


def test_one_that_has_exited_runs_again_with_its_disks(stage: Stage, exited: Vm) -> None:
    after = again(stage)

    assert seen(stage) == RUNNING
    assert after == stage.state.vms[1]
    assert (after.pid, after.reason, after.observed.what) == (4711, None, Seen.RUNNING)
    assert stage.host().running == {exited.uuid}
    assert stage.host().taps == {"tashi1.0"}
    disks_stay(stage, exited)
    assert "CreateOverlay:sent" not in stage.events
    assert stage.status(2) == "done"


def test_a_start_is_a_generation_of_its_own_of_the_same_machine(stage: Stage, exited: Vm) -> None:
    after = again(stage)

    assert (after.generation, after.observed.generation) == (2, 2)
    assert after.spec == exited.spec
    (script,) = stage.remote.scripts
    assert script.fence is not None and script.fence.generation == 2
    assert '"generation":2,"phase":"running"' in stage.host().manifests[exited.uuid]


def test_no_capacity_is_asked_for(stage: Stage, exited: Vm) -> None:
    with stage.store.transaction() as tx:
        record = tx.state.hosts["node1"]
        assert record.facts is not None
        tx.put_host(replace(record, facts=replace(record.facts, cores=0, memory_mib=1)))

    again(stage)

    assert seen(stage) == RUNNING


def test_one_that_runs_already_is_no_error_and_nothing_is_done(stage: Stage, vm: Vm) -> None:
    before = stage.bytes()

    assert again(stage) == vm

    assert stage.report.notes[-1] == "web1 is Running already"
    assert stage.bytes() == before
    assert stage.remote.scripts == []


def test_one_that_is_said_to_run_and_is_silent_is_looked_at_first(stage: Stage, vm: Vm) -> None:
    stage.host().running.clear()

    error = caught(stage)

    assert (error.exit_code, error.code) == (6, "E-QMP-SILENT")
    assert "tashictl host check node1" in error.hint


def test_one_whose_qemu_is_there_after_all_is_recorded_and_not_touched(
    stage: Stage, exited: Vm
) -> None:
    stage.host().running.add(exited.uuid)

    again(stage)

    assert seen(stage) == RUNNING
    assert stage.remote.scripts == []


def test_one_whose_qemu_is_there_and_paused_is_refused_and_recorded(
    stage: Stage, exited: Vm
) -> None:
    stage.host().running.add(exited.uuid)
    stage.host().paused.add(exited.uuid)

    error = caught(stage)

    assert (error.code, error.hint) == ("E-STATE", "tashictl vm unpause web1")
    assert seen(stage)[0] is TashiState.Paused
    assert stage.host().running == {exited.uuid}


def test_what_hangs_at_its_socket_is_not_ended_by_a_start(stage: Stage, exited: Vm) -> None:
    stage.host().running.add(exited.uuid)
    stage.remote.upon("monitor", Trouble.SILENT)

    assert caught(stage).exit_code == 6

    assert stage.host().running == {exited.uuid}
    assert seen(stage) == EXITED
    assert stage.remote.scripts == []


@pytest.mark.parametrize("what", [Seen.PAUSED, Seen.UNKNOWN])
def test_a_state_that_is_no_end_refuses(stage: Stage, vm: Vm, what: Seen) -> None:
    with stage.store.transaction() as tx:
        tx.put_vm(replace(vm, observed=replace(vm.observed, what=what)))
    before = stage.bytes()

    error = caught(stage)

    assert (error.exit_code, error.code) == (5, "E-STATE")
    assert stage.bytes() == before


def test_a_vm_that_waits_for_a_host_is_not_started(stage: Stage, exited: Vm) -> None:
    with stage.store.transaction() as tx:
        tx.put_vm(replace(exited, host=None, observed=Observed()))

    assert caught(stage).code == "E-STATE"


def test_a_host_that_is_down_leaves_all_as_it_was(stage: Stage, exited: Vm) -> None:
    stage.remote.down.add("node1")

    error = caught(stage)

    assert error.exit_code == 6
    assert stage.state.vms[1] == exited


@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.LOST, Trouble.MUTE, Trouble.CTRL_C])
@pytest.mark.parametrize("step", START[:-1])
def test_a_start_that_fails_is_taken_back_and_says_why(
    stage: Stage, exited: Vm, step: str, trouble: Trouble
) -> None:
    stage.remote.upon(step, trouble)

    caught(stage)

    is_back(stage, exited)
    assert (stage.state.vms[1].reason or "").startswith("not started: ")
    assert stage.status(2) == "undone"
    if trouble is not Trouble.CTRL_C:
        assert phase(stage, exited) == "stopped"
    again(stage)
    assert seen(stage) == RUNNING


def test_a_disk_that_is_gone_is_no_reason_to_make_one(stage: Stage, exited: Vm) -> None:
    stage.host().overlays.clear()
    stage.host().manifests.clear()

    assert caught(stage).code == "E-CHECKDISK"

    assert seen(stage) == EXITED
    assert stage.host().empty


def test_an_undo_that_fails_leaves_the_start_and_the_next_one_puts_it_right(
    stage: Stage, exited: Vm
) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.LOST)

    error = caught(stage)

    assert error.leftovers
    assert seen(stage) == (TashiState.Activating, Wanted.RUNNING, True)
    disks_stay(stage, exited)
    again(stage)
    assert seen(stage) == RUNNING
    assert len(stage.host().running) == 1


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", START)
def test_a_killed_start_is_put_right_by_what_qemu_says(
    stage: Stage, exited: Vm, step: str, moment: str, lost: bool
) -> None:
    die(stage, step, moment, lambda: again(stage))
    assert stage.state.vms[1].state is TashiState.Activating
    if lost:
        lose_journal(stage, 2)
    runs = bool(stage.host().running)

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None
    assert outcome.status is (Status.DONE if runs else Status.UNDONE)
    assert outcome.vm == stage.state.vms[1]
    if runs:
        assert seen(stage) == RUNNING
        disks_stay(stage, exited)
    else:
        is_back(stage, exited)
    assert recover.listing(stage.world, ended=False) == []


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", START)
def test_a_killed_start_can_be_resumed_undone_and_repeated(
    stage: Stage, exited: Vm, step: str, moment: str, lost: bool
) -> None:
    for act in (recover.resume, recover.undo):
        with stage.store.transaction() as tx:
            tx.put_vm(exited)
        stage.host().running.clear()
        stage.host().taps.clear()
        operation = stage.state.meta.last_operation_id + 1
        die(stage, step, moment, lambda: again(stage))
        pivoted = (stage.journals.read(operation) or 0).pivoted  # type: ignore[union-attr]
        if lost:
            lose_journal(stage, operation)
        if act is recover.undo and pivoted and not lost:
            with pytest.raises(errors.Conflict):
                act(stage.world, stage.context, operation)
            continue
        outcome = act(stage.world, stage.context, operation)
        assert outcome.vm == stage.state.vms[1]
        if act is recover.resume:
            assert seen(stage) == RUNNING
            disks_stay(stage, exited)
        else:
            is_back(stage, exited)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", START)
def test_a_killed_start_is_superseded_by_a_destroy(
    stage: Stage, exited: Vm, step: str, moment: str
) -> None:
    die(stage, step, moment, lambda: again(stage))

    ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.status(2) == "undone"


def test_a_destroy_that_fails_over_a_killed_start_stays_a_destroy(stage: Stage, exited: Vm) -> None:
    die(stage, "StartQemu", "after", lambda: again(stage))
    stage.remote.upon("RemoveDir", Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vms[1].wanted is Wanted.ABSENT
    ops.destroy(stage.world, stage.context, "web1")
    assert stage.host().empty


def pivoted_and_ended(stage: Stage) -> None:
    """Its QEMU answered, the controller was killed, and QEMU ended after it."""
    stage.faults.reactions.clear()
    die_at_the_close(stage)
    stage.host().running.clear()


def die_at_the_close(stage: Stage) -> None:
    real = stage.store.closing_transaction

    def killed() -> object:
        raise RuntimeError("killed")

    stage.store.closing_transaction = killed  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError):
        again(stage)
    stage.store.closing_transaction = real  # type: ignore[method-assign]


def test_one_that_ran_and_does_not_start_once_more_goes_back(stage: Stage, exited: Vm) -> None:
    pivoted_and_ended(stage)
    stage.remote.upon("StartQemu", Trouble.FAILS)

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.status is Status.UNDONE
    is_back(stage, exited)


def test_one_that_ran_and_is_silent_is_not_ended(stage: Stage, exited: Vm) -> None:
    die_at_the_close(stage)
    stage.remote.upon("AwaitQmp", *[Trouble.SILENT] * 200)

    with pytest.raises(errors.TashiError):
        recover.settle(stage.world, stage.context, 1)

    assert stage.host().running == {exited.uuid}
    assert seen(stage)[0] is TashiState.Activating


def test_a_resume_that_fails_goes_back_and_says_why(stage: Stage, exited: Vm) -> None:
    die(stage, "WriteManifest", "before", lambda: again(stage))
    stage.remote.upon("StartQemu", Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        recover.resume(stage.world, stage.context, 2)

    is_back(stage, exited)
    assert "not started: " in (stage.state.vms[1].reason or "")


def test_a_look_leaves_one_that_is_being_started_alone(stage: Stage, exited: Vm) -> None:
    die(stage, "StartQemu", "before", lambda: again(stage))
    before = stage.state.vms[1]
    stage.remote.down.add("node1")

    host_ops.check(stage.world, stage.context, stage.context.inventory.hosts[:1])

    assert stage.state.vms[1] == before


def test_one_that_was_started_again_can_be_paused_and_shut_down(stage: Stage, exited: Vm) -> None:
    again(stage)
    power.act(stage.world, stage.context, "web1", OperationKind.PAUSE)
    power.act(stage.world, stage.context, "web1", OperationKind.UNPAUSE)

    assert power.act(stage.world, stage.context, "web1", OperationKind.SHUTDOWN, 20) is None

    assert stage.host().empty


@pytest.mark.parametrize(
    ("reason", "after"),
    [
        ("host rebooted 2026-03-01 12:00 UTC", "host rebooted 2026-03-01 12:00 UTC"),
        ("it ended", "not started: interrupted"),
    ],
)
def test_what_ended_with_its_host_still_says_so_when_its_start_was_interrupted(
    stage: Stage, exited: Vm, reason: str, after: str
) -> None:
    with stage.store.transaction() as tx:
        tx.put_vm(replace(exited, reason=reason))
    die(stage, "StartQemu", "before", lambda: starting.start_again(stage.world, stage.context, "1"))

    recover.settle(stage.world, stage.context, 1)

    assert stage.state.vms[1].state is TashiState.Exited
    assert stage.state.vms[1].reason == after
