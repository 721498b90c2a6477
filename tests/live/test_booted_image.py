"""The cache of the booted Debian: whole or not there, whoever builds and whoever is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.lab import booted_image, born


def fake_build(work: Path) -> None:
    """What takes a minute else."""
    with (work.parent / "count").open("a") as count:
        count.write("x")
    (work / "root").mkdir()
    time.sleep(0.3)
    for name in ("disk.raw", "vmlinuz", "initrd.img"):
        (work / name).touch()


def hang(work: Path) -> None:
    """A build that does not end."""
    (work / "root").mkdir()
    time.sleep(60)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No debootstrap."""
    monkeypatch.setattr(booted_image, "_build_into", fake_build)
    monkeypatch.setattr(booted_image, "missing", list)


def folders(cache: Path) -> list[str]:
    """What is in the cache, but for the lock and the count."""
    return [path.name for path in cache.glob("booted-*")]


def runs(pid: int) -> bool:
    """Whether a process lives; one that nobody has buried does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_two_builders_build_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    builders = [fork.Process(target=booted_image.build, args=(tmp_path,)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    image = booted_image.build(tmp_path)

    assert [builder.exitcode for builder in builders] == [0, 0]
    assert (tmp_path / "count").read_text() == "x"
    assert folders(tmp_path) == [image.folder.name]
    assert image.disk.exists() and image.kernel.exists() and image.initrd.exists()


def test_what_a_killed_builder_left_is_not_believed_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booted_image, "_build_into", hang)
    builder = multiprocessing.get_context("fork").Process(
        target=booted_image.build, args=(tmp_path,)
    )
    builder.start()
    assert invariants.until(lambda: list(tmp_path.glob("booted-build-*/root")))
    os.kill(builder.pid or 0, signal.SIGKILL)
    builder.join()
    monkeypatch.setattr(booted_image, "_build_into", fake_build)

    image = booted_image.build(tmp_path)

    assert folders(tmp_path) == [image.folder.name]
    assert image.disk.exists()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booted_image, "_build_into", lambda work: (work / "root").rmdir())

    with pytest.raises(FileNotFoundError):
        booted_image.build(tmp_path)

    assert folders(tmp_path) == []


def test_of_kept_boots_those_longest_unused_go(tmp_path: Path) -> None:
    long_ago = time.time() - 86400
    for number in range(20):
        kept = tmp_path / f"born-{number:02}"
        kept.mkdir()
        os.utime(kept, (long_ago + number, long_ago + number))

    born.prune(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir())[0] == "born-04"
    assert len(list(tmp_path.iterdir())) == 16


def test_a_kept_boot_that_somebody_may_be_using_stays(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"born-{number:02}").mkdir()

    born.prune(tmp_path)

    assert len(list(tmp_path.iterdir())) == 20


def test_the_machine_dies_with_whoever_started_it(tmp_path: Path) -> None:
    for name in ("disk.raw", "vmlinuz", "initrd.img"):
        (tmp_path / name).write_bytes(b"\0" * 65536)
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tests.live.lab.booted import Booted\nfrom tests.live.lab.booted_image import Image\n"
        "here = Path(sys.argv[1])\nhost = Booted(here, image=Image(here), drives=[here])\n"
        "host._argv = lambda: ['sleep', '60']\n"
        "host.start(); print(host.pid, flush=True); time.sleep(60)\n"
    )
    project = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=project
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert runs(pid)
        owner.kill()

    assert invariants.until(lambda: not runs(pid))
    assert not list(tmp_path.glob("*.qcow2"))
