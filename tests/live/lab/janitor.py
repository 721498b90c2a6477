"""The janitor of a lab: keeps the hosts' disks, removes everything when the owner is gone.

usage: python -m tests.live.lab.janitor LAB_ID DIRECTORY SLOT_FILE HOSTS DISK_MIB TASHI_MIB

Its standard input is a pipe whose other end only the owner holds: end of file means that the owner
has left (then it said a word before) or died, by SIGKILL too. It lives in a mount namespace of its
own with one tmpfs per host, so that a host's disk outlives a reboot of the host, and has a child,
the keeper, that is the first process of a pid namespace: when the keeper dies, the kernel kills
every process of every host.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from tests.live.lab import traces

_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_STRAGGLERS_S = 0.5
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Mounts the disks, starts the keeper, says its pid, waits for the owner's end, cleans up."""
    lab_id, folder, slot_file, hosts, disk_mib, tashi_mib = sys.argv[1:7]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.chdir("/")
    directory = Path(folder)
    _call("unshare", _CLONE_NEWNS)
    _mount_disks(traces.mark(lab_id), directory, range(1, int(hosts) + 1), disk_mib, tashi_mib)
    keeper = _start_keeper()
    os.write(1, f"{keeper}\n".encode())
    os.close(1)
    farewell = b""
    while word := os.read(0, 4096):
        farewell += word
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    if not farewell:
        # The owner was killed; an `ip` that it had started may still be making links.
        time.sleep(_STRAGGLERS_S)
    subprocess.run(["umount", "--lazy", directory / "disks"], check=False)
    traces.remove(lab_id, directory)
    Path(slot_file).unlink(missing_ok=True)


def _mount_disks(source: str, directory: Path, hosts: range, disk_mib: str, tashi_mib: str) -> None:
    """One tmpfs for each host's overlay and, unless `tashi_mib` is 0, one for /var/lib/tashi."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    top = directory / "disks"
    top.mkdir()
    _mount(source, top, "1")
    for number in hosts:
        disk = top / f"h{number}"
        disk.mkdir()
        _mount(source, disk, disk_mib)
        for name in ("upper", "work", "root"):
            (disk / name).mkdir(mode=0o755)
        if tashi_mib != "0":
            small = top / f"h{number}-tashi"
            small.mkdir()
            _mount(source, small, tashi_mib)
            (small / "data").mkdir(mode=0o755)


def _mount(source: str, place: Path, size_mib: str) -> None:
    options = f"mode=755,size={size_mib}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, source, place], check=True)


def _start_keeper() -> int:
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    _call("unshare", _CLONE_NEWPID)
    keeper = os.fork()
    if keeper == 0:
        _keep()
    # Our own later children must not be born into the keeper's namespace: it will be dead.
    _call("setns", own, _CLONE_NEWPID)
    os.close(own)
    return keeper


def _keep() -> NoReturn:
    """Dies with the janitor; orphans of the namespace are reaped by the kernel meanwhile."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.closerange(0, 1 << 20)
    while True:
        signal.pause()


def _call(name: str, *args: int) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
