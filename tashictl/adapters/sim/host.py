"""A simulated host: files, TAPs, processes, and the scripts that run there."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Generator
from typing import Protocol

from tashictl.adapters.sim.timeline import Timeline
from tashictl.adapters.sim.watch import Watch
from tashictl.model.steps import Fence

Pace = Generator[float, None, None]  # yields the seconds that pass
_POLL_S = 0.25
_START_S = 0.2


class File:
    """A file; two of the same name, one after the other, are not the same file."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.holders = 0  # processes that hold a lock on it


class Process:
    """A QEMU (or a foreign process): known by its uuid, alive by the lock that it holds."""

    def __init__(self, pid: int, uuid_: str, run_lock: File | None) -> None:
        self.pid = pid
        self.uuid = uuid_
        self.run_lock = run_lock
        self.sockets: set[str] = set()
        self.silent = False
        self.paused = False
        self.foreign = False


class Stoppable(Protocol):
    """A script that runs on a host."""

    def stop(self) -> None:
        """End it where it stands."""
        ...


class NoSpace(Exception):
    """The host's disk is full."""


class SimHost:
    """One host; `full`, `reachable` and the other switches are what faults turn.

    `offset_s` is its clock minus true time.
    """

    def __init__(self, name: str, timeline: Timeline, watch: Watch) -> None:
        self.name = name
        self.timeline = timeline
        self.watch = watch
        self.offset_s = 0.0
        self.cores = 4
        self.memory_mib = 4096
        self.qemu_version = "7.2.22"
        self.reachable = True
        self.hung = False  # what only looks at it is never answered
        self.late_s = 0.0  # how long the answer to such a look is on its way
        self.truncates = False  # such an answer ends in the middle
        self.full = False
        self.mute = False  # its QEMUs do not answer on QMP
        self.deaf = False  # its guests ignore the power button
        self.files: dict[str, File] = {}
        self.folders: set[str] = set()
        self.taps: dict[str, str] = {}  # name, the ifup script that was called for it
        self.ports: set[int] = set()  # that something else listens on
        self.neighbours: dict[str, str] = {}  # by address, the MAC of who answers there
        self.processes: dict[int, Process] = {}
        self.locks: dict[str, object] = {}
        self.scripts: list[Stoppable] = []
        self.boot_id = str(uuid.UUID(int=timeline.random.getrandbits(128), version=4))
        self.booted_s = timeline.monotonic_s()
        self.stuck: dict[str, int] = {}  # role of a file system that hangs, since when (epoch)
        self.oom: set[str] = set()  # uuids whose QEMUs the kernel has killed for their memory
        self._pids = itertools.count(1000)
        self._by_uuid: dict[str, dict[int, Process]] = {}

    @property
    def time_s(self) -> int:
        """What `date +%s` says here."""
        return int(self.timeline.now().timestamp() + self.offset_s)

    def fence_path(self, fence: Fence) -> str:
        """Where attempts are remembered: outside the VM's folder, which they outlive."""
        return f"{fence.lib_dir}/{fence.cluster}/fence/{fence.uuid}"

    # -- files

    def write(self, path: str, text: str) -> None:
        """Write a file anew; raises NoSpace."""
        if self.full:
            raise NoSpace
        self.files[path] = File(text)

    def overwrite(self, path: str, text: str) -> None:
        """Write in place, which needs no space where the file is as long already."""
        file = self.files.setdefault(path, File())
        if self.full and len(text) > len(file.text):
            raise NoSpace
        file.text = text

    def text(self, path: str) -> str:
        """A file's text, empty where there is none."""
        file = self.files.get(path)
        return file.text if file is not None else ""

    def below(self, folder: str) -> list[str]:
        """The paths of all files below a folder, sorted."""
        return sorted(p for p in self.files if p.startswith(f"{folder}/"))

    # -- processes

    def qemu_of(self, uuid_: str) -> Process | None:
        """The process whose command line names this uuid."""
        return next(iter(self._by_uuid.get(uuid_, {}).values()), None)

    def is_locked(self, path: str) -> bool:
        """Whether a process holds the lock on the very file that lies at `path`."""
        file = self.files.get(path)
        return file is not None and file.holders > 0

    def spawn(self, uuid_: str, run_lock: File | None) -> Process:
        """Start a process."""
        process = Process(next(self._pids), uuid_, run_lock)
        self.processes[process.pid] = process
        self._by_uuid.setdefault(uuid_, {})[process.pid] = process
        if run_lock is not None:
            run_lock.holders += 1
        self.watch.spawned(self.name, uuid_)
        return process

    def open_sockets(self, process: Process, run_folder: str) -> None:
        """A moment later QEMU has written its pid file and listens, or ended where it cannot."""

        def listen() -> None:
            if process.pid not in self.processes:
                return
            if self.full or run_folder not in self.folders:
                self.end(process)
                return
            self.write(f"{run_folder}/qemu.pid", str(process.pid))
            for name in ("qmp.sock", "serial.sock", "vnc.sock"):
                self.write(f"{run_folder}/{name}", "")
                process.sockets.add(f"{run_folder}/{name}")

        self.timeline.at(self.timeline.monotonic_s() + _START_S, listen)

    def kill(self, process: Process) -> None:
        """A fault ends a process."""
        self.watch.excused.add(process.uuid)
        self.end(process)

    def leave(self, process: Process) -> None:
        """A QEMU ends by itself, and takes its sockets with it."""
        for path in process.sockets:
            self.files.pop(path, None)
        self.end(process)

    def end(self, process: Process) -> None:
        """A process is gone; its sockets stay as files that nobody answers at."""
        if self.processes.pop(process.pid, None) is None:
            return
        del self._by_uuid[process.uuid][process.pid]
        if process.run_lock is not None:
            process.run_lock.holders -= 1
        self.watch.ended(process.uuid)

    # -- locks among scripts

    def take(self, key: str, holder: object, wait_s: float) -> Generator[float, None, bool]:
        """Wait for a lock as `flock -w` does; whether it was had."""
        until_s = self.timeline.monotonic_s() + wait_s
        while self.locks.get(key, holder) is not holder:
            if self.timeline.monotonic_s() >= until_s:
                return False
            yield _POLL_S
        self.locks[key] = holder
        return True

    def release(self, holder: object) -> None:
        """A script has ended: its locks are free."""
        for key in [k for k, h in self.locks.items() if h is holder]:
            del self.locks[key]

    def heal(self) -> None:
        """Turn all faults off; what they have done stays."""
        self.reachable, self.late_s, self.offset_s = True, 0.0, 0.0
        self.hung = self.truncates = self.full = self.mute = self.deaf = False
        self.stuck.clear()

    def restart(self, run_dir: str) -> None:
        """What a reboot leaves: disks; no scripts, VMs, TAPs of ours, run folders."""
        for script in list(self.scripts):
            script.stop()
        for process in list(self.processes.values()):
            if not process.foreign:
                self.kill(process)
        self.taps = {n: i for n, i in self.taps.items() if i == "foreign"}
        self.files = {p: f for p, f in self.files.items() if not p.startswith(f"{run_dir}/")}
        self.folders = {f for f in self.folders if not f.startswith(f"{run_dir}/")}
        self.boot_id = str(uuid.UUID(int=self.timeline.random.getrandbits(128), version=4))
        self.booted_s = self.timeline.monotonic_s()
