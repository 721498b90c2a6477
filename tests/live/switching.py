"""The dead man's switch by itself, on a lab host: arm, go, confirm, roll back, by its scripts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tashictl.model.net import HostFile, HostNet, Pending
from tashictl.model.steps import ArmNet, ConfirmNet, GoNet, Guard, RollbackNet, Step
from tashictl.planning import scripts
from tashictl.planning.frames import StepAnswer, parse
from tashictl.planning.net import look as looks
from tests.live.lab.hosts import Host

CLUSTER = "0123456789ab"
NONCE = "00112233aabbccdd"
LONG_S = 600  # a window that no test waits for
_WAIT_S = 60.0
# Debian's busybox takes its own applets first, whose ip speaks no JSON.
_BUSYBOX = r"""own="sh() { $0 \"\$@\"; }; ip() { $(command -v ip) \"\$@\"; }"
own="$own; grep() { $(command -v grep) \"\$@\"; };"
case $1 in
-c) shift; text=$1; shift; exec busybox sh -c "$own $text" "$@" ;;
-s) exec busybox sh -c "$own"' eval "$(cat)"' ;;
*) exec busybox sh -c "$own"' . "$0"' "$@" ;;
esac
"""


class Switch:
    """One change on a host, in a folder and with a bridge of its own; `shell` runs all of it."""

    def __init__(self, host: Host, number: int, shell: str = "sh") -> None:
        self.host = host
        self.token = f"{number:016x}"
        self.bridge = f"made{number}"
        self.net_dir = f"/run/tashi/{number}/net"
        self.lib_dir = f"/var/lib/tashi-{number}"
        self.file = f"/etc/made/{number}.conf"
        self._path = "$PATH"
        if shell != "sh":
            folder = f"/opt/{shell}"
            text = _BUSYBOX if shell == "busybox" else f'exec {shell} "$@"\n'
            self.write(f"{folder}/sh", f"#!/bin/sh\n{text}")
            host.run(f"chmod 755 {folder}/sh", check=True)
            self._path = f"{folder}:$PATH"

    # steps

    @property
    def forward(self) -> tuple[str, ...]:
        """Makes the bridge."""
        return (f"has {self.bridge} || ip link add name {self.bridge} type bridge",)

    @property
    def reverse(self) -> tuple[str, ...]:
        """Removes it."""
        return (f"! has {self.bridge} || ip link del dev {self.bridge}",)

    def arm(self, **values: Any) -> StepAnswer:
        """Arm the making of the bridge; `values` change it, `who` is the controller."""
        who = values.pop("who", "me@here")
        usual: dict[str, Any] = {
            "forward": self.forward,
            "reverse": self.reverse,
            "files": (),
            "digest": self.look().digest,
            "window_s": LONG_S,
        }
        return self.send(self._step(ArmNet, **{**usual, **values}), who=who)

    def go(self, **values: Any) -> StepAnswer:
        """Start it."""
        return self.send(self._step(GoNet, **values))

    def confirm(self, **values: Any) -> StepAnswer:
        """Confirm it."""
        return self.send(self._step(ConfirmNet, **values))

    def roll_back(self, **values: Any) -> StepAnswer:
        """Take it back."""
        return self.send(self._step(RollbackNet, **values))

    def applied(self, **values: Any) -> None:
        """Arm, go, and wait until it is applied."""
        for answer in (self.arm(**values), self.go()):
            assert answer.rc == 0, answer
        self.await_stage("applied")

    def new_file(self, text: str | None = "new\n") -> HostFile:
        """The change of a file."""
        return HostFile(path=self.file, text=text, mode=0o644)

    def _step(self, kind: type[Any], **values: Any) -> Step:
        at = {"host": "h1", "uuid": "host", "folder": "/none", "run_folder": "/none"}
        step: Step = kind(**{**at, "token": self.token, "net_dir": self.net_dir, **values})
        return step

    def script(self, step: Step, who: str = "me@here") -> str:
        """The text of a step, as a controller would send it."""
        guard = Guard(
            cluster=CLUSTER,
            epoch=1,
            lib_dir=self.lib_dir,
            not_after_s=int(time.time()) + 300,
            lock_wait_s=30,
            controller=who,
            claims=True,
        )
        return scripts.guarding((step,), guard, NONCE, 60).text

    def send(self, step: Step, who: str = "me@here") -> StepAnswer:
        """Have a step done; what it answered."""
        out = self.shell(self.script(step, who))
        answer = parse(out.encode(), NONCE)
        assert answer.complete, out
        assert answer.refused == (), out
        return answer.steps[0]

    def shell(self, text: str) -> str:
        """Feed a script to the host's shell; nothing may be on its stderr."""
        place = self.host.root / "tmp" / f"script-{time.monotonic_ns()}"
        place.write_text(text, encoding="utf-8")
        done = self.host.run(f"PATH={self._path}; sh -s </tmp/{place.name}", timeout_s=120)
        place.unlink()
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    # what is there

    def look(self) -> HostNet:
        """What the controller sees."""
        net = looks.read(self.shell(looks.script(self.net_dir, "/etc", NONCE).text).encode(), NONCE)
        assert net is not None
        return net

    def pending(self) -> Pending:
        """The change as the host knows it."""
        found = self.look().pending
        assert found is not None
        return found

    def await_stage(self, stage: str) -> Pending:
        """Wait until it is at a stage; fails at once when it has ended in another way."""
        folder = "pending" if stage in ("armed", "applying", "applied", "reverting") else "last"
        self.wait(lambda: self.read(f"{folder}/stage") == stage)
        return self.pending()

    def wait(self, what: Callable[[], object]) -> None:
        """Wait until something is so."""
        until_s = time.monotonic() + _WAIT_S
        while not what():
            assert time.monotonic() < until_s, self.host.run(
                f"ls -R {self.net_dir}; tail {self.net_dir}/*/log {self.net_dir}/*/stage"
            ).stdout
            time.sleep(0.05)

    def read(self, name: str) -> str:
        """A small file of the folder; empty when it is not there."""
        path = self.host.root / self.net_dir.lstrip("/") / name
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def text(self, path: str) -> str | None:
        """A file of the host's, if it is there."""
        place = self.host.root / path.lstrip("/")
        return place.read_text(encoding="utf-8") if place.exists() else None

    def write(self, path: str, text: str) -> None:
        """Write a file of the host's."""
        place = self.host.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    @property
    def is_there(self) -> bool:
        """The bridge is there."""
        return (self.host.root / f"sys/class/net/{self.bridge}").exists()

    def processes(self, what: str = "") -> list[int]:
        """Pids, as the host sees them, of what runs for this change: all, or those of a script."""
        listed = self.host.run("ps -e -o pid= -o args=").stdout.splitlines()
        mine = [line.split(None, 1) for line in listed if f"{self.net_dir}/pending/{what}" in line]
        return [int(pid) for pid, args in mine if "ps -e" not in args]

    def time_out(self) -> None:
        """The window is over now."""
        self.write(f"{self.net_dir}/pending/due", "0\n")

    def kill_timer(self) -> None:
        """Kill the timer itself: not who waits for it, nor what it has started."""
        listed = self.host.run("ps -e -o pid= -o args=").stdout.splitlines()
        found = [
            line.split()[0]
            for line in listed
            if re.search(rf"^ *\d+ \S*sh {self.net_dir}/pending/timer.sh$", line)
        ]
        self.host.run(f"kill -KILL {min(found, key=int)}", check=True)

    def end(self) -> None:
        """Nothing of it is left."""
        if (self.host.root / self.net_dir.lstrip("/") / "pending").exists():
            self.roll_back()
            self.wait(lambda: not self.read("pending/token"))
        self.wait(lambda: not self.processes())
        self.host.run(f"ip link del dev {self.bridge}; rm -rf {self.net_dir}")
