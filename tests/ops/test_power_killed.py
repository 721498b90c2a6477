"""Killed in the midst of a pause, an unpause, a reset, a shutdown: what puts it right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.operation import Status
from tashictl.model.vm import OperationKind, TashiState, Vm, Wanted
from tashictl.ops import power, recover
from tashictl.ops import vm as ops
from tests.ops.powering import act, seen
from tests.ops.stage import Stage
from tests.ops.test_recover import die, lose_journal

K = OperationKind

MONITOR = [
    (K.PAUSE, "QmpCommand"),
    (K.UNPAUSE, "QmpCommand"),
    (K.RESET, "QmpCommand"),
    (K.SHUTDOWN, "PressPowerButton"),
    (K.SHUTDOWN, "AwaitExit"),
    (K.SHUTDOWN, "RemoveTap"),
    (K.SHUTDOWN, "RemoveDir"),
]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", ["before", "sent", "after"])
@pytest.mark.parametrize(("kind", "step"), MONITOR)
def test_what_was_killed_is_put_right(
    stage: Stage, vm: Vm, kind: OperationKind, step: str, moment: str, lost: bool
) -> None:
    if kind is K.UNPAUSE:
        act(stage, K.PAUSE)
    operation = stage.state.meta.last_operation_id + 1
    die(stage, step, moment, lambda: act(stage, kind))
    if lost:
        lose_journal(stage, operation)

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.operation == operation
    assert recover.listing(stage.world, ended=False) == []
    if stage.state.vms:
        assert not seen(stage)[2]
        assert stage.host().running == {vm.uuid}
        wanted = TashiState.Paused if kind is K.PAUSE else TashiState.Running
        assert seen(stage)[0] is wanted
        assert (stage.host().paused == {vm.uuid}) is (kind is K.PAUSE)
    else:
        assert kind is K.SHUTDOWN
        assert stage.host().empty


def test_one_whose_interrupted_end_was_finished_first_is_named(stage: Stage, vm: Vm) -> None:
    die(stage, "RemoveTap", "after", lambda: act(stage, K.SHUTDOWN))

    with pytest.raises(errors.NoSuchTarget, match="no VM 'web1'"):
        power.act(stage.world, stage.context, "1", K.PAUSE)


@pytest.mark.parametrize("moment", ["before", "sent", "after"])
@pytest.mark.parametrize(("kind", "step"), MONITOR)
def test_what_was_killed_can_be_destroyed(
    stage: Stage, vm: Vm, kind: OperationKind, step: str, moment: str
) -> None:
    if kind is K.UNPAUSE:
        act(stage, K.PAUSE)
    die(stage, step, moment, lambda: act(stage, kind))

    ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vms == {}
    assert stage.host().empty


def killed(stage: Stage, kind: OperationKind, step: str, moment: str) -> Callable[[], object]:
    die(stage, step, moment, lambda: act(stage, kind))
    return lambda: recover.undo(stage.world, stage.context, 2)


def test_a_pause_only_goes_on(stage: Stage, vm: Vm) -> None:
    undo = killed(stage, K.PAUSE, "QmpCommand", "before")

    with pytest.raises(errors.Conflict) as found:
        undo()

    assert found.value.hint == "tashictl op resume 2"


def test_a_shutdown_goes_back_until_the_guest_has_gone(stage: Stage, vm: Vm) -> None:
    stage.host().presses = 99
    killed(stage, K.SHUTDOWN, "PressPowerButton", "sent")()

    assert seen(stage) == (TashiState.Running, Wanted.RUNNING, False)
    assert stage.status(2) == "undone"


def test_a_shutdown_that_was_finished_by_the_guest_only_goes_on(stage: Stage, vm: Vm) -> None:
    undo = killed(stage, K.SHUTDOWN, "RemoveTap", "after")

    with pytest.raises(errors.Conflict):
        undo()
    assert recover.resume(stage.world, stage.context, 2).status is Status.DONE
    assert stage.state.vms == {}


def test_one_whose_qemu_has_ended_meanwhile_is_said_to_be_silent(stage: Stage, vm: Vm) -> None:
    die(stage, "QmpCommand", "before", lambda: act(stage, K.PAUSE))
    stage.host().running.clear()

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.status is Status.UNDONE
    assert not seen(stage)[2]


def test_a_reset_that_is_taken_back_says_nothing_of_a_host_that_was_not_asked(
    stage: Stage, vm: Vm
) -> None:
    undo = killed(stage, K.RESET, "QmpCommand", "sent")
    with stage.store.transaction() as tx:
        tx.put_host(replace(tx.state.hosts["node1"], up=False, last_contact="2026-01-01T00:00:00Z"))

    undo()

    host = stage.state.hosts["node1"]
    assert (host.up, host.last_contact) == (False, "2026-01-01T00:00:00Z")
    assert not seen(stage)[2]


def test_a_pause_that_was_done_is_not_done_again(stage: Stage, vm: Vm) -> None:
    die(stage, "QmpCommand", "after", lambda: act(stage, K.PAUSE))

    recover.settle(stage.world, stage.context, 1)

    assert stage.host().told == ["stop"]
    assert seen(stage) == (TashiState.Paused, Wanted.PAUSED, False)
