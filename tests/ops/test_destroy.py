"""`vm destroy`: it only goes on, and forgets nothing that it has not seen end."""

import pytest

from tashictl import errors
from tashictl.model.vm import Seen, TashiState, Vm, Wanted
from tashictl.ops import recover
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, raw

STEPS = ("KillQemu", "RemoveTap", "RemoveDir")


def test_a_destroyed_vm_leaves_nothing(stage: Stage, vm: Vm) -> None:
    last = ops.destroy(stage.world, stage.context, "web1")

    assert last == vm
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.locks_left() == []
    assert stage.status(2) == "done"
    assert [s.name for s in stage.remote.scripts[0].steps] == list(STEPS)
    assert (stage.commits, len(stage.remote.scripts)) == (2, 1)
    assert stage.events.index("commit") < stage.events.index("run")


def test_it_is_found_by_its_id_too(stage: Stage, vm: Vm) -> None:
    ops.destroy(stage.world, stage.context, "1")

    assert stage.state.vms == {}


def test_one_that_does_not_exist_is_no_such_target(stage: Stage) -> None:
    with pytest.raises(errors.NoSuchTarget) as caught:
        ops.destroy(stage.world, stage.context, "web9")

    assert errors.exit_code_of(caught.value) == 3


def test_a_pending_one_is_removed_without_asking_any_host(stage: Stage) -> None:
    for number in range(2):
        ops.create(stage.world, stage.context, raw(f"big{number}", cores="4"))
    ops.create(stage.world, stage.context, raw())
    stage.events.clear()
    before = stage.journals.ids()

    ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vm_named("web1") is None
    assert stage.events == ["commit"]
    assert stage.journals.ids() == before


@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.UNSENT, Trouble.LOST, Trouble.MUTE])
@pytest.mark.parametrize("step", STEPS)
def test_what_is_not_confirmed_stays_and_goes_at_the_next_try(
    stage: Stage, vm: Vm, step: str, trouble: Trouble
) -> None:
    stage.remote.upon(step, trouble)

    with pytest.raises(errors.TashiError) as caught:
        ops.destroy(stage.world, stage.context, "web1")

    assert errors.exit_code_of(caught.value) == (1 if trouble is Trouble.FAILS else 6)
    assert "op resume 2" in "".join(caught.value.leftovers)
    left = stage.state.vms[1]
    assert (left.wanted, left.state, left.host) == (
        Wanted.ABSENT,
        TashiState.Destroying,
        "node1",
    )
    assert left.observed.what is Seen.UNKNOWN
    assert stage.status(2) == "interrupted"
    assert stage.state.hosts["node1"].up is (trouble is Trouble.FAILS)

    ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vms == {}
    assert stage.host().empty
    assert (stage.status(2), stage.status(3)) == ("undone", "done")


def test_the_last_that_was_seen_is_not_dated_anew(stage: Stage, vm: Vm) -> None:
    stage.remote.down.add("node1")
    with pytest.raises(errors.Unreachable):
        ops.destroy(stage.world, stage.context, "web1")
    first = stage.state.vms[1].observed.at
    stage.clock.sleep(3600)

    with pytest.raises(errors.Unreachable):
        ops.destroy(stage.world, stage.context, "web1")

    assert stage.state.vms[1].observed.at == first


def test_a_claim_of_a_tombstone_stays(stage: Stage, vm: Vm) -> None:
    stage.remote.down.add("node1")
    with pytest.raises(errors.Unreachable):
        ops.destroy(stage.world, stage.context, "web1")

    assert stage.context.cluster(stage.state).hosts[0].used_memory_mib == vm.spec.memory_mib


@pytest.mark.parametrize("trouble", [Trouble.CTRL_C, Trouble.CTRL_C_AFTER])
@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_leaves_it_for_later_and_says_how(
    stage: Stage, vm: Vm, step: str, trouble: Trouble
) -> None:
    stage.remote.upon(step, trouble)

    with pytest.raises(errors.Interrupted) as caught:
        ops.destroy(stage.world, stage.context, "web1")

    assert errors.exit_code_of(caught.value) == 130
    assert "op resume 2" in caught.value.hint
    assert stage.state.vms[1].wanted is Wanted.ABSENT

    recover.resume(stage.world, stage.context, 2)

    assert stage.state.vms == {}
    assert stage.host().empty


def test_a_destroy_is_not_undone(stage: Stage, vm: Vm) -> None:
    stage.remote.upon("RemoveDir", Trouble.FAILS)
    with pytest.raises(errors.StepFailed):
        ops.destroy(stage.world, stage.context, "web1")

    with pytest.raises(errors.Conflict) as caught:
        recover.undo(stage.world, stage.context, 2)

    assert caught.value.code == "E-FORWARD"


def test_one_that_is_being_worked_on_is_locked(stage: Stage, vm: Vm) -> None:
    before = stage.bytes()

    with stage.other_locks().vm(1), pytest.raises(errors.Conflict) as caught:
        ops.destroy(stage.world, stage.context, "web1")

    assert caught.value.code == "E-LOCKED"
    assert stage.bytes() == before


def test_an_old_database_destroys_nothing(stage: Stage, vm: Vm) -> None:
    with stage.store.transaction() as tx:
        tx.mark_stale("node2 knows more")
    before = stage.bytes()

    with pytest.raises(errors.NotPermitted) as caught:
        ops.destroy(stage.world, stage.context, "web1")

    assert errors.exit_code_of(caught.value) == 7
    assert stage.bytes() == before
    assert stage.host().running == {vm.uuid}


def test_a_host_that_left_the_inventory_keeps_its_vm(stage: Stage, vm: Vm) -> None:
    emptied = type(stage.context)(
        settings=stage.context.settings,
        inventory=type(stage.context.inventory)(networks=stage.context.inventory.networks),
        ifup_template=stage.context.ifup_template,
    )

    with pytest.raises(errors.InvalidRequest) as caught:
        ops.destroy(stage.world, emptied, "web1")

    assert "node1" in caught.value.what
    assert stage.state.vms[1].host == "node1"


def test_a_destroy_supersedes_an_interrupted_create(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    with pytest.raises(errors.Uncertain):
        ops.create(stage.world, stage.context, raw())
    assert not stage.host().empty

    ops.destroy(stage.world, stage.context, "web1")

    view = stage.journals.read(1)
    assert view is not None
    assert view.ended is not None
    assert view.ended.reason == "superseded by destroy"
    assert stage.state.vms == {}
    assert stage.host().empty
    fences = [s.fence for s in stage.remote.scripts if s.fence]
    assert fences[-1].operation == 2
