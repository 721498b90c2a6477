"""A QEMU that was started by hand, by real shells: seen, kept, let go; it runs on untouched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.model.steps import AdoptQemu, LetGo, WriteManifest
from tashictl.planning import adopt
from tests.live.ground import CLUSTER, NONCE, UUID, Ground, failed, is_free, wait_for
from tests.live.ground_systemd import Systemd


class Hand:
    """The stub of QEMU in a folder that is not ours, with a disk beside it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.folder = ground.root / "by hand"
        self.folder.mkdir()
        (self.folder / "disk.img").write_bytes(b"precious")
        # The stub is a script: of its interpreter too the first argument must be QEMU's name.
        binary = self.folder / "qemu-system-x86_64"
        binary.symlink_to(Path(sys.executable).resolve())
        os.mkfifo(self.folder / "monitor.in")
        self.process = subprocess.Popen(
            [
                *(str(binary), "-IS", str(ground.bin / "qemu-system-x86_64")),
                *("-uuid", UUID, "-name", "web7"),
                *("-pidfile", str(self.folder / "pid"), "-qmp", "unix:qmp.sock,server=on"),
            ],
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
        )
        wait_for(lambda: (self.folder / "qmp.sock").exists())
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        self.starttime = int(stat.rpartition(") ")[2].split()[19])
        self.step = AdoptQemu(
            **ground.at,
            pid=self.process.pid,
            starttime=self.starttime,
            socket=str(self.folder / "qmp.sock"),
        )
        self.let_go = LetGo(**ground.at)
        self.manifest = replace(ground.manifest(name="web7"), phase="adopting")

    @property
    def runs(self) -> bool:
        """It lives and has its disk."""
        return self.process.poll() is None and self.has_disk

    @property
    def has_disk(self) -> bool:
        return (self.folder / "disk.img").read_bytes() == b"precious"

    def keepers(self) -> list[int]:
        """Who holds the lock for it."""
        return [
            int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and self._is_keeper(p)
        ]

    def _is_keeper(self, process: Path) -> bool:
        try:
            held = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
        except OSError:
            return False
        return any(path.startswith(f"{self.ground.run_folder}/run.lock") for path in held)


@pytest.fixture
def hand(ground: Ground) -> Iterator[Hand]:
    made = Hand(ground)
    yield made
    made.process.kill()
    made.process.wait()
    wait_for(lambda: not made.keepers())


@pytest.fixture(params=[False, True], ids=["alone", "systemd"])
def systemd(request: pytest.FixtureRequest, ground: Ground) -> Systemd | None:
    """The ground's host, without systemd and with it."""
    return Systemd(ground) if request.param else None


def nothing_of_ours(ground: Ground) -> bool:
    return not ground.run_folder.exists() and not ground.folder.exists()


def test_a_look_finds_it_with_all_that_it_was_started_with(ground: Ground, hand: Hand) -> None:
    ground.ok(ground.harmless())
    seen = adopt.read_look(ground.text(adopt.script(ground.settings, NONCE).text), NONCE)

    assert seen is not None
    (one,) = [p for p in seen.processes if p.pid == hand.process.pid]
    assert (one.starttime, one.folder) == (hand.starttime, str(hand.folder))
    assert one.argv[-6:] == (
        *("-name", "web7", "-pidfile", str(hand.folder / "pid")),
        *("-qmp", "unix:qmp.sock,server=on"),
    )


def test_it_is_kept_as_long_as_it_lives(
    ground: Ground, hand: Hand, systemd: Systemd | None
) -> None:
    answer = ground.ok(hand.manifest, hand.step)

    data = answer.steps[1].data
    assert (data["pid"], data["starttime"]) == (str(hand.process.pid), str(hand.starttime))
    assert not is_free(ground.run_folder / "run.lock")
    assert is_free(ground.fence_file)
    assert (ground.run_folder / "qemu.pid").read_text() == f"{hand.process.pid}\n"
    assert (ground.run_folder / "qmp.sock").resolve() == hand.folder / "qmp.sock"
    (keeper,) = hand.keepers()
    assert os.getsid(keeper) == keeper
    ground.ok(WriteManifest(**ground.at, phase="running", manifest='{"uuid":1', add_started=True))

    hand.process.kill()  # it stays as a zombie: nobody waits for it
    wait_for(lambda: is_free(ground.run_folder / "run.lock"))
    wait_for(lambda: not hand.keepers())
    if systemd is not None:
        wait_for(lambda: not systemd.loaded)


def test_twice_is_once(ground: Ground, hand: Hand, systemd: Systemd | None) -> None:
    ground.ok(hand.manifest, hand.step)
    before = hand.keepers()
    ground.ok(hand.manifest, hand.step)
    assert hand.keepers() == before
    assert len(before) == 1


def test_it_is_let_go_and_runs_on(ground: Ground, hand: Hand, systemd: Systemd | None) -> None:
    ground.ok(hand.manifest, hand.step)
    for _ in range(2):
        ground.ok(hand.let_go)
        assert nothing_of_ours(ground)
        assert hand.keepers() == []
        assert hand.runs
    ground.ok(hand.manifest)
    ground.ok(hand.let_go)
    assert nothing_of_ours(ground)


def test_it_is_ended_and_its_disk_stays(
    ground: Ground, hand: Hand, systemd: Systemd | None
) -> None:
    ground.ok(hand.manifest, hand.step)
    began = time.monotonic()
    ground.ok(ground.kill(), ground.remove())
    assert time.monotonic() - began < 4
    assert hand.process.wait(5) is not None
    assert hand.has_disk
    assert (hand.folder / "qmp.sock").exists()
    assert nothing_of_ours(ground)


def test_one_that_has_just_ended_by_itself_is_removed(ground: Ground, hand: Hand) -> None:
    ground.ok(hand.manifest, hand.step)
    hand.process.kill()
    hand.process.wait()
    ground.ok(ground.kill(), ground.remove())
    assert nothing_of_ours(ground)


def test_another_process_of_that_pid_is_not_taken_in(ground: Ground, hand: Hand) -> None:
    for other in (
        replace(hand.step, starttime=hand.starttime + 1),
        replace(hand.step, pid=os.getpid()),
        replace(hand.step, pid=2**22),
    ):
        assert "or is another one" in failed(ground, hand.manifest, other)
    assert "not there" in failed(ground, replace(hand.step, socket="/none/it's"))
    ground.ok(hand.let_go)
    assert nothing_of_ours(ground)
    assert hand.runs


def test_what_we_did_not_make_is_not_removed(ground: Ground, hand: Hand) -> None:
    ground.ok(hand.manifest, hand.step)
    other = ground.folder / "disk0.qcow2"
    other.write_bytes(b"of somebody")
    failed(ground, hand.let_go)
    assert other.read_bytes() == b"of somebody"
    assert hand.runs
    other.unlink()
    ground.ok(hand.let_go)


def test_it_is_a_unit_where_systemd_runs(ground: Ground, hand: Hand) -> None:
    systemd = Systemd(ground)
    ground.ok(hand.manifest, hand.step)
    assert systemd.loaded == [f"tashi-{CLUSTER}-{UUID}.service"]
    systemd.break_down()
    ground.ok(hand.let_go)
    assert systemd.loaded == []
    assert "did not start" in failed(ground, hand.manifest, hand.step)
    ground.ok(hand.let_go)
    assert nothing_of_ours(ground)
