"""What each step does on a simulated host: the effects of the text that planning makes of it.

`planning.scripts` is the truth; a step here does the same in the same order, and lets time pass
between its parts, so that a reboot or a deadline may come in the middle.
"""

from __future__ import annotations

import hashlib
import posixpath

import msgspec

from tashictl.adapters.sim.host import NoSpace, Pace, Process, SimHost
from tashictl.model.steps import (
    AddTap,
    AwaitExit,
    CheckDisk,
    CheckImage,
    CheckPort,
    CreateOverlay,
    Fence,
    KillQemu,
    MakeFolder,
    PlaceImage,
    PlaceSeed,
    ProbeAddress,
    ReleaseHost,
    RemoveDir,
    RemoveFile,
    RemoveTap,
    StartQemu,
    Step,
    WriteIfup,
    WriteManifest,
)

IFUP_MARK = "# rendered by tashictl"
_QUICK_S = 0.02
_SLOW_S = 0.3
_POLL_S = 0.05


class Died(Exception):
    """A step ended with exit code 1; the text is what it said."""


class Body:
    """One step of a script as it is carried out; `data` is what it reports, `said` its message."""

    def __init__(self, host: SimHost, step: Step, fence: Fence) -> None:
        self.host = host
        self.step = step
        self.fence = fence
        self.uuid = fence.uuid
        self.operation = fence.operation
        self.data: dict[str, str] = {}
        self.said = ""
        self.qemu_exits = False  # a fault: QEMU ends before it opens its sockets

    def do(self) -> Pace:
        """Carry the step out; raises Died."""
        try:
            yield from self._do()
        except NoSpace:
            raise Died("No space left on device") from None

    def _do(self) -> Pace:
        yield _QUICK_S
        match self.step:
            case WriteManifest():
                yield from self._write_manifest(self.step)
            case CreateOverlay():
                yield from self._create_overlay(self.step)
            case CheckImage():
                self._check_image(self.step.path, self.step.image_folder)
            case WriteIfup():
                yield from self._write_ifup(self.step)
            case AddTap():
                yield from self._add_tap(self.step)
            case StartQemu():
                yield from self._start(self.step)
            case PlaceImage():
                yield from self._place(self.step)
            case PlaceSeed():
                yield from self._place_seed(self.step)
            case _:
                yield from self._do_end()

    def _do_end(self) -> Pace:
        match self.step:
            case KillQemu():
                yield from self._kill(self.step)
            case AwaitExit():
                yield from self._await_exit(self.step)
            case RemoveDir():
                yield from self._remove_dir(self.step)
            case ReleaseHost():
                yield from self._release(self.step)
            case _:
                self._do_at_once(self.step)

    def _release(self, step: ReleaseHost) -> Pace:
        lib, run = f"{self.fence.lib_dir}/{self.fence.cluster}", step.run_folder
        if any(f.startswith(f"{lib}/") and "-" in f for f in self.host.folders):
            raise Died("the folder of a VM is there")
        for path in self.host.below(step.etc_dir):
            if IFUP_MARK in self.host.files[path].text:
                del self.host.files[path]
        yield _QUICK_S
        for name in (*step.images, *(f"{n}.part" for n in step.images), *step.parts):
            self.host.files.pop(f"{step.folder}/{name}", None)
        yield _QUICK_S
        for path in (*self.host.below(f"{run}/{self.fence.cluster}"), *self.host.below(lib)):
            del self.host.files[path]
        yield _QUICK_S
        self.host.files.pop(f"{self.fence.lib_dir}/cluster", None)

    def _do_at_once(self, step: Step) -> None:
        match step:
            case RemoveTap(tap=tap):
                self.host.taps.pop(tap, None)
            case CheckDisk(path=path):
                if path not in self.host.files:
                    raise Died(f"a disk of the VM is gone: {path}")
            case CheckPort(port=port):
                if port in self.host.ports and self.host.qemu_of(self.uuid) is None:
                    raise Died(f"another process listens on port {port}")
            case ProbeAddress(address=address, mac=mac):
                other = self.host.neighbours.get(address, mac)
                if other != mac:
                    raise Died(f"{address} on {step.network} is in use: {other} answers")
            case MakeFolder(path=path):
                self.host.folders.add(path)
            case RemoveFile(path=path):
                self.host.files.pop(path, None)
            case _:
                raise Died(f"{step.name} is no step for a script")

    def _put(self, path: str, text: str) -> Pace:
        """Write by way of ``.part``, unless the text is there."""
        if self.host.text(path) == text:
            return
        part = f"{path}.part"
        try:
            self.host.write(part, text)
        except NoSpace:
            self.host.files.pop(part, None)
            raise
        yield _QUICK_S
        self.host.files[path] = self.host.files.pop(part)

    def _write_manifest(self, step: WriteManifest) -> Pace:
        text = step.manifest
        if step.add_started:
            process = self.host.qemu_of(self.uuid)
            if process is None:
                raise Died("QEMU has ended")
            started = {
                "pid": process.pid,
                "starttime": 100 * process.pid,
                "boot_id": self.host.boot_id,
            }
            text += f',"started":{msgspec.json.encode(started).decode()}}}'
        elif step.phase == "stopped":
            yield from self._write_stopped(step)
            return
        else:
            self.host.folders.add(step.folder)
            if self._is_further(step):
                return
        self.host.watch.made(self.host.name, self.uuid, "a manifest")
        yield from self._put(f"{step.folder}/manifest.json", text)

    def _write_stopped(self, step: WriteManifest) -> Pace:
        path = f"{step.folder}/manifest.json"
        if path not in self.host.files:
            return
        try:
            yield from self._put(path, step.manifest)
        except NoSpace:
            self.said = "the manifest stays as it is"

    def _is_further(self, step: WriteManifest) -> bool:
        """Whether a later script of the same operation has written the manifest."""
        done = f'"phase":"running","operation":{self.operation},'
        return done in self.host.text(f"{step.folder}/manifest.json")

    def _create_overlay(self, step: CreateOverlay) -> Pace:
        if step.path in self.host.files:
            self.said = "is there already"
            return
        self._check_image(step.base, step.image_folder)
        if posixpath.dirname(step.path) not in self.host.folders:
            raise Died(f"{step.path}.part: No such file or directory")
        part = f"{step.path}.part"
        self.host.files.pop(part, None)
        self.host.write(part, f"overlay of {step.base}")
        yield _SLOW_S
        self.host.watch.made(self.host.name, self.uuid, "an overlay")
        file = self.host.files[part]
        self.host.files[step.path] = file
        yield _QUICK_S
        self.host.files.pop(part)

    def _check_image(self, path: str, folder: str) -> None:
        if path not in self.host.files:
            raise Died(f"no image {path}")
        if not posixpath.normpath(path).startswith(f"{folder}/"):
            raise Died(f"{path} leads out of the image folder")

    def _write_ifup(self, step: WriteIfup) -> Pace:
        there = self.host.files.get(step.path)
        if there is not None and IFUP_MARK not in there.text:
            self.said = "the operator's own file"
            return
        yield from self._put(step.path, step.content.rstrip())

    def _add_tap(self, step: AddTap) -> Pace:
        self.host.taps.setdefault(step.tap, "")
        self.host.watch.made(self.host.name, self.uuid, f"TAP {step.tap}")
        yield _QUICK_S
        if step.ifup not in self.host.files:
            raise Died(f"{step.ifup}: not found")
        self.host.taps[step.tap] = step.ifup

    def _start(self, step: StartQemu) -> Pace:
        run = step.run_folder
        if step.folder not in self.host.folders:
            raise Died(f"{step.folder}/qemu.log: No such file or directory")
        self.host.folders.add(run)
        if self.host.is_locked(f"{run}/run.lock"):
            process = self.host.qemu_of(self.uuid)
            if process is None:
                raise Died("run.lock is held, but no QEMU of this VM is to be found")
            self._report(process)
            self.said = "runs already"
            return
        for name in ("qmp.sock", "serial.sock", "vnc.sock", "qemu.pid"):
            self.host.files.pop(f"{run}/{name}", None)
        lock = self.host.files.get(f"{run}/run.lock")
        if lock is None:
            self.host.write(f"{run}/run.lock", "")
            lock = self.host.files[f"{run}/run.lock"]
        process = self.host.spawn(self.uuid, lock)
        self.host.write(f"{step.folder}/qemu.log", "")
        if not self.qemu_exits:
            self.host.open_sockets(process, run)
        waited_s = 0.0
        while f"{run}/qmp.sock" not in process.sockets:
            if self.qemu_exits and waited_s >= _SLOW_S:
                self.host.end(process)
            if process.pid not in self.host.processes:
                raise Died("QEMU ended at once with exit code 1")
            if waited_s >= step.wait_s:
                self.host.end(process)
                raise Died(f"no QMP socket within {step.wait_s} s")
            yield _POLL_S
            waited_s += _POLL_S
        self._report(process)
        self.data |= {"starttime": str(100 * process.pid), "boot_id": self.host.boot_id}

    def _report(self, process: Process) -> None:
        self.data["pid"] = str(process.pid)

    def _kill(self, step: KillQemu) -> Pace:
        process = self.host.qemu_of(self.uuid)
        if process is None:
            if self.host.is_locked(f"{step.run_folder}/run.lock"):
                raise Died("run.lock is held, but no QEMU of this VM is to be found")
            self.said = "not running"
            return
        yield _SLOW_S
        self.host.end(process)
        self.data["pid"] = str(process.pid)

    def _await_exit(self, step: AwaitExit) -> Pace:
        waited_s = 0.0
        lock = f"{step.run_folder}/run.lock"
        while self.host.is_locked(lock) or self.host.qemu_of(self.uuid) is not None:
            if waited_s >= step.wait_s:
                raise Died("QEMU still runs")
            yield _POLL_S
            waited_s += _POLL_S

    def _remove_dir(self, step: RemoveDir) -> Pace:
        run, folder = step.run_folder, step.folder
        if self.host.is_locked(f"{run}/run.lock") or self.host.qemu_of(self.uuid):
            raise Died("QEMU still runs")
        for path in self.host.below(run):
            del self.host.files[path]
        self.host.folders.discard(run)
        if folder not in self.host.folders:
            return
        manifest = f"{folder}/manifest.json"
        for path in self.host.below(folder):
            if path != manifest:
                del self.host.files[path]
                yield _QUICK_S
        self.host.files.pop(manifest, None)
        yield _QUICK_S
        if self.host.below(folder):
            raise Died(f"{folder}: Directory not empty")
        self.host.folders.discard(folder)

    def _place(self, step: PlaceImage) -> Pace:
        yield _SLOW_S
        there = self.host.files.get(step.path)
        if there is not None:
            if _sha256(there.text) != step.sha256:
                raise Died(f"{step.path} is there with other content")
            self.host.files.pop(step.part, None)
            return
        part = self.host.files.get(step.part)
        if part is None or _sha256(part.text) != step.sha256:
            raise Died(f"{step.part} has not the expected sha256")
        self.host.files[step.path] = self.host.files.pop(step.part)

    def _place_seed(self, step: PlaceSeed) -> Pace:
        yield _SLOW_S
        if _sha256(self.host.text(step.path)) == step.sha256:
            self.host.files.pop(step.part, None)
            self.said = "is there already"
            return
        part = self.host.files.get(step.part)
        if part is None or _sha256(part.text) != step.sha256:
            raise Died("the seed did not arrive, or with another sha256")
        self.host.files[step.path] = self.host.files.pop(step.part)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("latin-1")).hexdigest()
