"""QEMUs that were started by hand are taken in; whatever goes wrong, they run on."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.operation import Pivoted, Status
from tashictl.model.vm import OperationKind, Seen, TashiState, Vm, Wanted
from tashictl.ops import adopt, power, recover
from tashictl.ops import vm as ops
from tashictl.planning.adopt import Process
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, raw
from tests.ops.test_recover import MOMENTS, die, lose_journal

UUID = "7c1e0000-0000-4000-8000-00000000aaaa"
OTHER = "7c1e0000-0000-4000-8000-00000000bbbb"
STEPS = ("0 WriteManifest", "AdoptQemu", "2 WriteManifest", "AwaitQmp")
KINDS = ("WriteManifest", "AdoptQemu", "AwaitQmp")


def argv(uuid: str, name: str) -> tuple[str, ...]:
    qmp = ("-qmp", "unix:/run/q.sock,server=on")
    words = ("-uuid", uuid) if uuid else ()
    disk = ("-drive", "file=/srv/a.img,format=raw")
    return ("qemu-system-x86_64", *words, "-name", name, "-m", "256", *disk, *qmp)


def by_hand(stage: Stage, *processes: Process) -> None:
    """The QEMUs that node1 tells of, with the folders that lie there."""

    def probe(nonce: str) -> bytes:
        folders = "\n".join(stage.host().manifests)
        parts = [f"B folders\n{folders}\n"]
        for one in processes:
            words = b"".join(w.encode() + b"\0" for w in one.argv)
            parts.append(f"B qemu {one.pid} {one.starttime} 1\n{words.hex()}\n2f\n")
        return "".join(f"\n@{nonce} {part}\n" for part in (*parts, "Z")).encode()

    stage.remote.probes["node1"] = probe


@pytest.fixture
def hand(stage: Stage) -> Process:
    """One QEMU that a person has started on node1."""
    process = Process(pid=815, starttime=99, argv=argv(UUID, "web7"))
    stage.host().running.add(UUID)
    by_hand(stage, process)
    return process


def take(stage: Stage, *pids: int) -> list[adopt.Result]:
    return adopt.adopt(stage.world, stage.context, "node1", pids)


def nothing_was_made(stage: Stage) -> None:
    """No record, nothing on the host but the QEMU, which runs."""
    assert stage.state.vms == {}
    assert stage.host().running == {UUID}
    assert not stage.host().manifests and not stage.host().kept
    assert stage.locks_left() == []


def it_is_a_vm(stage: Stage) -> Vm:
    (vm,) = stage.state.vms.values()
    assert (vm.state, vm.operation, vm.pid, vm.host) == (TashiState.Running, None, 815, "node1")
    assert stage.host().kept == {UUID}
    manifest = json.loads(stage.host().manifests[UUID] + "}")
    assert (manifest["phase"], manifest["name"]) == ("running", "web7")
    return vm


def test_one_is_taken_in_as_its_command_line_says(stage: Stage, hand: Process) -> None:
    (result,) = take(stage)

    vm = it_is_a_vm(stage)
    assert result.vm == vm and result.error is None
    assert (vm.name, vm.uuid, vm.spec.memory_mib, vm.user) == ("web7", UUID, 256, "dev")
    assert vm.observed.boot_id == "b-1"
    assert stage.status(1) == "done"
    assert stage.state.hosts["node1"].seen_operation == 1


def test_once_more_changes_nothing(stage: Stage, hand: Process) -> None:
    take(stage)
    before = stage.bytes()

    assert take(stage) == []
    (result,) = take(stage, 815)

    assert result.candidate.known == result.vm == it_is_a_vm(stage)
    assert stage.bytes() == before


def test_one_that_is_paused_is_paused(stage: Stage, hand: Process) -> None:
    stage.host().paused.add(UUID)
    (result,) = take(stage)
    assert result.vm is not None
    assert (result.vm.state, result.vm.wanted) == (TashiState.Paused, Wanted.PAUSED)
    power.act(stage.world, stage.context, "web7", OperationKind.UNPAUSE)
    it_is_a_vm(stage)


def test_it_is_destroyed_like_any_other(stage: Stage, hand: Process) -> None:
    take(stage)
    stage.host().files["/srv/a.img"] = b"its disk"
    ops.destroy(stage.world, stage.context, "web7")
    assert stage.state.vms == {}
    assert stage.host().empty and not stage.host().kept
    assert stage.host().files == {"/srv/a.img": b"its disk"}


def test_those_that_are_refused_do_not_hinder_the_others(stage: Stage, hand: Process) -> None:
    by_hand(stage, Process(pid=7, starttime=1, argv=argv("", "old")), hand)
    refused, taken = take(stage)
    assert isinstance(refused.error, errors.Conflict)
    assert "without -uuid" in refused.error.cause
    assert taken.vm == it_is_a_vm(stage)


@pytest.mark.parametrize("host", ["node9", "spare"])
def test_a_host_that_is_not_ours_is_no_target(stage: Stage, host: str) -> None:
    hosts = (*stage.context.inventory.hosts, replace(stage.context.config("node1"), name="spare"))
    context = replace(stage.context, inventory=replace(stage.context.inventory, hosts=hosts))
    with pytest.raises(errors.NoSuchTarget):
        adopt.adopt(stage.world, context, host, ())


def test_a_pid_that_is_no_qemu_is_no_target(stage: Stage, hand: Process) -> None:
    with pytest.raises(errors.NoSuchTarget, match="has the pid 5, 6"):
        take(stage, 815, 5, 6)
    nothing_was_made(stage)


def test_a_host_that_is_down_is_an_error(stage: Stage, hand: Process) -> None:
    stage.remote.down.add("node1")
    with pytest.raises(errors.Unreachable):
        take(stage)
    nothing_was_made(stage)


def test_a_name_that_was_taken_meanwhile_is_a_conflict(stage: Stage, hand: Process) -> None:
    ops.create(stage.world, stage.context, raw("web7"))
    seen = adopt.look(stage.world, stage.context, "node1")
    (one,) = adopt.candidates(stage.context, replace(stage.state, vms={}), "node1", seen, ())
    with pytest.raises(errors.Conflict, match="by now"):
        adopt._adopted(stage.world, stage.context, "node1", one)
    assert len(stage.state.vms) == 1


@pytest.mark.parametrize("step", STEPS[:3])
@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.UNSENT, Trouble.LOST, Trouble.MUTE])
def test_what_goes_wrong_is_taken_back_and_it_runs_on(
    stage: Stage, hand: Process, step: str, trouble: Trouble
) -> None:
    stage.remote.upon(step, trouble)
    (result,) = take(stage)
    assert result.error is not None and result.vm is None
    nothing_was_made(stage)
    assert stage.status(1) == "undone"


@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.SILENT, Trouble.UNSENT])
def test_one_that_does_not_answer_is_let_go(stage: Stage, hand: Process, trouble: Trouble) -> None:
    stage.remote.upon("AwaitQmp", trouble)
    (result,) = take(stage)
    assert result.error is not None
    nothing_was_made(stage)


def test_one_that_has_ended_meanwhile_leaves_nothing(stage: Stage, hand: Process) -> None:
    stage.host().running.clear()
    (result,) = take(stage)
    assert isinstance(result.error, errors.StepFailed)
    assert stage.state.vms == {} and stage.host().empty


def test_ctrl_c_takes_it_back(stage: Stage, hand: Process) -> None:
    stage.remote.upon("AdoptQemu", Trouble.CTRL_C_AFTER)
    with pytest.raises(errors.Interrupted):
        take(stage)
    nothing_was_made(stage)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", KINDS)
def test_one_that_was_killed_is_taken_back_by_recovery(
    stage: Stage, hand: Process, step: str, moment: str, lost: bool
) -> None:
    die(stage, step, moment, lambda: take(stage))
    assert stage.state.vms[1].state is TashiState.Activating
    (shown,) = recover.listing(stage.world, ended=False)
    assert (shown.kind, shown.status) == ("adopt", Status.INTERRUPTED)
    if lost:
        lose_journal(stage, 1)

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.status is Status.UNDONE
    nothing_was_made(stage)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", KINDS)
def test_one_that_was_killed_is_taken_in_by_the_next_adopt(
    stage: Stage, hand: Process, step: str, moment: str
) -> None:
    die(stage, step, moment, lambda: take(stage))
    take(stage)
    assert it_is_a_vm(stage).id == 2
    assert recover.listing(stage.world, ended=False) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", KINDS)
def test_one_that_was_killed_is_resumed_on_request(
    stage: Stage, hand: Process, step: str, moment: str
) -> None:
    die(stage, step, moment, lambda: take(stage))
    assert recover.resume(stage.world, stage.context, 1).status is Status.DONE
    it_is_a_vm(stage)


def test_without_its_journal_a_resume_takes_it_back(stage: Stage, hand: Process) -> None:
    die(stage, "AwaitQmp", "before", lambda: take(stage))
    lose_journal(stage, 1)
    assert recover.resume(stage.world, stage.context, 1).status is Status.UNDONE
    nothing_was_made(stage)


def test_past_its_pivot_it_only_goes_on(stage: Stage, hand: Process) -> None:
    die(stage, "AwaitQmp", "after", lambda: take(stage))
    journal = stage.journals.reopen(1)
    assert journal is not None
    journal.note(Pivoted(at="2026-03-01T12:00:00Z"))
    journal.close()

    outcome = recover.settle(stage.world, stage.context, 1)

    assert outcome is not None and outcome.status is Status.DONE
    it_is_a_vm(stage)


def test_what_cannot_be_taken_back_stays_wanted_and_is_put_right_later(
    stage: Stage, hand: Process
) -> None:
    stage.remote.upon("AdoptQemu", Trouble.MUTE)
    stage.remote.upon("LetGo", Trouble.UNSENT)
    (result,) = take(stage)
    assert result.error is not None and result.error.leftovers
    vm = stage.state.vms[1]
    assert (vm.wanted, vm.state) == (Wanted.RUNNING, TashiState.Activating)
    assert vm.observed.what is Seen.UNKNOWN

    recover.settle(stage.world, stage.context, 1)
    nothing_was_made(stage)
