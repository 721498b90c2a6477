"""The steps of `vm create` as a person would do them: one cold `ssh`, one shell, the same QEMU.

One connection carries the shell and a forwarded socket; over that QEMU's greeting is read. QEMU
gets the very argv that tashictl gave it, with other names (its sandbox forbids `-daemonize`: the
shell waits for the socket). Nothing is recorded, locked, checked or made durable.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from pathlib import Path

from msgspec import Struct

from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab

FOLDER = "/var/lib/by-hand"
_WAIT_S = 30.0


class Recipe(Struct, frozen=True, kw_only=True):
    """What to type: `argv` starts QEMU; `base` is the image, `ifup` hands a TAP to the network."""

    argv: tuple[str, ...]
    base: str
    ifup: str
    tap: str = "hand0"

    @property
    def text(self) -> str:
        """The shell text; it ends with its standard input, so that the forwarding stays."""
        overlay = f"{FOLDER}/disk0.qcow2"
        return (
            f"set -e; mkdir -p {FOLDER}\n"
            f"qemu-img create -q -f qcow2 -F qcow2 -b {shlex.quote(self.base)} {overlay}\n"
            f"mkfifo {FOLDER}/monitor.in; ln -s /dev/null {FOLDER}/monitor.out\n"
            f"ip tuntap add dev {self.tap} mode tap; {shlex.quote(self.ifup)} {self.tap}\n"
            f"setsid {shlex.join(self.argv)} </dev/null >{FOLDER}/qemu.log 2>&1 &\n"
            f"until [ -S {FOLDER}/qmp.sock ] && [ -s {FOLDER}/qemu.pid ]; do\n"
            "  kill -0 $!; sleep 0.01\ndone\necho up; cat\n"
        )


def recipe(argv: list[str], folder: str, run_folder: str, ifup: str) -> Recipe:
    """What to type for a VM that runs with `argv` out of those folders on a host."""
    tap = "hand0"
    renamed = []
    for word in argv:
        changed = word.replace(run_folder, FOLDER).replace(folder, FOLDER)
        if '"type":"tap"' in changed:
            before, _, rest = changed.partition('"ifname":"')
            changed = f'{before}"ifname":"{tap}"{rest[rest.index(chr(34)) + 1 :]}'
        renamed.append(changed)
    base = next(w for w in argv if '"disk0-base-file"' in w)
    image = base.partition('"disk0-base-file","filename":"')[2].partition('"')[0]
    return Recipe(argv=tuple(renamed), base=image, ifup=ifup, tap=tap)


def create(lab: Lab, host: Host, steps: Recipe) -> float:
    """Do it; the wall seconds from starting `ssh` until QEMU has greeted."""
    local = lab.directory / "hand.sock"
    local.unlink(missing_ok=True)
    *ssh, where = lab.ssh_argv(host)
    argv = [*ssh, "-T", "-L", f"{local}:{FOLDER}/qmp.sock", where, "sh -s"]
    began_s = time.perf_counter()
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(steps.text)
        process.stdin.flush()
        said = process.stdout.readline()
        if said != "up\n":
            process.stdin.close()
            assert process.stderr is not None
            raise RuntimeError(f"by hand: {said} {process.stderr.read()} {_log(host)}")
        _greeting(local)
        took_s = time.perf_counter() - began_s
        process.stdin.close()
        process.wait(timeout=_WAIT_S)
    return took_s


def destroy(host: Host, steps: Recipe) -> None:
    """Take all of it away."""
    pid = (host.root / FOLDER.lstrip("/") / "qemu.pid").read_text(encoding="utf-8").strip()
    host.run(
        f"kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.02; done; "
        f"ip link del {steps.tap}; rm -r {FOLDER}",
        check=True,
    )


def _greeting(local: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_WAIT_S)
        connection.connect(str(local))
        with connection.makefile() as lines:
            greeting = lines.readline()
    if not greeting.startswith('{"QMP"'):
        raise RuntimeError(f"by hand: QEMU did not greet: {greeting!r}")


def _log(host: Host) -> str:
    path = host.root / FOLDER.lstrip("/") / "qemu.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""
