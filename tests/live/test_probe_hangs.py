"""The sweep's probe where a file system hangs: a FUSE server that is stopped."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tashictl.model.sighting import Mount, Sighting
from tashictl.planning import probe
from tests.live import fuse
from tests.live.ground import wait_for
from tests.live.lab.hosts import Host, Lab
from tests.live.looked import RUN, SETTINGS, SHELLS, ask, look, start, uuid, vm_of


@pytest.fixture(scope="module")
def one() -> Iterator[Host]:
    """A host of its own."""
    with Lab(1) as lab:
        yield lab.hosts[0]


@pytest.fixture
def host(one: Host) -> Iterator[Host]:
    """The same host, with nothing of ours on it."""
    yield one
    one.wipe()


@contextmanager
def mounted(host: Host, folder: str) -> Iterator[int]:
    """A file system that hangs when its server, of this pid here, is stopped."""
    host.run("[ -e /dev/fuse ] || mknod /dev/fuse c 10 229", check=True)
    host.run(f"mkdir -p {folder}")
    (host.root / "tmp/fuse.py").write_text(Path(fuse.__file__).read_text())
    host.run(f"python3 /tmp/fuse.py {folder} >/tmp/fuse.log 2>&1 </dev/null &")
    host.run(f"until mountpoint -q {folder}; do sleep 0.05; done", timeout_s=10)
    server = next(p for p in host.processes() if _runs(p, b"/tmp/fuse.py"))
    try:
        yield server
    finally:
        os.kill(server, signal.SIGKILL)
        host.run(f"umount -l {folder}")


def _runs(pid: int, word: bytes) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def left_behind(host: Host) -> list[int]:
    """The children that look at a file system, still in the shell that made them."""
    return [pid for pid in host.processes() if _runs(pid, b"\0-s\0")]


def mount_of(seen: Sighting, role: str) -> Mount:
    assert seen.host is not None
    return {m.role: m for m in seen.host.mounts}[role]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_file_system_that_hangs_is_said_to_and_hangs_nothing(host: Host, shell: str) -> None:
    pid = start(host, 1)
    with mounted(host, SETTINGS.image_folder) as server:
        well = look(host, shell=shell)
        os.kill(server, signal.SIGSTOP)
        begun = time.monotonic()
        first = look(host, shell=shell)
        middle = time.monotonic()
        children = left_behind(host)
        second = look(host, shell=shell)
        end = time.monotonic()
        later = left_behind(host)
        os.kill(server, signal.SIGCONT)
        wait_for(lambda: not left_behind(host))
        again = look(host, shell=shell)

    images = mount_of(well, "images")
    assert (images.size_bytes, images.free_bytes) == (fuse.BLOCKS * fuse.BLOCK, fuse.FREE * 4096)
    assert images.stuck_since is None
    since = mount_of(first, "images").stuck_since
    assert since is not None
    assert mount_of(first, "images").size_bytes is None
    assert mount_of(second, "images").stuck_since == since
    assert len(children) == 1
    assert later == children
    assert middle - begun < probe.MOUNT_S + 5
    assert end - middle < probe.MOUNT_S  # nobody waited a second time
    for seen in (first, second):
        assert (seen.fingerprint, vm_of(seen, 1).pid) == ("", pid)
        assert mount_of(seen, "lib").stuck_since is None
        assert (mount_of(seen, "lib").size_bytes or 0) > 0
    assert mount_of(again, "images").stuck_since is None
    assert again.fingerprint == well.fingerprint


def test_where_the_disks_hang_vms_are_known_by_their_run_folders(host: Host) -> None:
    with mounted(host, "/var/lib/tashi") as server:
        host.run(f"mkdir -p {RUN}/{uuid(1)}")
        os.kill(server, signal.SIGSTOP)
        seen = look(host)
        os.kill(server, signal.SIGCONT)

    assert mount_of(seen, "lib").stuck_since is not None
    assert [(vm.uuid, vm.alive, vm.folder) for vm in seen.vms] == [(uuid(1), False, True)]
    assert seen.claim is None


def test_a_dry_run_leaves_nothing_even_where_something_hangs(host: Host) -> None:
    with mounted(host, SETTINGS.image_folder) as server:
        os.kill(server, signal.SIGSTOP)
        seen = look(host, ask(mounts=False))
        wait_for(lambda: not left_behind(host))
        os.kill(server, signal.SIGCONT)

    assert mount_of(seen, "images").stuck_since is not None
    assert not (host.root / RUN.lstrip("/")).exists()
