"""`image import`: streamed, checked, named; done twice is done once."""

from hashlib import sha256

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.image import Image
from tashictl.model.script import Fault, Reply
from tashictl.model.steps import MakeFolder, PlaceImage
from tashictl.ops import image as ops
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, content

DATA = b"an image"
FOLDER = "/var/lib/tashi/shared/images"


def new(name: str = "new.img", data: bytes = DATA) -> ops.Content:
    described = Image(
        name=name,
        format="raw",
        size_bytes=len(data),
        virtual_size_bytes=len(data),
        sha256=sha256(data).hexdigest(),
    )
    return ops.Content(source=content(data), image=described)


def test_an_image_reaches_every_host_under_its_name(stage: Stage) -> None:
    done = ops.put(stage.world, stage.context, new(), ["node1", "node2"])

    assert done.failed == ()
    assert done.image.hosts == ("node1", "node2")
    assert stage.state.images["new.img"] == done.image
    for name in ("node1", "node2"):
        assert stage.host(name).files == {f"{FOLDER}/new.img": DATA}
    assert stage.status(1) == "done"


def test_the_folder_is_made_before_and_the_name_given_after_the_stream(stage: Stage) -> None:
    ops.put(stage.world, stage.context, new("sub/new.img"), ["node1"])

    first, last = (s.steps[0] for s in stage.remote.scripts)
    assert isinstance(first, MakeFolder)
    assert first.path == f"{FOLDER}/sub"
    assert isinstance(last, PlaceImage)
    assert (last.part, last.path) == (f"{FOLDER}/sub/new.img.part", f"{FOLDER}/sub/new.img")
    assert last.sha256 == sha256(DATA).hexdigest()


def test_importing_it_twice_is_as_once(stage: Stage) -> None:
    once = ops.put(stage.world, stage.context, new(), ["node1"])
    twice = ops.put(stage.world, stage.context, new(), ["node1"])

    assert once == twice


def test_another_content_under_a_name_that_is_taken_is_a_conflict(stage: Stage) -> None:
    ops.put(stage.world, stage.context, new(), ["node1"])
    before = stage.bytes()

    with pytest.raises(errors.Conflict):
        ops.put(stage.world, stage.context, new(data=b"other"), ["node1"])

    assert stage.bytes() == before
    assert stage.host().files == {f"{FOLDER}/new.img": DATA}


def test_an_image_that_was_only_found_is_compared_by_its_size(stage: Stage) -> None:
    with pytest.raises(errors.Conflict):
        ops.put(stage.world, stage.context, new("demo.qcow2", b"longer than five"), ["node1"])

    done = ops.put(stage.world, stage.context, new("demo.qcow2", b"12345"), ["node1"])
    assert done.image.sha256 == sha256(b"12345").hexdigest()


def test_a_host_that_is_not_reached_does_not_keep_it_from_the_others(stage: Stage) -> None:
    stage.remote.down.add("node1")

    done = ops.put(stage.world, stage.context, new(), ["node1", "node2"])

    ((host, error),) = done.failed
    assert host == "node1"
    assert isinstance(error, errors.Unreachable)
    assert done.image.hosts == ("node2",)
    assert stage.status(1) == "failed"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(rc=1, err=b"no space left on device", sent=True), errors.StepFailed),
        (Reply(fault=Fault.CUT, sent=True), errors.Unreachable),
    ],
)
def test_a_stream_that_fails_names_nothing(
    stage: Stage, reply: Reply, kind: type[errors.TashiError]
) -> None:
    stage.remote.put_fault = reply

    done = ops.put(stage.world, stage.context, new(), ["node1"])

    ((_, error),) = done.failed
    assert isinstance(error, kind)
    assert done.image.hosts == ()
    assert "new.img" not in stage.state.images
    assert stage.host().files == {}


def test_a_host_that_finds_another_sha256_is_told(stage: Stage) -> None:
    stage.remote.upon("PlaceImage", Trouble.FAILS)

    done = ops.put(stage.world, stage.context, new(), ["node1"])

    ((_, error),) = done.failed
    assert error.code == "E-PLACEIMAGE"
    assert "new.img" not in stage.state.images


def test_on_a_shared_prefix_one_host_is_enough_for_all(stage: Stage) -> None:
    context = replace(stage.context, settings=replace(stage.context.settings, vfs_shared=True))

    done = ops.put(stage.world, context, new(), ["node1", "node2"])

    assert done.image.shared
    assert done.image.hosts == ("node1", "node2")
    assert stage.host("node2").files == {}


def test_without_a_host_nothing_is_begun(stage: Stage) -> None:
    before = stage.bytes()

    with pytest.raises(errors.InvalidRequest):
        ops.put(stage.world, stage.context, new(), [])

    assert stage.bytes() == before


def test_an_image_that_is_being_imported_is_locked(stage: Stage) -> None:
    with stage.other_locks().image("new.img"), pytest.raises(errors.Conflict) as caught:
        ops.put(stage.world, stage.context, new(), ["node1"])

    assert caught.value.code == "E-LOCKED"


def test_an_old_database_imports_nothing(stage: Stage) -> None:
    with stage.store.transaction() as tx:
        tx.mark_stale("node2 knows more")

    with pytest.raises(errors.NotPermitted):
        ops.put(stage.world, stage.context, new(), ["node1"])

    assert stage.host().files == {}


def test_a_stream_that_was_cut_says_that_the_next_import_goes_on(stage: Stage) -> None:
    stage.remote.put_fault = Reply(fault=Fault.CUT, sent=True)

    done = ops.put(stage.world, stage.context, new(), ["node1"])

    ((_, error),) = done.failed
    assert (error.code, errors.exit_code_of(error)) == ("E-CUT", 6)
    assert "did not reach node1 whole" in error.what
    assert f"{FOLDER}/new.img.part" in error.cause
    assert "repeat" in error.hint


def test_a_full_disk_is_told_with_the_folder_and_what_it_takes(stage: Stage) -> None:
    stage.remote.put_fault = Reply(
        rc=1, err=b"cat: write error: No space left on device", sent=True
    )

    done = ops.put(stage.world, stage.context, new(), ["node1"])

    ((_, error),) = done.failed
    assert (error.code, errors.exit_code_of(error)) == ("E-NO-SPACE", 1)
    assert FOLDER in error.what
    assert "it takes 8 B" in error.cause
    assert f"df -h {FOLDER}" in error.hint


def test_a_host_that_was_removed_meanwhile_is_sent_nothing(stage: Stage) -> None:
    """A script would claim it for the cluster once more."""

    def removed(_cut: object) -> None:
        with stage.store.transaction() as tx:
            tx.remove_host("node2")

    stage.faults.reactions["PlaceImage", "after"] = removed

    done = ops.put(stage.world, stage.context, new(), ["node1", "node2"])

    assert [(name, error.code) for name, error in done.failed] == [("node2", "E-NO-HOST")]
    assert done.image.hosts == ("node1",)
    assert stage.host("node2").claimed is None
    assert stage.host("node2").files == {}
