"""`schedule`: what waits is placed by age; a failure holds it."""

import pytest

from tashictl import errors
from tashictl.model.vm import TashiState, Vm
from tashictl.ops import recover
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, raw


@pytest.fixture
def waiting(stage: Stage) -> list[Vm]:
    """Two VMs that wait; node1 has become free since."""
    for number in range(2):
        ops.create(stage.world, stage.context, raw(f"big{number}", cores="4"))
    found = [ops.create(stage.world, stage.context, raw(name, cores="4")) for name in ("b", "a")]
    ops.destroy(stage.world, stage.context, "big0")
    stage.events.clear()
    return found


def test_the_oldest_is_placed_first_and_the_rest_waits_on(stage: Stage, waiting: list[Vm]) -> None:
    (first, error), (second, no_error) = ops.schedule(stage.world, stage.context)

    assert error is None
    assert no_error is None
    assert (first.name, first.state, first.host) == ("b", TashiState.Running, "node1")
    assert (second.name, second.state, second.host) == ("a", TashiState.Pending, None)
    assert stage.state.vms[first.id] == first


def test_a_start_that_fails_holds_it_with_the_reason(stage: Stage, waiting: list[Vm]) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)

    (_, error), _ = ops.schedule(stage.world, stage.context)

    assert isinstance(error, errors.StepFailed)
    held = stage.state.vms[waiting[0].id]
    assert (held.state, held.host, held.operation) == (TashiState.Held, None, None)
    assert held.reason is not None
    assert "StartQemu failed" in held.reason
    assert held.spec.machine is None
    assert waiting[0].uuid not in stage.host().running
    assert stage.locks_left() == [f"vm-{vm.id}" for vm in stage.state.vms.values() if vm.host]


def test_what_is_held_comes_after_what_is_pending(stage: Stage, waiting: list[Vm]) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)
    ops.schedule(stage.world, stage.context)

    ops.create(stage.world, stage.context, raw("c", cores="4"))

    assert [(vm.name, vm.held) for vm in ops.waiting(stage.state)] == [("c", False), ("b", True)]


def test_a_held_one_is_started_when_it_can_be(stage: Stage, waiting: list[Vm]) -> None:
    ops.destroy(stage.world, stage.context, "a")
    stage.remote.upon("StartQemu", Trouble.FAILS)
    ops.schedule(stage.world, stage.context)

    ((vm, error),) = ops.schedule(stage.world, stage.context)

    assert error is None
    assert (vm.name, vm.state, vm.held, vm.reason) == ("b", TashiState.Running, False, None)


def test_without_anything_that_waits_nothing_is_written(stage: Stage) -> None:
    before = stage.bytes()

    assert ops.schedule(stage.world, stage.context) == []
    assert stage.bytes() == before


def test_ctrl_c_holds_what_is_being_started_and_starts_nothing_more(
    stage: Stage, waiting: list[Vm]
) -> None:
    stage.remote.upon("StartQemu", Trouble.CTRL_C_AFTER)

    with pytest.raises(errors.Interrupted):
        ops.schedule(stage.world, stage.context)

    assert stage.state.vms[waiting[0].id].state is TashiState.Held
    assert stage.state.vms[waiting[1].id].state is TashiState.Pending
    assert waiting[0].uuid not in stage.host().running


def test_a_host_that_does_not_answer_keeps_its_claim_until_it_was_asked(
    stage: Stage, waiting: list[Vm]
) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)

    (_, error), _ = ops.schedule(stage.world, stage.context)

    assert isinstance(error, errors.Uncertain)
    left = stage.state.vms[waiting[0].id]
    assert (left.host, left.state) == ("node1", TashiState.Activating)

    recover.settle(stage.world, stage.context, left.id)

    found = stage.state.vms[left.id]  # its QEMU answers, and it is wanted
    assert (found.host, found.state) == ("node1", TashiState.Running)
    assert left.uuid in stage.host().running


def test_one_that_did_not_start_before_the_host_went_away_becomes_held(
    stage: Stage, waiting: list[Vm]
) -> None:
    stage.remote.upon("StartQemu", Trouble.LOST)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    ops.schedule(stage.world, stage.context)

    recover.settle(stage.world, stage.context, waiting[0].id)

    held = stage.state.vms[waiting[0].id]
    assert (held.host, held.state) == (None, TashiState.Held)
    assert waiting[0].uuid not in stage.host().running


def test_an_old_database_places_nothing(stage: Stage, waiting: list[Vm]) -> None:
    with stage.store.transaction() as tx:
        tx.mark_stale("node2 knows more")

    results = ops.schedule(stage.world, stage.context)

    assert {type(error) for _, error in results} == {errors.NotPermitted}
    assert stage.events.count("run") == 0
