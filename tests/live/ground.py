"""A ground for generated scripts: a root of their own in a folder, a stub of QEMU, a real shell.

The root's name has a space and a quote in it, so that whatever is not quoted breaks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tashictl.model.script import Script
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.steps import (
    Batch,
    CreateOverlay,
    Fence,
    KillQemu,
    MakeFolder,
    RemoveDir,
    StartQemu,
    Step,
    WriteManifest,
)
from tashictl.planning import frames, paths, scripts

CLUSTER = "0123456789ab"
UUID = "7c1e0000-0000-4000-8000-000000000001"
OTHER_UUID = "7c1e0000-0000-4000-8000-000000000002"
NONCE = "00112233aabbccdd"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}

# Like QEMU to the scripts: argv with -uuid, a pid file, a socket, what it inherited stays open, and
# what is written to its monitor is a press of the power button.
_STUB = """#!{python} -IS
import json, os, signal, socket, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
json.dump(sys.argv[1:], open(folder + "/argv.json", "w"))
mode = open(folder + "/mode").read()
if mode == "ends":
    sys.exit("stub: no such machine" if not print("starting") else 1)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def after(word):
    return sys.argv[sys.argv.index(word) + 1]
with open(after("-pidfile"), "w") as f:
    f.write(str(os.getpid()) + "\\n")
os.chdir(os.path.dirname(after("-pidfile")))
if mode != "mute":
    one = socket.socket(socket.AF_UNIX)
    one.bind("qmp.sock")
monitor = os.open("monitor.in", os.O_RDWR)
while mode in ("usual", "stubborn"):
    with open(folder + "/pressed", "ab") as f:
        f.write(os.read(monitor, 99))
    if mode == "usual":
        sys.exit()
time.sleep(60)
"""
_IP = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$(dirname "$0")/ip.log"\n'


class Ground:
    """A host's file system and its shell; `run` sends steps as the executor would."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.root = folder / "ro ot'$x"
        self.shell = SHELLS[shell]
        self.bin = self.root / "bin"
        self.images = self.root / "shared" / "images"
        for made in (self.bin, self.images, self.root / "etc"):
            made.mkdir(parents=True)
        self.settings = Settings(
            tashictl=TashictlSettings(
                cluster_id=CLUSTER,
                lib_dir=str(self.root / "lib"),
                run_dir=str(self.root / "run"),
                etc_dir=str(self.root / "etc"),
            ),
            vfs_prefix=str(self.root / "shared"),
        )
        self.lib = self.root / "lib"
        where = paths.of(UUID, self.settings)
        self.folder, self.run_folder = Path(where.folder), Path(where.run_folder)
        self.at: dict[str, Any] = dict(paths.at("node1", UUID, self.settings))
        self.fence_file = self.lib / CLUSTER / "fence" / UUID
        self.cluster_file = self.lib / "cluster"
        self.systemd = self.root / "systemd"  # stands for /run/systemd/system
        self.tool("qemu-system-x86_64", _STUB.format(python=sys.executable))
        self.tool("ip", _IP)
        self.tool("sh", f'#!/bin/sh\nexec {" ".join(self.shell)} "$@"\n')
        self.mode("usual")
        self.pids: set[int] = set()

    def tool(self, name: str, text: str) -> None:
        """A program that the host's scripts find before any other of that name."""
        # The stub lies where no space is: a #! line cannot have one in a path that it names.
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def mode(self, mode: str) -> None:
        """How QEMU behaves: usual, ends, deaf (to TERM), mute (no socket), stubborn (its guest)."""
        (self.bin / "mode").write_text(mode)

    @property
    def _own_tools(self) -> str:
        """Debian's busybox takes its own applets first: no stub is reached, and its grep stops at
        the first NUL of a command line."""
        if self.shell[0] != "busybox":
            return ""
        ip = shlex.quote(str(self.bin / "ip"))
        return f'ip() {{ {ip} "$@"; }}\ngrep() {{ {shutil.which("grep")} "$@"; }}\n'

    @property
    def env(self) -> dict[str, str]:
        """What a script finds in its environment."""
        return {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": "/"}

    def fence(self, **values: Any) -> Fence:
        """A fence that lets through; `values` change it."""
        usual: dict[str, Any] = {
            "cluster": CLUSTER,
            "epoch": 1,
            "operation": 5,
            "attempt": 1,
            "seen": 4,
            "generation": 1,
            "uuid": UUID,
            "lib_dir": str(self.lib),
            "not_after_s": int(time.time()) + 60,
            "lock_wait_s": 5,
            "controller": "dev@de'sk",
        }
        return Fence(**{**usual, **values})

    def script(self, *steps: Step, first: int = 0, **fence: Any) -> Script:
        """The script of a batch whose first step has the place `first`."""
        indexes = tuple(range(first, first + len(steps)))
        batch = Batch(host="node1", indexes=indexes, steps=steps)
        return scripts.changing(batch, self.fence(**fence), NONCE, 60)

    def run(self, *steps: Step, first: int = 0, **fence: Any) -> frames.Answer:
        """Run the script of these steps to its end."""
        answer = self.answer(self.text(self.script(*steps, first=first, **fence).text))
        self._remember()
        assert answer.complete
        return answer

    def answer(self, out: bytes) -> frames.Answer:
        """What a script said."""
        return frames.parse(out, NONCE)

    def ok(self, *steps: Step, **fence: Any) -> frames.Answer:
        """Run steps that must all be done."""
        answer = self.run(*steps, **fence)
        assert answer.refused == ()
        assert [s.rc for s in answer.steps.values()] == [0] * len(steps), answer
        return answer

    def text(self, text: str) -> bytes:
        """Feed a script's text to the shell; stdout, with nothing on stderr."""
        done = subprocess.run(
            [*self.shell, "-s"],
            input=(self._own_tools + self._here(text)).encode(),
            capture_output=True,
            env=self.env,
            cwd="/",
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout

    def _here(self, text: str) -> str:
        return text.replace("/run/systemd/system", shlex.quote(str(self.systemd)))

    def _remember(self) -> None:
        pid_file = self.run_folder / "qemu.pid"
        if pid_file.is_file() and pid_file.read_text().strip().isdigit():
            self.pids.add(int(pid_file.read_text()))

    @property
    def argv_seen(self) -> list[str]:
        """The arguments that QEMU was started with."""
        seen: list[str] = json.loads((self.bin / "argv.json").read_text())
        return seen

    def clean(self) -> None:
        """End the stubs that are left."""
        for pid in self.pids:
            if self.is_stub(pid):
                os.kill(pid, signal.SIGKILL)

    def is_stub(self, pid: int) -> bool:
        """Whether a process is a stub of this ground."""
        try:
            return os.fsencode(self.bin) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    # -- steps

    def manifest(self, **values: Any) -> WriteManifest:
        """Write a manifest of this VM."""
        text = json.dumps(
            {"uuid": UUID, "generation": values.pop("generation", 1), **values},
            separators=(",", ":"),
        )
        return WriteManifest(**self.at, phase="creating", manifest=text)

    def overlay(self, base: str = "base.img", **values: Any) -> CreateOverlay:
        """Create the first disk on an image."""
        usual: dict[str, Any] = {
            "path": str(self.folder / "disk0.qcow2"),
            "base": str(self.images / base),
            "base_format": "raw",
            "image_folder": str(self.images),
        }
        return CreateOverlay(**self.at, **{**usual, **values})

    def start(self, *more: str, uuid: str = UUID, **values: Any) -> StartQemu:
        """Start the stub."""
        argv = ("-uuid", uuid, "-pidfile", str(self.run_folder / "qemu.pid"), *more)
        binaries = values.pop("binaries", ("qemu-none", "qemu-system-x86_64"))
        return StartQemu(**self.at, binaries=binaries, argv=argv, **values)

    def harmless(self) -> MakeFolder:
        """A step that cannot fail."""
        return MakeFolder(**self.at, path=str(self.images))

    def kill(self, wait_s: int = 5) -> KillQemu:
        """End the stub."""
        return KillQemu(**self.at, wait_s=wait_s)

    def remove(self) -> RemoveDir:
        """Remove the folders."""
        return RemoveDir(**self.at)

    def started(self, *more: str) -> int:
        """A manifest and a running stub; its pid."""
        answer = self.ok(self.manifest(), self.start(*more))
        return int(answer.steps[1].data["pid"])

    def on_host(self, step: Step) -> Step:
        """The same step, for the host rather than for a VM."""
        return replace(step, uuid="host")


@contextmanager
def holding(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the flock of a file, as another script would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        fcntl.flock(held, kind)
        yield


def is_free(path: Path) -> bool:
    """Whether nobody holds the flock of a file."""
    with path.open("a") as mine:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for(what: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


NASTY = (
    "",
    " ",
    "-n",
    "--",
    "a b",
    "it's",
    '"q"',
    "$(touch /tmp/x)",
    "`id`",
    "$HOME",
    "\\",
    "\\n",
    "a\nb",
    "a\n",
    "*",
    "~",
    "ü ☃",
    "%s %d",
    "{}",
    ";&|<>()!#",
    "\t",
)


def failed(ground: Ground, *steps: object) -> str:
    """What the last of the steps says, which alone fails."""
    answer = ground.run(*steps)  # type: ignore[arg-type]
    assert answer.refused == ()
    *before, last = answer.steps.values()
    assert [s.rc for s in before] == [0] * (len(steps) - 1)
    assert last.rc not in (0, None)
    return last.message


def parts(ground: Ground) -> list[Path]:
    return list(ground.root.rglob("*.part"))
