"""`vm create`: what it leaves when it works, and when something goes wrong at each step."""

import pytest

from tashictl import errors
from tashictl.model.operation import Begun, Pivoted, StepEnded, UndoPlanned
from tashictl.model.vm import Seen, TashiState
from tashictl.ops import recover
from tashictl.ops import vm as ops
from tests.ops.hosts import Trouble
from tests.ops.looks import a_tombstone_stays, nothing_is_left
from tests.ops.stage import Stage, raw

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
        *(f"{name}:sent" for name in STEPS[:-1]),
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
