"""VMs with a cloud-init seed: when it is kept, sent, forgotten, and that it is nowhere else."""

import io
from hashlib import sha256

import pytest
from msgspec.structs import replace
from pycdlib.pycdlib import PyCdlib

from tashictl import errors
from tashictl.model.script import Fault, Reply
from tashictl.model.steps import PlaceSeed, PutSeed
from tashictl.model.vm import TashiState, Vm
from tashictl.ops import count, recover
from tashictl.ops import vm as ops
from tashictl.ops.many import Watcher
from tests.ops.hosts import Trouble
from tests.ops.looks import nothing_is_left
from tests.ops.stage import Stage, raw
from tests.planning.seed_cases import ED25519

SECRET = "hunter2-in-the-seed"
USER_DATA = f"#cloud-config\npassword: {SECRET}\n".encode()
SEED = {"cloud_init": USER_DATA, "ssh_keys": (ED25519.encode(),)}


def placed(stage: Stage, vm: Vm) -> bytes:
    """The seed under its name on the VM's host."""
    (path,) = [p for p in stage.host(vm.host or "").files if p.endswith(f"{vm.uuid}/seed.iso")]
    return stage.host(vm.host or "").files[path]


def secret_places(stage: Stage) -> list[str]:
    """Files below the cluster's state that hold the secret."""
    files = (p for p in stage.folder.rglob("*") if p.is_file())
    return sorted(p.name for p in files if SECRET.encode() in p.read_bytes())


def test_a_vm_gets_its_seed_and_the_controller_forgets_it(stage: Stage) -> None:
    vm = ops.create(stage.world, stage.context, raw(**SEED))

    data = placed(stage, vm)
    assert vm.spec.seed is not None
    assert (vm.spec.seed.sha256, vm.spec.seed.size_bytes) == (sha256(data).hexdigest(), len(data))
    volume, text = PyCdlib(), io.BytesIO()
    volume.open_fp(io.BytesIO(data))
    volume.get_file_from_iso_fp(text, joliet_path="/user-data")
    assert text.getvalue() == USER_DATA
    assert stage.seeds_left() == []
    assert [p for p in stage.host().files if p.endswith(".part")] == []


def test_the_seed_travels_between_two_scripts_and_is_named_under_the_fence(stage: Stage) -> None:
    ops.create(stage.world, stage.context, raw(**SEED))

    first, second = stage.remote.scripts
    assert [s.name for s in first.steps] == ["WriteManifest"]
    assert second.steps[0].name == "PlaceSeed"
    moments = [e for e in stage.events if e.startswith("PutSeed")]
    assert moments == ["PutSeed:before", "PutSeed:sent", "PutSeed:after"]
    view = recover.show(stage.world, 1)
    assert [s.status for s in view.steps if s.name in ("PutSeed", "PlaceSeed")] == ["done", "done"]


def test_what_the_seed_holds_is_in_no_record_journal_script_or_word(stage: Stage) -> None:
    stage.faults.reactions["PlaceSeed", "after"] = lambda _: look()
    seen: list[str] = []

    def look() -> None:
        seen.extend(secret_places(stage))

    vm = ops.create(stage.world, stage.context, raw(**SEED))

    assert seen == [f"{vm.uuid}.iso"]
    assert secret_places(stage) == []
    told = stage.report.notes + stage.report.warnings
    assert SECRET not in "".join([*told, *(s.text for s in stage.remote.scripts)])


def test_a_vm_without_a_seed_has_no_step_of_one_and_makes_no_folder(stage: Stage) -> None:
    vm = ops.create(stage.world, stage.context, raw())

    assert vm.spec.seed is None
    assert not [s for s in recover.show(stage.world, 1).steps if "Seed" in s.name]
    assert not (stage.folder / "seeds").exists()


def test_bad_user_data_and_a_bad_key_are_refused_together_before_anything(stage: Stage) -> None:
    before = stage.bytes()
    wish = raw(disks=("none",), cloud_init=b"#cloud-config\na: [\n", ssh_keys=(b"x y\n",))

    with pytest.raises(errors.Problems) as caught:
        ops.create(stage.world, stage.context, wish)

    assert [p.code for p in caught.value.problems] == ["E-CLOUD-INIT", "E-SSH-KEY", "E-IMAGE"]
    assert stage.bytes() == before
    assert stage.seeds_left() == []


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(fault=Fault.CUT, sent=True), "E-CUT"),
        (Reply(rc=1, err=b"cat: No space left on device", sent=True), "E-PUTSEED"),
    ],
)
def test_a_seed_that_does_not_arrive_undoes_the_create(
    stage: Stage, reply: Reply, code: str
) -> None:
    stage.remote.put_fault = reply

    with pytest.raises(errors.TashiError) as caught:
        ops.create(stage.world, stage.context, raw(**SEED))

    assert caught.value.code == code
    nothing_is_left(stage)
    assert stage.seeds_left() == []


def test_ctrl_c_while_the_seed_is_sent_undoes_the_create(stage: Stage) -> None:
    stage.remote.put_interrupted = True

    with pytest.raises(errors.Interrupted):
        ops.create(stage.world, stage.context, raw(**SEED))

    nothing_is_left(stage)
    assert stage.seeds_left() == []


@pytest.mark.parametrize("step", ["0 WriteManifest", "2 PlaceSeed", "6 StartQemu"])
def test_a_create_that_is_undone_forgets_its_seed(stage: Stage, step: str) -> None:
    stage.remote.upon(step, Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        ops.create(stage.world, stage.context, raw(**SEED))

    nothing_is_left(stage)
    assert stage.seeds_left() == []


def pending(stage: Stage) -> Vm:
    """A VM with a seed that found no room."""
    for name in ("node1", "node2"):
        with stage.store.transaction() as tx:
            record = tx.state.hosts[name]
            tx.put_host(replace(record, up=False))
    vm = ops.create(stage.world, stage.context, raw(**SEED))
    with stage.store.transaction() as tx:
        for record in tx.state.hosts.values():
            tx.put_host(replace(record, up=True))
    assert vm.state is TashiState.Pending
    return vm


def test_a_pending_vm_keeps_its_seed_until_schedule_starts_it(stage: Stage) -> None:
    vm = pending(stage)
    assert stage.seeds_left() == [f"{vm.uuid}.iso"]
    ops.create(stage.world, stage.context, raw("other", **SEED))
    assert stage.seeds_left() == [f"{vm.uuid}.iso"]

    ((started, error),) = ops.schedule(stage.world, stage.context)

    assert error is None and started.state is TashiState.Running
    assert sha256(placed(stage, started)).hexdigest() == vm.spec.seed.sha256  # type: ignore[union-attr]
    assert stage.seeds_left() == []


def test_a_held_vm_keeps_its_seed_for_the_next_try(stage: Stage) -> None:
    vm = pending(stage)
    stage.remote.put_fault = Reply(rc=1, err=b"no", sent=True)
    ((held, error),) = ops.schedule(stage.world, stage.context)
    assert error is not None and held.state is TashiState.Held
    assert stage.seeds_left() == [f"{vm.uuid}.iso"]

    stage.remote.put_fault = None
    ((started, error),) = ops.schedule(stage.world, stage.context)

    assert error is None and placed(stage, started)
    assert stage.seeds_left() == []


def test_destroying_a_pending_vm_forgets_its_seed(stage: Stage) -> None:
    pending(stage)

    ops.destroy(stage.world, stage.context, "web1")

    assert stage.seeds_left() == []


class Death(BaseException):
    """The controller dies here."""


def die(_: object) -> None:
    raise Death


@pytest.mark.parametrize("step", ["PutSeed", "PlaceSeed", "StartQemu"])
@pytest.mark.parametrize("moment", ["before", "sent", "after"])
@pytest.mark.parametrize("way", ["resume", "undo", "destroy"])
def test_an_interrupted_create_is_finished_with_its_seed_or_leaves_none(
    stage: Stage, step: str, moment: str, way: str
) -> None:
    stage.faults.reactions[step, moment] = die
    with pytest.raises(Death):
        ops.create(stage.world, stage.context, raw(**SEED))
    stage.faults.reactions.clear()
    assert len(stage.seeds_left()) == 1

    if way == "resume":
        done = recover.resume(stage.world, stage.context, 1).vm
        assert done is not None and placed(stage, done)
    elif way == "undo":
        recover.undo(stage.world, stage.context, 1)
        nothing_is_left(stage)
    else:
        ops.destroy(stage.world, stage.context, "web1")
    assert stage.seeds_left() == []
    assert secret_places(stage) == []


def test_a_seed_that_is_in_place_and_kept_no_more_does_not_stop_a_resume(stage: Stage) -> None:
    stage.faults.reactions["StartQemu", "after"] = die
    with pytest.raises(Death):
        ops.create(stage.world, stage.context, raw(**SEED))
    stage.faults.reactions.clear()
    (uuid,) = (vm.uuid for vm in stage.state.vms.values())
    stage.world.seeds.forget(uuid)

    assert recover.resume(stage.world, stage.context, 1).vm is not None


def test_a_kept_seed_that_was_changed_is_not_sent(stage: Stage) -> None:
    vm = pending(stage)
    stage.world.seeds.keep(vm.uuid, b"something else")

    ((held, error),) = ops.schedule(stage.world, stage.context)

    assert error is not None and error.code == "E-SEED"
    assert held.state is TashiState.Held
    assert not stage.host().files


def test_the_next_change_removes_what_a_death_before_the_record_has_left(stage: Stage) -> None:
    stage.world.seeds.keep("7c1e0000-0000-4000-8000-00000000dead", b"orphan")

    ops.create(stage.world, stage.context, raw())

    assert stage.seeds_left() == []


def test_the_plan_names_the_seed_and_nothing_in_it(stage: Stage) -> None:
    ids = ops.NewIds(vm=1, operation=1, uuid="7c1e0000-0000-4000-8000-000000000001")

    decided = ops.draft(stage.world, stage.context, stage.state, raw(**SEED), ids)

    put, place = decided.plan[1:3]
    assert isinstance(put, PutSeed) and isinstance(place, PlaceSeed)
    assert put.sha256 == place.sha256 == decided.vm.spec.seed.sha256  # type: ignore[union-attr]
    assert SECRET not in repr(decided.plan) + repr(decided.vm)
    assert stage.seeds_left() == []


def test_a_seed_is_forgotten_only_behind_a_record_that_lasts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the record may be the one before, which needs the seed once more."""
    monkeypatch.setattr(stage.store, "closing_transaction", None)

    assert ops.create(stage.world, stage.context, raw(**SEED)).state is TashiState.Running


def test_a_vm_that_is_to_go_needs_its_seed_no_more(stage: Stage) -> None:
    stage.remote.upon("PlaceSeed", Trouble.LOST)
    stage.remote.upon("RemoveDir", Trouble.UNSENT)
    with pytest.raises(errors.TashiError):
        ops.create(stage.world, stage.context, raw(**SEED))
    assert stage.state.vms[1].state is TashiState.Destroying

    ops.create(stage.world, stage.context, raw("web2"))

    assert stage.seeds_left() == []


def test_each_of_several_vms_gets_its_own_seed(stage: Stage) -> None:
    results = count.create_many(
        stage.world, stage.context, raw("web", count="3", **SEED), Watcher()
    )

    made = [r.after for r in results if r.after]
    assert [vm.state for vm in made] == [TashiState.Running] * 3
    assert len({placed(stage, vm) for vm in made}) == 3
    assert stage.seeds_left() == []
