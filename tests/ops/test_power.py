"""Pause, unpause, reset, shutdown: what each leads to, and what is known after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.operation import Status
from tashictl.model.vm import Observed, OperationKind, Seen, TashiState, Vm, Wanted
from tashictl.ops import finish, many, power, recover
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.powering import act, caught, seen
from tests.ops.stage import Stage, raw

K = OperationKind


def test_a_paused_vm_is_paused_in_qemu_and_in_the_record(stage: Stage, vm: Vm) -> None:
    done = act(stage, K.PAUSE)

    assert done is not None and done.observed.what is Seen.PAUSED
    assert seen(stage) == (TashiState.Paused, Wanted.PAUSED, False)
    assert stage.host().paused == {vm.uuid}
    assert stage.host().told == ["stop"]
    assert stage.remote.scripts == []
    assert stage.status(2) == "done"
    assert stage.events.index("commit") < stage.events.index("QmpCommand:sent")


def test_unpaused_it_runs_again(stage: Stage, vm: Vm) -> None:
    act(stage, K.PAUSE)
    act(stage, K.UNPAUSE)

    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.host().told == ["stop", "cont"]


def test_what_is_done_already_is_looked_at_and_not_done_again(stage: Stage, vm: Vm) -> None:
    act(stage, K.PAUSE)
    before = stage.journals.ids()
    assert act(stage, K.PAUSE) == stage.state.vms[1]

    assert stage.host().told == ["stop"]
    assert stage.journals.ids() == before
    assert stage.report.notes[-1] == "web1 is Paused already"


def test_a_record_that_is_wrong_is_put_right_by_what_qemu_says(stage: Stage, vm: Vm) -> None:
    act(stage, K.PAUSE)
    stage.host().paused.clear()  # somebody else let it go on

    act(stage, K.PAUSE)

    assert stage.host().told == ["stop", "stop"]
    assert seen(stage) == (TashiState.Paused, Wanted.PAUSED, False)


def test_a_reset_leaves_it_running(stage: Stage, vm: Vm) -> None:
    act(stage, K.RESET)
    act(stage, K.RESET)

    assert stage.host().told == ["system_reset", "system_reset"]
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


@pytest.mark.parametrize("presses", [1, 3])
def test_a_guest_that_shuts_down_is_gone_with_all_that_it_had(
    stage: Stage, vm: Vm, presses: int
) -> None:
    stage.host().presses = presses

    assert act(stage, K.SHUTDOWN) is None

    assert stage.host().told == ["system_powerdown"] * presses
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.locks_left() == []
    assert stage.status(2) == "done"
    steps = [s.name for s in stage.remote.scripts[0].steps]
    assert steps == ["AwaitExit", "RemoveTap", "RemoveDir"]


def test_a_guest_that_ignores_the_button_goes_on_and_the_error_says_what_to_do(
    stage: Stage, vm: Vm
) -> None:
    stage.host().presses = 99

    error = caught(stage, K.SHUTDOWN)

    assert errors.exit_code_of(error) == 1
    assert "vm console --log web1" in error.hint and "vm destroy web1" in error.hint
    assert stage.host().told == ["system_powerdown"] * 4  # after 0, 5, 10 and 15 s
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.status(2) == "failed"
    assert stage.host().running == {vm.uuid}


def test_a_shutdown_of_what_has_exited_removes_its_remains(stage: Stage, vm: Vm) -> None:
    stage.host().running.clear()
    with stage.store.transaction() as tx:
        tx.put_vm(replace(vm, observed=Observed(what=Seen.STOPPED)))

    assert act(stage, K.SHUTDOWN) is None
    assert stage.host().empty
    assert stage.state.vms == {}


@pytest.mark.parametrize("kind", [K.PAUSE, K.UNPAUSE, K.RESET, K.SHUTDOWN])
def test_a_pending_vm_is_in_the_wrong_state(stage: Stage, kind: OperationKind) -> None:
    for number in range(2):
        ops.create(stage.world, stage.context, raw(f"big{number}", cores="4"))
    ops.create(stage.world, stage.context, raw())

    error = caught(stage, kind)

    assert (errors.exit_code_of(error), error.code) == (5, "E-STATE")
    assert "vm destroy web1" in error.hint


@pytest.mark.parametrize("kind", [K.RESET, K.SHUTDOWN])
def test_a_paused_guest_hears_nothing(stage: Stage, vm: Vm, kind: OperationKind) -> None:
    act(stage, K.PAUSE)

    error = caught(stage, kind)

    assert (error.code, error.hint) == ("E-STATE", "tashictl vm unpause web1")


@pytest.mark.parametrize("kind", [K.PAUSE, K.RESET, K.SHUTDOWN])
def test_a_host_that_is_not_reached_leaves_all_as_it_was(
    stage: Stage, vm: Vm, kind: OperationKind
) -> None:
    stage.remote.down.add("node1")

    error = caught(stage, kind)

    assert errors.exit_code_of(error) == 6
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.status(2) == "failed"
    assert stage.state.hosts["node1"].up is False
    assert stage.clock.passed_s < 1


@pytest.mark.parametrize("kind", [K.PAUSE, K.RESET])
def test_a_qemu_that_has_ended_is_no_trouble_of_its_host(
    stage: Stage, vm: Vm, kind: OperationKind
) -> None:
    stage.host().running.clear()

    error = caught(stage, kind)

    assert (errors.exit_code_of(error), error.code) == (1, "E-QMP-SILENT")
    assert error.what == "web1: its QEMU does not answer"
    assert "tashictl vm destroy web1" in error.hint
    assert stage.state.hosts["node1"].up is True
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


@pytest.mark.parametrize(
    ("trouble", "code"), [(Trouble.REFUSED, "E-QMP-REFUSED"), (Trouble.FAILS, "E-QMP")]
)
def test_a_qemu_that_refuses_leaves_all_as_it_was(
    stage: Stage, vm: Vm, trouble: Trouble, code: str
) -> None:
    stage.remote.upon("monitor", trouble)

    error = caught(stage, K.PAUSE)

    assert (errors.exit_code_of(error), error.code) == (1, code)
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


@pytest.mark.parametrize("kind", [K.PAUSE, K.RESET])
def test_a_command_without_an_answer_may_be_done_and_stands_until_the_host_was_asked(
    stage: Stage, vm: Vm, kind: OperationKind
) -> None:
    stage.remote.upon("monitor", Trouble.MUTE)

    error = caught(stage, kind)

    assert errors.exit_code_of(error) == 6
    assert error.hint == "tashictl op resume 2"
    assert "may be done" in error.leftovers[0]
    assert seen(stage)[2]
    assert "connection was cut" in (stage.state.vms[1].reason or "")
    assert recover.listing(stage.world, ended=False)[0].status is Status.INTERRUPTED

    outcome = recover.resume(stage.world, stage.context, 2)

    assert outcome.status is Status.DONE
    assert not seen(stage)[2]


def test_a_shutdown_whose_connection_is_cut_presses_on(stage: Stage, vm: Vm) -> None:
    stage.host().presses = 3
    stage.remote.upon("monitor", Trouble.MUTE, Trouble.MUTE)

    assert act(stage, K.SHUTDOWN) is None
    assert stage.host().told == ["system_powerdown"] * 3


def test_ctrl_c_in_a_shutdown_leaves_a_guest_that_runs_as_it_is(stage: Stage, vm: Vm) -> None:
    stage.host().presses = 99
    stage.remote.upon("monitor", Trouble.CTRL_C_AFTER)

    error = caught(stage, K.SHUTDOWN)

    assert errors.exit_code_of(error) == 130
    assert "may still go" in error.what
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


def test_ctrl_c_in_a_pause_is_put_right_by_the_next_command(stage: Stage, vm: Vm) -> None:
    stage.remote.upon("monitor", Trouble.CTRL_C_AFTER)

    error = caught(stage, K.PAUSE)

    assert (errors.exit_code_of(error), error.hint) == (130, "tashictl op resume 2")
    act(stage, K.UNPAUSE)
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert "pause web1 (2) was interrupted: it was finished" in stage.report.notes


@pytest.mark.parametrize("kind", [K.PAUSE, K.SHUTDOWN])
def test_a_host_that_is_locked_leaves_nothing_begun(
    stage: Stage, vm: Vm, kind: OperationKind
) -> None:
    with stage.other_locks().host("node1"):
        error = caught(stage, kind)

    assert error.code == "E-LOCKED"
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert recover.listing(stage.world, ended=False) == []
    assert stage.host().told == []


@pytest.mark.parametrize(("trouble", "code"), [(Trouble.GONE, 1), (Trouble.SILENT, 6)])
def test_a_qemu_that_does_not_answer_makes_no_host_one_that_is_down(
    stage: Stage, vm: Vm, trouble: Trouble, code: int
) -> None:
    stage.remote.upon("monitor", trouble)

    error = caught(stage, K.PAUSE)

    assert errors.exit_code_of(error) == code
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.state.hosts["node1"].up is True


def test_a_guest_that_an_error_of_its_disk_stopped_is_let_go_on(stage: Stage, vm: Vm) -> None:
    stage.remote.upon("monitor", Trouble.IO_ERROR, Trouble.IO_ERROR)

    act(stage, K.UNPAUSE)

    assert stage.host().told == ["cont"]
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


def test_a_qemu_that_nobody_reaches_is_not_said_to_have_ended(stage: Stage, vm: Vm) -> None:
    stage.remote.upon("monitor", Trouble.GONE)  # sshd forwards no sockets, or it has ended

    error = caught(stage, K.UNPAUSE)

    assert (errors.exit_code_of(error), error.code) == (6, "E-QMP-SILENT")
    assert "destroy" not in error.hint
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


def test_one_of_many_shutdowns_ends_with_ctrl_c_before_it_presses_again(
    stage: Stage, vm: Vm
) -> None:
    stage.host().presses = 99

    def pressed(_cut: Callable[[], None]) -> None:
        stop.set()

    stop = threading.Event()
    stage.faults.reactions["PressPowerButton", "sent"] = pressed
    own = replace(stage.world, clock=many.Alert(stage.clock, stop))

    with pytest.raises(errors.Interrupted):
        power.act(own, stage.context, "web1", K.SHUTDOWN, 3600)

    assert stage.host().told == ["system_powerdown"]
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.CTRL_C_AFTER])
def test_a_qemu_that_said_goodbye_and_is_still_there_keeps_the_operation(
    stage: Stage, vm: Vm, trouble: Trouble
) -> None:
    """It may end at any moment, and the script that waits for that may still run."""
    comes_back(stage, vm)
    stage.remote.upon("AwaitExit", trouble)

    error = caught(stage, K.SHUTDOWN)

    assert error.hint == "tashictl op resume 2"
    assert seen(stage) == (TashiState.ShuttingDown, Wanted.RUNNING, True)


def test_a_script_that_waits_for_the_end_is_fenced_off_before_the_guest_goes_on(
    stage: Stage, vm: Vm
) -> None:
    comes_back(stage, vm)
    stage.remote.upon("AwaitExit", Trouble.LOST)  # it may come late, and remove what it waited for
    caught(stage, K.SHUTDOWN)
    assert stage.host().fences[vm.uuid][1:] == (1, 1)

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.status is Status.UNDONE
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.host().fences[vm.uuid][1:] == (2, 2)


def comes_back(stage: Stage, vm: Vm) -> None:
    """The guest's QEMU tells of its end and lives on."""
    stage.faults.reactions["AwaitExit", "before"] = lambda _cut: stage.host().running.add(vm.uuid)


def test_old_journals_of_power_go_and_those_stay_whose_scripts_may_still_arrive(
    stage: Stage, vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "_PRUNE_EVERY", 1)
    monkeypatch.setattr(finish, "_KEPT_JOURNALS", 1)
    for _ in range(3):
        act(stage, K.RESET)
    assert stage.journals.ids() == (1, 2, 3, 4)

    stage.clock.sleep(600)
    act(stage, K.RESET)

    assert stage.journals.ids() == (4, 5)


def test_a_command_that_leads_elsewhere_is_an_error_and_nothing_is_recorded(
    stage: Stage, vm: Vm
) -> None:
    stage.remote.upon("monitor", Trouble.IO_ERROR)

    error = caught(stage, K.PAUSE)

    assert error.code == "E-QMPCOMMAND"
    assert "io-error" in error.what
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)


def test_an_answer_that_is_none_leaves_open_what_was_done(stage: Stage, vm: Vm) -> None:
    stage.remote.upon("monitor", Trouble.NONSENSE)

    error = caught(stage, K.PAUSE)

    assert (errors.exit_code_of(error), error.hint) == (6, "tashictl op resume 2")
    assert seen(stage)[2]


def test_a_guest_whose_socket_nobody_reaches_was_not_pressed_and_stays(
    stage: Stage, vm: Vm
) -> None:
    stage.remote.upon("monitor", Trouble.GONE)

    error = caught(stage, K.SHUTDOWN)

    assert (errors.exit_code_of(error), error.code) == (1, "E-AWAITEXIT")
    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.host().running == {vm.uuid}
