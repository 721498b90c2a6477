"""`vm create`: what the host's fence refuses, what is Pending, and requests that are refused."""

import pytest
from msgspec import structs

from tashictl import errors
from tashictl.model.vm import TashiState
from tashictl.ops import vm as ops
from tests.ops.looks import nothing_is_left
from tests.ops.stage import CLUSTER, Stage, an_image, facts, raw

# -- what the host's fence says


def test_a_host_of_another_cluster_is_left_alone(stage: Stage) -> None:
    stage.host().claimed = ("ffffffffffff", 1, 1, "x")

    with pytest.raises(errors.NotPermitted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert (caught.value.code, errors.exit_code_of(caught.value)) == ("E-FOREIGN", 7)
    nothing_is_left(stage)
    assert len(stage.remote.scripts) == 1  # nothing was begun, so nothing is undone


@pytest.mark.parametrize(
    "claim", [(CLUSTER, 2, 0, ""), (CLUSTER, 1, 99, "other"), (CLUSTER, 1, 1, "other")]
)
def test_a_host_that_knows_more_makes_the_database_an_old_copy(
    stage: Stage, claim: tuple[str, int, int, str]
) -> None:
    stage.host().claimed = claim

    with pytest.raises(errors.NotPermitted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-OLD-DATABASE"
    nothing_is_left(stage)
    assert "node1 knows more" in stage.state.meta.stale
    before = stage.bytes()
    with pytest.raises(errors.NotPermitted):
        ops.create(stage.world, stage.context, raw())
    assert stage.bytes() == before
    assert stage.events.count("run") == 1


def test_a_newer_manifest_makes_the_database_an_old_copy(stage: Stage) -> None:
    stage.host().refuses = ["generation 7"]

    with pytest.raises(errors.NotPermitted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-OLD-DATABASE"
    assert stage.state.meta.stale


def test_a_host_whose_clock_runs_ahead_is_asked_again_with_its_own_time(stage: Stage) -> None:
    stage.host().clock_ahead_s = 86_400

    vm = ops.create(stage.world, stage.context, raw())

    assert vm.state is TashiState.Running
    fences = [s.fence for s in stage.remote.scripts if s.fence]
    assert len(fences) == 2
    assert fences[1].not_after_s - fences[0].not_after_s == 86_400


def test_a_host_that_always_finds_it_late_fails_it(stage: Stage) -> None:
    stage.host().refuses = ["late 1"] * 9

    with pytest.raises(errors.StepFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-LATE"
    nothing_is_left(stage)
    assert len(stage.host().refuses) == 6


def test_another_operation_of_ours_that_came_first_is_no_old_database(stage: Stage) -> None:
    """Its record or its journal says whose it is; the script is sent once more."""
    first = ops.create(stage.world, stage.context, raw("first", host="node1"))
    with stage.store.transaction() as tx:  # as if it had not ended yet
        tx.put_host(structs.replace(tx.state.hosts["node1"], seen_operation=0))
    stage.context.seen.clear()  # and in another process
    sent = len(stage.remote.scripts)

    vm = ops.create(stage.world, stage.context, raw(host="node1"))

    assert vm.state is TashiState.Running
    fences = [s.fence for s in stage.remote.scripts[sent:] if s.fence]
    assert [f.seen for f in fences] == [0, 1]
    assert stage.host().claimed == (CLUSTER, 1, 2, fences[0].uuid)
    assert first.uuid != fences[0].uuid
    assert not stage.state.meta.stale


@pytest.mark.parametrize("why", ["busy vm", "folder /var/lib/tashi", "manifest /x"])
def test_a_refusal_of_the_host_leaves_no_record(stage: Stage, why: str) -> None:
    stage.host().refuses = [why]

    with pytest.raises(errors.StepFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == f"E-{why.split()[0].upper()}"
    nothing_is_left(stage)
    assert stage.status(1) == "undone"


# -- Pending, and requests that are refused


def test_a_vm_that_fits_nowhere_now_is_recorded_as_pending(stage: Stage) -> None:
    for number in range(2):
        ops.create(stage.world, stage.context, raw(f"big{number}", cores="4"))
    stage.events.clear()

    vm = ops.create(stage.world, stage.context, raw("web1"))

    assert (vm.state, vm.host, vm.operation) == (TashiState.Pending, None, None)
    assert vm.reason is not None
    assert "cores" in vm.reason
    assert stage.state.vms[vm.id] == vm
    assert (stage.commits, stage.events.count("run")) == (1, 0)


def test_what_fits_no_host_even_when_empty_is_not_recorded(stage: Stage) -> None:
    before = stage.bytes()

    with pytest.raises(errors.NoCapacity) as caught:
        ops.create(stage.world, stage.context, raw(memory="8G"))

    assert errors.exit_code_of(caught.value) == 8
    assert stage.bytes() == before
    assert stage.journals.ids() == ()


def test_all_problems_of_a_request_come_at_once_and_nothing_is_changed(stage: Stage) -> None:
    before = stage.bytes()

    with pytest.raises(errors.Problems) as caught:
        ops.create(
            stage.world,
            stage.context,
            raw("web 1", disks=("x",), memory="0", cores="2.5", nics=("dmz",), host="node9"),
        )

    assert {p.code for p in caught.value.problems} == {
        "E-NAME",
        "E-IMAGE",
        "E-MEMORY",
        "E-CORES",
        "E-NETWORK",
        "E-HOST",
    }
    assert errors.exit_code_of(caught.value) == 2
    assert stage.bytes() == before
    assert stage.journals.ids() == ()


def test_usage_comes_before_conflict(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    with pytest.raises(errors.Problems) as caught:
        ops.create(stage.world, stage.context, raw(memory="0"))

    assert {p.code for p in caught.value.problems} == {"E-EXISTS", "E-MEMORY"}
    assert errors.exit_code_of(caught.value) == 2


def test_a_name_that_is_taken_is_a_conflict(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    with pytest.raises(errors.Conflict) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-EXISTS"
    assert len(stage.state.vms) == 1


def test_a_persistent_disk_has_one_user(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw(disks=("data.img:persistent",)))

    with pytest.raises(errors.Conflict) as caught:
        ops.create(stage.world, stage.context, raw("web2", disks=("data.img",)))

    assert caught.value.code == "E-DISK-IN-USE"
    assert [s.name for s in stage.remote.scripts[0].steps][1] == "CheckImage"
    assert stage.host().overlays == set()


def test_a_host_that_is_asked_for_gets_it(stage: Stage) -> None:
    assert ops.create(stage.world, stage.context, raw(host="node2")).host == "node2"
    assert ops.create(stage.world, stage.context, raw("web2", hints=("targetHost=2",))).host == (
        "node2"
    )


def test_an_image_that_only_one_host_has_decides(stage: Stage) -> None:
    with stage.store.transaction() as tx:
        tx.put_image(an_image("rare.img", ["node2"], format="raw"))

    assert ops.create(stage.world, stage.context, raw(disks=("rare.img",))).host == "node2"


def test_a_host_with_kvm_starts_it_with_kvm(stage: Stage) -> None:
    with stage.store.transaction() as tx:
        record = tx.state.hosts["node1"]
        tx.put_host(type(record)(id=1, name="node1", up=True, facts=facts(accel="kvm")))

    ops.create(stage.world, stage.context, raw())

    assert "kvm" in stage.remote.scripts[0].text


def test_a_lock_that_is_held_is_waited_for_and_then_a_conflict(stage: Stage) -> None:
    with stage.other_locks().vm(1), pytest.raises(errors.Conflict) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-LOCKED"
    assert stage.clock.passed_s >= 10
    assert stage.state.vms == {}


def test_a_host_that_is_held_alone_keeps_a_vm_from_it(stage: Stage) -> None:
    with stage.other_locks().host("node1"), pytest.raises(errors.Conflict):
        ops.create(stage.world, stage.context, raw())

    nothing_is_left(stage)
    assert stage.remote.scripts == []
