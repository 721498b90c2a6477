"""`vm create --count N`: one decision, one commit, N starts; what fails, waits, is interrupted."""

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.operation import Status
from tashictl.model.settings import TashictlSettings
from tashictl.model.vm import TashiState
from tashictl.ops import count, recover
from tashictl.ops import vm as ops
from tashictl.ops.context import Context
from tashictl.ops.many import Result, Watcher
from tests.ops.hosts import Trouble
from tests.ops.stage import CLUSTER, Stage, raw


def create(
    stage: Stage, number: int, context: Context | None = None, **more: object
) -> list[Result]:
    wish = raw("web", count=str(number), **more)
    return count.create_many(stage.world, context or stage.context, wish, Watcher())


def one_by_one(stage: Stage, parallel: int = 1) -> Context:
    ours = TashictlSettings(cluster_id=CLUSTER, parallel=parallel, per_host=1)
    return replace(stage.context, settings=replace(stage.context.settings, tashictl=ours))


def states(stage: Stage) -> dict[str, str]:
    return {vm.name: vm.state.name for vm in stage.state.vms.values()}


def test_all_run_spread_over_the_hosts_each_with_its_own_mac_id_and_uuid(stage: Stage) -> None:
    results = create(stage, 6)

    made = [r.after for r in results]
    assert [vm.name for vm in made if vm] == [f"web-{n}" for n in range(6)]
    assert made == list(stage.state.vms.values())
    assert {vm.state for vm in made if vm} == {TashiState.Running}
    assert [vm.host for vm in made if vm] == ["node1", "node2"] * 3
    assert len({vm.spec.nics[0].mac for vm in made if vm}) == 6
    assert len({vm.uuid for vm in made if vm}) == 6
    assert len(stage.host().running) == len(stage.host("node2").running) == 3
    assert {stage.status(n) for n in range(1, 7)} == {"done"}


def test_all_are_written_down_in_one_commit_before_anything_is_sent(stage: Stage) -> None:
    create(stage, 4, one_by_one(stage))

    assert stage.events[: stage.events.index("run")].count("commit") == 1
    assert stage.commits == 5


def test_those_without_room_stay_pending_with_the_reason(stage: Stage) -> None:
    results = create(stage, 5, cores="2")

    waiting = [r.after for r in results if r.after and r.after.host is None]
    assert [vm.name for vm in waiting] == ["web-4"]
    assert "cores" in (waiting[0].reason or "")
    assert states(stage) == {
        **dict.fromkeys([f"web-{n}" for n in range(4)], "Running"),
        "web-4": "Pending",
    }


def test_dense_packing_fills_a_host_before_the_next(stage: Stage) -> None:
    results = create(stage, 5, hints=("densePack=yes",))

    assert [r.after.host for r in results if r.after] == ["node1"] * 4 + ["node2"]


def test_what_fits_nowhere_even_when_empty_records_nothing(stage: Stage) -> None:
    before = stage.bytes()

    with pytest.raises(errors.NoCapacity):
        create(stage, 3, memory="6G")

    assert stage.bytes() == before
    assert stage.journals.ids() == ()


def test_all_that_is_wrong_is_told_at_once_before_anything(stage: Stage) -> None:
    for name in ("web-1", "web-2"):
        ops.create(stage.world, stage.context, raw(name))
    before = stage.bytes()

    with pytest.raises(errors.Problems) as caught:
        create(
            stage, 3, disks=("none.img", "data.img:persistent"), memory="0", nics=("lan:1.2.3.4",)
        )

    codes = [e.code for e in caught.value.problems]
    assert sorted(codes) == ["E-DISK", "E-EXISTS", "E-IMAGE", "E-MEMORY", "E-NIC"]
    assert errors.exit_code_of(caught.value) == 2
    assert stage.bytes() == before


def test_names_that_are_taken_are_one_conflict(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw("web-2"))

    with pytest.raises(errors.Conflict) as caught:
        create(stage, 3)

    assert caught.value.what == "there is a VM named web-2"
    assert states(stage) == {"web-2": "Running"}


def test_a_bad_count_and_a_bad_name_are_told(stage: Stage) -> None:
    for wish in (raw("web", count="0"), raw("Web!", count="2"), raw("w" * 62, count="2")):
        with pytest.raises(errors.InvalidRequest):
            count.create_many(stage.world, stage.context, wish, Watcher())


def test_a_start_that_fails_is_undone_and_the_others_run(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)

    results = create(stage, 4, one_by_one(stage, parallel=2))

    (failed,) = [r for r in results if r.error is not None]
    assert isinstance(failed.error, errors.StepFailed)
    assert failed.before.name not in states(stage)
    assert list(states(stage).values()) == ["Running"] * 3


def test_a_host_that_is_not_reached_fails_its_share_only(stage: Stage) -> None:
    stage.remote.down.add("node2")

    results = create(stage, 4)

    assert [type(r.error) for r in results] == [type(None), errors.Unreachable] * 2
    assert states(stage) == {"web-0": "Running", "web-2": "Running"}


def test_ctrl_c_undoes_what_is_under_way_and_takes_back_what_was_not_begun(stage: Stage) -> None:
    stage.remote.upon("StartQemu", None, Trouble.CTRL_C_AFTER)

    results = create(stage, 4, one_by_one(stage))

    assert [r.begun for r in results] == [True, True, False, False]
    assert [r.after is not None for r in results] == [True, False, False, False]
    assert all(isinstance(r.error, errors.Interrupted) for r in results[1:])
    assert states(stage) == {"web-0": "Running"}
    assert stage.host("node2").empty
    assert stage.locks_left() == ["vm-1"]
    assert [stage.status(n) for n in range(1, 5)] == ["done", "undone", "undone", "undone"]
    # What was never sent is not asked for: one script for the first, two for the second.
    assert len(stage.remote.scripts) == 3


def test_what_was_interrupted_under_a_name_is_settled_first(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    with pytest.raises(errors.Uncertain):
        ops.create(stage.world, stage.context, raw("web-1"))

    results = create(stage, 2)

    assert [r.after.state.name for r in results if r.after] == ["Running", "Running"]
    assert stage.status(1) == "undone"


def test_ctrl_c_before_the_first_start_takes_all_back(stage: Stage) -> None:
    def interrupt(_text: str) -> None:
        raise KeyboardInterrupt

    stage.report.note = interrupt  # type: ignore[method-assign]

    with pytest.raises(errors.Interrupted):
        create(stage, 3)

    assert stage.state.vms == {}
    assert stage.remote.scripts == []
    assert stage.locks_left() == []


class Dies(BaseException):
    """The process is killed here."""


def test_after_a_kill_in_the_middle_each_is_listed_and_recovered_as_a_single_one(
    stage: Stage,
) -> None:
    def die(_cut: object) -> None:
        if len(stage.remote.scripts) == 2:
            raise Dies

    stage.faults.reactions[("AwaitQmp", "before")] = die

    with pytest.raises(Dies):
        create(stage, 4, one_by_one(stage))

    listed = recover.listing(stage.world, ended=False)
    assert [o.target for o in listed] == ["web-1", "web-2", "web-3"]
    assert {o.status for o in listed} == {Status.INTERRUPTED}
    stage.faults.reactions.clear()

    done = [recover.settle(stage.world, stage.context, vm_id) for vm_id in (2, 3, 4)]

    assert [o.status for o in done if o] == [Status.DONE, Status.UNDONE, Status.UNDONE]
    assert states(stage) == {"web-0": "Running", "web-1": "Running"}
    assert stage.locks_left() == ["vm-1", "vm-2"]


def test_a_commit_that_fails_leaves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise errors.OperationFailed("E-DISK-FULL", "no room")

    before = stage.bytes()
    with monkeypatch.context() as patch:
        patch.setattr("tashictl.adapters.files.publish", full)
        with pytest.raises(errors.OperationFailed):
            create(stage, 3)

    assert stage.bytes() == before
    assert stage.remote.scripts == []
    assert len(create(stage, 3)) == 3
    assert list(states(stage).values()) == ["Running"] * 3


def test_ctrl_c_before_the_record_leaves_the_journals_that_were_never_recorded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make room for the next operation; to end them would say that the database is old."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = stage.bytes()
    with monkeypatch.context() as patch:
        patch.setattr("tashictl.adapters.files.publish", interrupt)
        with pytest.raises(errors.Interrupted):
            create(stage, 3)

    assert stage.bytes() == before
    assert len(create(stage, 3)) == 3
    assert list(states(stage).values()) == ["Running"] * 3
