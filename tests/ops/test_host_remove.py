"""`host remove`: nothing stays on the host, and nothing is forgotten that may still be there."""

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.host import HostState
from tashictl.model.operation import Status
from tashictl.model.script import Fault, Reply
from tashictl.ops import host as host_ops
from tashictl.ops import host_remove as ops
from tashictl.ops import image as image_ops
from tashictl.ops import recover
from tashictl.ops import vm as vm_ops
from tests.ops.hosts import KEY, Trouble
from tests.ops.stage import Stage, raw
from tests.ops.test_host import answer
from tests.ops.test_image import new

FOLDER = "/var/lib/tashi/shared/images"


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """Two hosts that answer a probe; the first one has an image file."""
    for name in ("node1", "node2"):
        stage.remote.probes[name] = answer()
        stage.trust.trust(name, KEY)
    stage.host().files[f"{FOLDER}/demo.qcow2"] = b"12345"
    stage.host().files[f"{FOLDER}/strange.img"] = b"not known"
    return stage


def remove(stage: Stage, name: str = "node1") -> ops.Removed:
    return ops.remove(stage.world, stage.context, name)


def test_nothing_of_it_stays(stage: Stage) -> None:
    removed = remove(stage)

    host = stage.host()
    assert host.files == {f"{FOLDER}/strange.img": b"not known"}
    assert (host.claimed, host.fences) == (None, {})
    state = stage.state
    assert list(state.hosts) == ["node2"]
    assert {i.name: i.hosts for i in state.images.values()} == {
        "demo.qcow2": ("node2",),
        "data.img": ("node2",),
    }
    assert list(stage.trust.keys) == ["node2"]
    assert removed == ops.Removed(host="node1")
    assert stage.status(1) == "done"


def test_images_that_nobody_has_any_more_are_forgotten_and_named(stage: Stage) -> None:
    remove(stage)

    assert remove(stage, "node2").images == ("demo.qcow2", "data.img")
    assert stage.state.images == {}


def test_the_part_of_an_import_that_failed_goes_too_and_a_strangers_file_of_its_name_stays(
    stage: Stage,
) -> None:
    stage.remote.put_fault = Reply(fault=Fault.CUT, sent=True)
    image_ops.put(stage.world, stage.context, new("cut.img"), ["node1"])
    stage.host().files[f"{FOLDER}/cut.img.part"] = b"half"
    stage.host().files[f"{FOLDER}/cut.img"] = b"a stranger's"

    remove(stage)

    assert set(stage.host().files) == {f"{FOLDER}/strange.img", f"{FOLDER}/cut.img"}


def test_images_on_a_shared_prefix_stay(stage: Stage) -> None:
    stage.context = replace(
        stage.context, settings=replace(stage.context.settings, vfs_shared=True)
    )

    remove(stage)

    assert f"{FOLDER}/demo.qcow2" in stage.host().files


def test_a_host_with_vms_is_refused_and_they_are_named(stage: Stage) -> None:
    vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))
    before, scripts = stage.bytes(), len(stage.remote.scripts)

    with pytest.raises(errors.Conflict) as caught:
        remove(stage)

    assert caught.value.code == "E-HOST-BUSY"
    assert "web1 (Running)" in caught.value.what
    assert caught.value.hint == "tashictl vm destroy web1"
    assert stage.bytes() == before
    assert (len(stage.remote.scripts), stage.remote.asked) == (scripts, [])


def test_a_tombstone_is_a_vm_too(stage: Stage) -> None:
    vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))
    stage.remote.down.add("node1")
    with pytest.raises(errors.Unreachable):
        vm_ops.destroy(stage.world, stage.context, "web1")
    stage.remote.down.clear()

    with pytest.raises(errors.TashiError, match="web1"):
        remove(stage)


def test_vms_that_only_the_host_knows_are_named_and_kept(stage: Stage) -> None:
    uuid = "7c1e0000-0000-4000-8000-00000000ffff"
    stage.remote.probes["node1"] = answer(**{f"vm {uuid}": 'alive 0\nmanifest {"name":"x"}'})

    with pytest.raises(errors.Conflict, match=uuid):
        remove(stage)

    assert stage.state.hosts["node1"].state is HostState.Normal


def test_a_host_that_does_not_answer_is_not_forgotten(stage: Stage) -> None:
    stage.remote.down.add("node1")
    before = stage.bytes()

    with pytest.raises(errors.Unreachable):
        remove(stage)

    assert stage.bytes() == before
    assert stage.trust.key_of("node1") == (KEY,)


def test_by_force_only_our_side_is_forgotten_and_what_may_be_left_is_said(stage: Stage) -> None:
    stage.remote.down.add("node1")

    removed = ops.forget(stage.world, stage.context, "node1")

    assert removed.forced
    assert "/var/lib/tashi/0123456789ab" in removed.said
    assert list(stage.state.hosts) == ["node2"]
    assert stage.trust.key_of("node1") == ()
    assert f"{FOLDER}/demo.qcow2" in stage.host().files


def test_by_force_a_host_with_vms_is_kept_all_the_same(stage: Stage) -> None:
    vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))

    with pytest.raises(errors.Conflict):
        ops.forget(stage.world, stage.context, "node1")


def test_a_host_of_another_cluster_is_left_alone(stage: Stage) -> None:
    stage.remote.probes["node1"] = answer(
        basics="time 1772366400\ncluster ffffffffffff 3 9 them@there"
    )

    with pytest.raises(errors.NotPermitted) as caught:
        remove(stage)

    assert "--force" in caught.value.hint
    assert "node1" in stage.state.hosts
    assert stage.remote.scripts == []


@pytest.mark.parametrize("trouble", [Trouble.MUTE, Trouble.LOST, Trouble.FAILS, Trouble.UNSENT])
def test_what_goes_wrong_leaves_it_drained_and_the_repeat_finishes(
    stage: Stage, trouble: Trouble
) -> None:
    stage.remote.upon("ReleaseHost", trouble)

    with pytest.raises(errors.TashiError) as caught:
        remove(stage)

    record = stage.state.hosts["node1"]
    assert (record.state, record.notes) == (HostState.Drained, "being removed, operation 1")
    assert "tashictl op resume 1" in caught.value.leftovers[0]
    (shown,) = recover.listing(stage.world, ended=False)
    assert (shown.id, shown.kind, shown.status) == (1, "host-remove", Status.INTERRUPTED)

    remove(stage)

    assert "node1" not in stage.state.hosts
    assert recover.listing(stage.world, ended=False) == []
    assert stage.status(1) == "done"


def test_it_is_resumed_and_never_undone(stage: Stage) -> None:
    stage.remote.upon("ReleaseHost", Trouble.MUTE)
    with pytest.raises(errors.Unreachable):
        remove(stage)
    recover.may_resume(stage.world, 1)
    for refused in (recover.may_undo, lambda w, i: recover.undo(w, stage.context, i)):
        with pytest.raises(errors.Conflict) as caught:
            refused(stage.world, 1)
        assert caught.value.code == "E-FORWARD"

    outcome = recover.resume(stage.world, stage.context, 1)

    assert (outcome.status, outcome.vm) == (Status.DONE, None)
    assert "node1" not in stage.state.hosts
    assert stage.remote.scripts[-1].fence is not None
    assert stage.remote.scripts[-1].fence.attempt == 2


def test_a_removal_that_was_interrupted_is_taken_back_by_adding_the_host(stage: Stage) -> None:
    stage.remote.upon("ReleaseHost", Trouble.UNSENT)
    with pytest.raises(errors.Unreachable):
        remove(stage)

    host_ops.add(stage.world, stage.context, stage.context.inventory.hosts[0])

    record = stage.state.hosts["node1"]
    assert (record.state, record.notes) == (HostState.Normal, "")
    assert stage.status(1) == "undone"
    assert recover.listing(stage.world, ended=False) == []


def test_images_that_came_since_go_too(stage: Stage) -> None:
    stage.remote.upon("ReleaseHost", Trouble.UNSENT)
    with pytest.raises(errors.Unreachable):
        remove(stage)
    with stage.store.transaction() as tx:
        tx.put_image(replace(tx.state.images["demo.qcow2"], name="late.img", hosts=("node1",)))
    stage.host().files[f"{FOLDER}/late.img"] = b"late"

    assert remove(stage).images == ("late.img",)

    assert f"{FOLDER}/late.img" not in stage.host().files
    assert (stage.status(1), stage.status(2)) == ("undone", "done")


def test_ctrl_c_says_how_to_go_on(stage: Stage) -> None:
    stage.remote.upon("ReleaseHost", Trouble.CTRL_C)

    with pytest.raises(errors.Interrupted) as caught:
        remove(stage)

    assert caught.value.hint == "tashictl op resume 1"


def test_while_a_script_may_still_arrive_the_fences_stay(stage: Stage) -> None:
    """Its fences go with the host: nothing else would hold back a script that comes late."""
    stage.remote.upon("StartQemu", Trouble.MUTE)
    with pytest.raises(errors.TashiError):
        vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))
    assert stage.state.vms == {}
    before = stage.bytes()

    with pytest.raises(errors.Conflict) as caught:
        remove(stage)

    assert caught.value.code == "E-HOST-UNQUIET"
    # connectTimeout 10 + lock wait of a second attempt 130 + 30, and 5 for the clocks
    assert caught.value.hint == "wait 176 s, then remove it again"
    assert stage.bytes() == before

    stage.clock.sleep(174)
    with pytest.raises(errors.Conflict):
        remove(stage)
    stage.clock.sleep(2)
    remove(stage)


def test_what_was_sent_by_an_operation_whose_journal_was_lost_is_waited_for_too(
    stage: Stage,
) -> None:
    stage.remote.upon("StartQemu", Trouble.MUTE)
    stage.remote.upon("KillQemu", Trouble.UNSENT)
    with pytest.raises(errors.TashiError):
        vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))
    stage.journals.discard(1)
    vm_ops.destroy(stage.world, stage.context, "web1")

    with pytest.raises(errors.Conflict) as caught:
        remove(stage)

    assert caught.value.code == "E-HOST-UNQUIET"
    stage.clock.sleep(180)
    remove(stage)


def test_a_create_that_was_answered_with_a_failure_needs_no_wait(stage: Stage) -> None:
    stage.remote.upon("StartQemu", Trouble.FAILS)
    with pytest.raises(errors.StepFailed):
        vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))

    remove(stage)


def test_a_host_that_runs_an_operation_is_refused(stage: Stage) -> None:
    def meanwhile(cut: object) -> None:
        del cut
        with pytest.raises(errors.TashiError) as caught:
            ops.refuse(stage.world, stage.context, stage.state, "node1")
        assert "runs on node1" in str(caught.value)

    stage.faults.reactions["StartQemu", "before"] = meanwhile
    vm_ops.create(stage.world, stage.context, raw("web1", host="node1"))


def test_after_a_removal_it_is_as_new(stage: Stage) -> None:
    remove(stage)

    checked = host_ops.add(stage.world, stage.context, stage.context.inventory.hosts[0])

    assert checked.record is not None
    assert checked.record.id == 3
    vm_ops.create(stage.world, stage.context, raw("web1"))


def test_a_host_that_is_not_there_is_code_3(stage: Stage) -> None:
    with pytest.raises(errors.NoSuchTarget):
        remove(stage, "node9")


def test_an_image_of_a_shared_prefix_stays_when_the_setting_has_changed(stage: Stage) -> None:
    """Its file is every host's: the image itself says that it is shared."""
    with stage.store.transaction() as tx:
        tx.put_image(replace(tx.state.images["demo.qcow2"], shared=True))

    remove(stage)

    assert f"{FOLDER}/demo.qcow2" in stage.host().files
    assert stage.state.images["demo.qcow2"].hosts == ("node2",)


def test_the_part_of_an_import_on_a_shared_prefix_stays(stage: Stage) -> None:
    stage.remote.put_fault = Reply(fault=Fault.CUT, sent=True)
    image_ops.put(stage.world, stage.context, new("cut.img"), ["node1"])
    stage.context = replace(
        stage.context, settings=replace(stage.context.settings, vfs_shared=True)
    )
    stage.host().files[f"{FOLDER}/cut.img.part"] = b"another host's import goes on"

    remove(stage)

    assert f"{FOLDER}/cut.img.part" in stage.host().files


def test_a_vm_that_was_placed_there_during_the_look_keeps_the_host(stage: Stage) -> None:
    made = vm_ops.create(stage.world, stage.context, raw("web1", host="node2"))
    probed = answer()

    def meanwhile(nonce: str) -> bytes:
        with stage.store.transaction() as tx:
            tx.put_vm(replace(made, host="node1"))
        return probed(nonce)

    stage.remote.probes["node1"] = meanwhile

    with pytest.raises(errors.Conflict) as caught:
        remove(stage)

    assert caught.value.code == "E-HOST-BUSY"
    assert [s.steps[0].name for s in stage.remote.scripts if s.steps[0].host == "node1"] == []


def test_a_removal_of_other_images_waits_for_the_script_of_the_one_before(stage: Stage) -> None:
    stage.remote.upon("ReleaseHost", Trouble.LOST)
    with pytest.raises(errors.TashiError):
        remove(stage)
    with stage.store.transaction() as tx:
        tx.put_image(replace(tx.state.images["demo.qcow2"], hosts=("node2",)))

    remove(stage)

    fence = stage.remote.scripts[-1].fence
    ours = stage.context.settings.tashictl
    assert fence is not None and fence.lock_wait_s > ours.step_timeout_s
