"""The plan of a start, and what takes it back: never the folder, never a disk."""

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.steps import CheckDisk, KillQemu, RemoveDir, RemoveTap, StepClass, WriteManifest
from tashictl.model.vm import Observed, OperationKind, OperationRef, Seed, Seen, TashiState
from tashictl.planning import create, machine, start
from tests.planning.cases import IFUP, LAB, LAN, SETTINGS, facts, host, vm
from tests.planning.test_create import TWO

FROZEN = machine.freeze(TWO, uuid=vm().uuid, facts=facts(), settings=SETTINGS)
EXITED = vm(spec=FROZEN, operation=None, observed=Observed(what=Seen.STOPPED))
OPERATION = OperationRef(id=18, kind=OperationKind.START, started="2026-03-01T13:00:00Z")
VM = start.begun(EXITED, OPERATION)
PLAN = start.plan(VM, host(), (LAN, LAB), SETTINGS, IFUP)


def test_the_disks_are_looked_for_before_anything_is_written() -> None:
    assert [s.name for s in PLAN] == [
        *("CheckDisk", "CheckImage", "WriteManifest", "WriteIfup", "WriteIfup"),
        *("AddTap", "AddTap", "StartQemu", "WriteManifest", "AwaitQmp"),
    ]


def test_a_seed_must_lie_there_still() -> None:
    spec = replace(FROZEN, seed=Seed(sha256="0" * 64, size_bytes=1))
    plan = start.plan(replace(VM, spec=spec), host(), (LAN, LAB), SETTINGS, IFUP)

    assert [s.path.rsplit("/")[-1] for s in plan if isinstance(s, CheckDisk)] == [
        "disk0.qcow2",
        "seed.iso",
    ]


def test_it_starts_the_very_qemu_that_a_create_starts() -> None:
    made = create.plan(VM, host(), (LAN, LAB), SETTINGS, IFUP)

    assert made[3:] == PLAN[3:]


def test_there_is_one_pivot_and_all_before_it_can_be_undone() -> None:
    *before, last = PLAN

    assert last.step_class is StepClass.PIVOT
    assert {s.step_class for s in before} == {StepClass.REVERSIBLE}


def test_its_manifests_are_of_its_own_generation_and_never_creating() -> None:
    found = [s for s in PLAN if isinstance(s, WriteManifest)]
    texts = [json.loads(s.manifest + "}" * s.add_started) for s in found]

    assert VM.generation == EXITED.generation + 1
    assert [t["generation"] for t in texts] == [VM.generation] * 2
    assert [t["phase"] for t in texts] == [s.phase for s in found] == ["starting", "running"]
    assert [t["operation"] for t in texts] == [18, 18]
    assert [s.add_started for s in found] == [False, True]


@given(st.sets(st.integers(0, len(PLAN) - 1)))
def test_what_takes_it_back_ends_qemu_and_leaves_the_disks(begun: set[int]) -> None:
    undo = create.undo(PLAN, begun)

    assert not [s for s in undo if isinstance(s, RemoveDir)]
    assert {type(s) for s in undo} <= {KillQemu, RemoveTap, WriteManifest}
    assert [s.phase for s in undo if isinstance(s, WriteManifest)] == ["stopped"] * (2 in begun)


def test_all_of_it_is_taken_back_newest_first_with_the_manifest_last() -> None:
    undo = create.undo(PLAN, range(len(PLAN)))

    assert [s.name for s in undo] == ["KillQemu", "RemoveTap", "RemoveTap", "WriteManifest"]
    last = undo[-1]
    assert isinstance(last, WriteManifest)
    found, first = json.loads(last.manifest), json.loads(PLAN[2].manifest)  # type: ignore[union-attr]
    assert found == {**first, "phase": "stopped"}


def test_only_what_has_exited_on_a_host_is_started() -> None:
    assert start.refusal(EXITED) is None
    for one in (
        replace(EXITED, observed=Observed(what=Seen.PAUSED)),
        replace(EXITED, observed=Observed()),
        replace(EXITED, observed=Observed(), host=None),
        replace(EXITED, host=None),
        VM,
    ):
        refused = start.refusal(one)
        assert refused is not None and refused.code == "E-STATE"
        assert "no start now" in refused.what


def test_while_it_is_started_it_is_activating() -> None:
    assert VM.state is TashiState.Activating
