"""A host let go of, by real shells: only what is ours goes, and nothing while a VM is there."""

from msgspec.structs import replace

from tashictl.model.steps import (
    ReleaseHost,
    Step,
)
from tashictl.planning import paths
from tashictl.planning.frames import Answer
from tests.live.ground import CLUSTER, Ground


def released(ground: Ground, *images: str, shared: bool = False) -> ReleaseHost:
    at = paths.at_host("node1", ground.settings)
    etc = str(ground.root / "etc")
    return ReleaseHost(**at, etc_dir=etc, images=images, shared=shared)


def everything(ground: Ground) -> set[str]:
    """What is there beside the tools."""
    return {
        str(path.relative_to(ground.root))
        for path in ground.root.rglob("*")
        if not path.is_relative_to(ground.bin)
    }


def release(ground: Ground, *steps: Step) -> Answer:
    return ground.run(*steps, uuid="host", operation=9, seen=8)


def test_of_a_released_host_only_what_is_not_ours_is_left(ground: Ground) -> None:
    ground.ok(ground.manifest())
    ground.ok(ground.remove(), operation=6, seen=5)
    (ground.root / "etc" / "qemu-ifup.1").write_text("#!/bin/sh\n# rendered by tashictl\n")
    (ground.root / "etc" / "qemu-ifup.2").write_text("#!/bin/sh\nthe operator's own\n")
    (ground.images / "sub dir").mkdir()
    for name in ("sub dir/it's.img", "sub dir/it's.img.part", "cut.img.part", "strange.img"):
        (ground.images / name).write_bytes(b"x")
    other = ground.lib / "ffffffffffff"
    (other / "keep").mkdir(parents=True)
    step = released(ground, "base.img", "sub dir/it's.img", "gone.img")
    step = replace(step, parts=("cut.img.part",))

    first = release(ground, step)
    again = release(ground, step)

    for answer in (first, again):
        assert [s.rc for s in answer.steps.values()] == [0]
        assert "files that are not the cluster's" in answer.steps[0].message
    assert everything(ground) == {
        *("etc", "etc/qemu-ifup.2", "shared", "shared/images", "shared/images/strange.img"),
        *("lib", "lib/ffffffffffff", "lib/ffffffffffff/keep"),
    }


def test_of_a_host_with_nothing_foreign_nothing_is_left(ground: Ground) -> None:
    answer = release(ground, released(ground, "base.img"))

    assert answer.steps[0].rc == 0
    assert answer.steps[0].message == ""
    assert everything(ground) == {"etc"}


def test_a_host_without_images_is_released_and_a_shared_folder_stays(ground: Ground) -> None:
    answer = release(ground, released(ground, shared=True))

    assert answer.steps[0].rc == 0
    assert everything(ground) == {"etc", "shared", "shared/images", "shared/images/base.img"}


def test_a_host_with_the_folder_of_a_vm_is_not_released(ground: Ground) -> None:
    ground.ok(ground.manifest())
    before = everything(ground)

    answer = release(ground, released(ground, "base.img"))

    assert answer.steps[0].rc == 1
    assert str(ground.folder) in answer.steps[0].message
    assert everything(ground) - before == {f"lib/{CLUSTER}/fence/host"}


def test_no_image_leads_out_of_the_image_folder(ground: Ground) -> None:
    outside = ground.root / "out side"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    (ground.images / "link").symlink_to(outside)
    (ground.images / "alias.img").symlink_to(outside / "precious")

    release(ground, released(ground, "link/precious", "alias.img"))

    assert (outside / "precious").exists()
    assert not (ground.images / "alias.img").is_symlink()
