"""`vm create`: what it leaves when it works, and when something goes wrong at each step."""

import pytest

from tashictl import errors
from tashictl.model.operation import Begun, Pivoted, StepEnded, UndoPlanned
from tashictl.model.vm import Seen, TashiState, Wanted
from tashictl.ops import recover
from tashictl.ops import vm as ops
from tests.ops.stage import CLUSTER, Stage, Trouble, an_image, facts, raw

STEPS = (
    "WriteManifest",
    "CreateOverlay",
    "WriteIfup",
    "AddTap",
    "StartQemu",
    "WriteManifest",
    "AwaitQmp",
)
SCRIPTED = [f"{place} {name}" for place, name in enumerate(STEPS) if name != "AwaitQmp"]
EVERY = [*SCRIPTED, "AwaitQmp"]


def test_a_created_vm_runs_and_its_record_says_so(stage: Stage) -> None:
    vm = ops.create(stage.world, stage.context, raw())

    assert vm == stage.state.vms[1]
    assert (vm.name, vm.state, vm.host, vm.user) == ("web1", TashiState.Running, "node1", "dev")
    assert (vm.pid, vm.observed.what, vm.observed.boot_id) == (4711, Seen.RUNNING, "b-1")
    assert vm.spec.machine is not None
    assert vm.operation is None
    assert stage.host().running == {vm.uuid}
    assert stage.host().taps == {"tashi1.0"}
    assert stage.host("node2").empty


def test_the_journal_has_every_step_and_the_pivot(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    view = stage.journals.read(1)
    assert view is not None
    ended = [e for e in view.entries if isinstance(e, StepEnded)]
    assert tuple(view.header.plan[e.step].name for e in ended) == STEPS
    assert {e.rc for e in ended} == {0}
    assert view.pivoted
    assert view.status.value == "done"
    assert not view.alive
    assert {s.status for s in recover.show(stage.world, 1).steps} == {"done"}


def test_a_create_takes_two_commits_and_one_script(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    assert stage.commits == 2
    assert stage.events.count("run") == 1
    assert len(stage.remote.streams) == 1
    assert stage.remote.streams[0].closed


def test_the_record_is_committed_before_anything_is_sent(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    assert stage.events.index("commit") < stage.events.index("run")


def test_the_fault_points_are_reached_in_order(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw())

    moments = [e for e in stage.events if ":" in e or e == "run"]
    assert moments == [
        *(f"{name}:before" for name in STEPS[:-1]),
        "run",
        *(f"{name}:after" for name in STEPS[:-1]),
        "AwaitQmp:before",
        "AwaitQmp:sent",
        "AwaitQmp:after",
    ]


@pytest.mark.parametrize("name", ["CreateOverlay", "StartQemu"])
def test_a_fault_point_has_a_script_of_its_own_and_sees_it_begin(stage: Stage, name: str) -> None:
    stage.faults.split_at = name

    ops.create(stage.world, stage.context, raw())

    alone = [s for s in stage.remote.scripts if [x.name for x in s.steps] == [name]]
    assert len(alone) == 1
    moments = [e for e in stage.events if e.startswith(f"{name}:") or e == "run"]
    place = moments.index(f"{name}:before")
    assert moments[place : place + 4] == [
        f"{name}:before",
        "run",
        f"{name}:sent",
        f"{name}:after",
    ]


def test_a_fault_point_can_cut_the_connection_to_its_host(stage: Stage) -> None:
    stage.faults.split_at = "AddTap"
    stage.faults.reactions[("AddTap", "sent")] = lambda cut: cut()

    ops.create(stage.world, stage.context, raw())

    assert stage.remote.dropped == ["node1"]


# -- a step that fails


@pytest.mark.parametrize("step", SCRIPTED)
def test_a_step_that_fails_is_undone_and_leaves_no_record(stage: Stage, step: str) -> None:
    stage.remote.upon(step, Trouble.FAILS)

    with pytest.raises(errors.StepFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    name = step.split()[1]
    assert caught.value.code == f"E-{name.upper()}"
    assert (caught.value.host, caught.value.cause) == ("node1", "no space left")
    assert caught.value.leftovers == ()
    nothing_is_left(stage)
    assert stage.status(1) == "undone"


@pytest.mark.parametrize("trouble", [Trouble.PAUSED, Trouble.FAILS])
def test_a_qemu_that_is_not_as_it_should_be_is_taken_back(stage: Stage, trouble: Trouble) -> None:
    stage.remote.upon("AwaitQmp", trouble)

    with pytest.raises(errors.OperationFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert errors.exit_code_of(caught.value) == 1
    nothing_is_left(stage)


def test_the_undo_outranks_what_was_sent_before(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        ops.create(stage.world, stage.context, raw())

    fences = [s.fence for s in stage.remote.scripts]
    assert [(f.operation, f.attempt) for f in fences if f] == [(1, 1), (1, 2)]
    assert [s.name for s in stage.remote.scripts[1].steps] == ["KillQemu", "RemoveTap", "RemoveDir"]


def test_the_undo_is_journalled_before_it_is_sent(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        ops.create(stage.world, stage.context, raw())

    view = stage.journals.read(1)
    assert view is not None
    kinds = [type(e) for e in view.entries]
    planned = kinds.index(UndoPlanned)
    begun = [e for e in view.entries if isinstance(e, Begun) and e.undo]
    assert [b.attempt for b in begun] == [2]
    assert kinds.index(Begun, planned) > planned
    assert Pivoted not in kinds


def test_an_id_is_not_given_out_again_after_a_failure(stage: Stage) -> None:
    stage.remote.upon("AddTap", Trouble.FAILS)
    with pytest.raises(errors.StepFailed):
        ops.create(stage.world, stage.context, raw())

    assert ops.create(stage.world, stage.context, raw()).id == 2


# -- a host that is not reached


def test_a_host_that_is_not_reached_leaves_no_record_and_is_down(stage: Stage) -> None:
    stage.remote.down.add("node1")

    with pytest.raises(errors.Unreachable) as caught:
        ops.create(stage.world, stage.context, raw())

    assert errors.exit_code_of(caught.value) == 6
    assert not isinstance(caught.value, errors.Uncertain)
    assert caught.value.leftovers == ()
    nothing_is_left(stage)
    assert stage.remote.scripts == []
    assert stage.state.hosts["node1"].up is False
    assert ops.create(stage.world, stage.context, raw()).host == "node2"


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.MUTE])
@pytest.mark.parametrize("step", SCRIPTED)
def test_without_an_answer_it_is_undone_when_the_host_answers_again(
    stage: Stage, step: str, trouble: Trouble
) -> None:
    stage.remote.upon(step, trouble)

    with pytest.raises(errors.OperationFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert errors.exit_code_of(caught.value) == 1
    assert caught.value.code == "E-UNCERTAIN"
    nothing_is_left(stage)
    assert stage.status(1) == "undone"
    assert stage.state.hosts["node1"].up is True


@pytest.mark.parametrize("step", SCRIPTED)
def test_without_an_answer_a_tombstone_stays_when_the_host_is_gone(stage: Stage, step: str) -> None:
    stage.remote.upon(step, Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    stage.remote.upon("RemoveTap", Trouble.UNSENT)
    stage.remote.upon("RemoveDir", Trouble.UNSENT)

    with pytest.raises(errors.Uncertain) as caught:
        ops.create(stage.world, stage.context, raw())

    assert errors.exit_code_of(caught.value) == 6
    assert "op undo 1" in "".join(caught.value.leftovers)
    a_tombstone_stays(stage)


def test_a_qemu_that_stays_silent_is_uncertain_and_undone(stage: Stage) -> None:
    stage.remote.upon("AwaitQmp", Trouble.SILENT)

    with pytest.raises(errors.OperationFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-TIMEOUT"
    nothing_is_left(stage)


def test_an_undo_that_fails_is_told_and_hides_nothing(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)
    stage.remote.upon("RemoveTap", Trouble.FAILS)

    with pytest.raises(errors.StepFailed) as caught:
        ops.create(stage.world, stage.context, raw())

    assert caught.value.code == "E-STARTQEMU"
    assert "RemoveTap failed" in "".join(caught.value.leftovers)
    a_tombstone_stays(stage)


def test_a_tombstone_keeps_its_name_and_its_claim(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)
    stage.remote.upon("KillQemu", Trouble.UNSENT, Trouble.UNSENT)
    with pytest.raises(errors.StepFailed):
        ops.create(stage.world, stage.context, raw(memory="2G"))

    with pytest.raises(errors.Unreachable):
        ops.create(stage.world, stage.context, raw())

    assert stage.context.cluster(stage.state).hosts[0].used_memory_mib == 2048


# -- Ctrl-C


@pytest.mark.parametrize("trouble", [Trouble.CTRL_C, Trouble.CTRL_C_AFTER])
@pytest.mark.parametrize("step", EVERY)
def test_ctrl_c_undoes_what_was_begun(stage: Stage, step: str, trouble: Trouble) -> None:
    stage.remote.upon(step, trouble)

    with pytest.raises(errors.Interrupted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert errors.exit_code_of(caught.value) == 130
    assert "undone" in caught.value.what
    nothing_is_left(stage)


def test_a_second_ctrl_c_leaves_a_tombstone_and_says_so(stage: Stage) -> None:
    stage.remote.upon("AddTap", Trouble.CTRL_C_AFTER)
    stage.remote.upon("RemoveDir", Trouble.CTRL_C)

    with pytest.raises(errors.Interrupted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert "op undo 1" in "".join(caught.value.leftovers)
    a_tombstone_stays(stage)


def test_ctrl_c_past_the_pivot_leaves_it_running(stage: Stage) -> None:
    def interrupt(name: str, text: str) -> None:
        if name == "qmp":
            raise KeyboardInterrupt

    stage.report.step = interrupt  # type: ignore[method-assign]

    with pytest.raises(errors.Interrupted, match="runs already"):
        ops.create(stage.world, stage.context, raw())

    assert stage.state.vms[1].state is TashiState.Running
    assert stage.status(1) == "done"


# -- what the host's fence says


def test_a_host_of_another_cluster_is_left_alone(stage: Stage) -> None:
    stage.host().claimed = ("ffffffffffff", 1, 1)

    with pytest.raises(errors.NotPermitted) as caught:
        ops.create(stage.world, stage.context, raw())

    assert (caught.value.code, errors.exit_code_of(caught.value)) == ("E-FOREIGN", 7)
    nothing_is_left(stage)
    assert len(stage.remote.scripts) == 1  # nothing was begun, so nothing is undone


@pytest.mark.parametrize("claim", [(CLUSTER, 2, 0), (CLUSTER, 1, 99)])
def test_a_host_that_knows_more_makes_the_database_an_old_copy(
    stage: Stage, claim: tuple[str, int, int]
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
    with stage.store.transaction() as tx:
        tx.next_operation_id()
    original = stage.remote.run

    def overtaken(*arguments: object) -> object:
        with stage.store.transaction() as tx:
            operation = tx.next_operation_id()
        stage.host().claimed = (CLUSTER, 1, operation)
        stage.remote.run = original  # type: ignore[method-assign]
        return original(*arguments)  # type: ignore[arg-type]

    stage.remote.run = overtaken  # type: ignore[method-assign,assignment]

    assert ops.create(stage.world, stage.context, raw()).state is TashiState.Running
    assert [s.fence.counter for s in stage.remote.scripts if s.fence] == [2, 3]
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


# -- what the tests look at


def nothing_is_left(stage: Stage) -> None:
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.host("node2").empty
    assert stage.locks_left() == []


def a_tombstone_stays(stage: Stage) -> None:
    vm = stage.state.vms[1]
    assert (vm.name, vm.host, vm.wanted) == ("web1", "node1", Wanted.ABSENT)
    assert vm.state is TashiState.Destroying
    assert vm.observed.what is Seen.UNKNOWN
    assert vm.operation is not None
    assert stage.status(1) == "interrupted"
