"""The steps of a start by real shells: what has been taken back, and what is gone."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.model.steps import CheckDisk, WriteManifest
from tests.live.ground import NASTY, Ground, failed, parts


def phased(ground: Ground, phase: str) -> WriteManifest:
    """The manifest of operation 6 in this phase."""
    return replace(ground.manifest(phase=phase, operation=6, more="1"), phase=phase)


def on_disk(ground: Ground) -> str:
    found: str = json.loads((ground.folder / "manifest.json").read_text())["phase"]
    return found


def test_a_start_that_is_taken_back_leaves_disks_and_a_manifest_that_says_so(
    ground: Ground,
) -> None:
    ground.ok(ground.manifest(phase="creating", operation=5), ground.overlay())
    inode = (ground.folder / "disk0.qcow2").stat().st_ino
    running = phased(ground, "running")
    ground.ok(phased(ground, "starting"), operation=6, seen=5)
    (ground.folder / "manifest.json").write_text(running.manifest + "\n")

    ground.ok(phased(ground, "stopped"), operation=6, attempt=2, seen=5)

    assert on_disk(ground) == "stopped"
    assert (ground.folder / "disk0.qcow2").stat().st_ino == inode
    assert parts(ground) == []


def test_a_late_copy_of_a_start_leaves_the_manifest_of_the_vm_that_runs(ground: Ground) -> None:
    ground.ok(phased(ground, "starting"), operation=6)
    running = phased(ground, "running")
    (ground.folder / "manifest.json").write_text(running.manifest + "\n")

    ground.ok(phased(ground, "starting"), operation=6)

    assert on_disk(ground) == "running"


def test_where_nothing_is_nothing_is_made_by_taking_back(ground: Ground) -> None:
    ground.ok(phased(ground, "stopped"))

    assert not ground.folder.exists()


def test_a_manifest_that_cannot_be_written_is_no_hindrance(ground: Ground) -> None:
    ground.ok(phased(ground, "starting"))
    (ground.folder / "manifest.json.part").mkdir()

    answer = ground.ok(phased(ground, "stopped"))

    assert "stays as it is" in answer.steps[0].message
    assert on_disk(ground) == "starting"


@pytest.mark.parametrize("name", ["disk0.qcow2", *(t for t in NASTY if t.strip() and "/" not in t)])
def test_a_disk_that_is_gone_is_missed(ground: Ground, name: str) -> None:
    step = CheckDisk(**ground.at, path=str(ground.folder / name))
    assert failed(ground, step) == f"a disk of the VM is gone: {step.path}".rstrip()

    ground.folder.mkdir(parents=True, exist_ok=True)
    Path(step.path).write_bytes(b"x")
    ground.ok(step)
