"""Where the demo plays: commands that are shown as they would be typed, then run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.live.lab import runner
from tests.live.lab.host import make_key
from tests.live.lab.hosts import Lab

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Failed(Exception):
    """A command did not do what the demo shows."""


class Stage:
    """A folder with the operator's key and cluster directory, and the lab's hosts.

    `pause_s` is how long a reader gets after each command.
    """

    def __init__(self, folder: Path, lab: Lab, pause_s: float) -> None:
        self.folder = folder
        self.lab = lab
        self.cluster = folder / "cluster"
        self.key = folder / "id_ed25519"
        self._pause_s = pause_s
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        make_key(self.key)
        program = runner.installed()
        if program is None:
            raise Failed("tashictl is not installed beside the running Python: make demo")
        self._bin = program.parent

    def chapter(self, text: str) -> None:
        """A line that says what comes."""
        bold, plain = (_BOLD, _PLAIN) if self._colour else ("", "")
        self._say(f"\n{bold}# {text}{plain}\n")

    def show_file(self, path: Path, text: str) -> None:
        """Write a file and show it."""
        path.write_text(text, encoding="utf-8")
        self._say(f"$ cat {self._short(str(path))}\n{text}")
        time.sleep(self._pause_s)

    def run(self, *argv: str, expect: int = 0) -> None:
        """Show a command, run it on this terminal; raises Failed for another exit code."""
        dim, plain = (_DIM, _PLAIN) if self._colour else ("", "")
        self._say(f"{dim}${plain} {self._short(shlex.join(argv))}\n")
        code = subprocess.run(argv, env=self._env(), cwd=self.folder, check=False).returncode
        if code != expect:
            if code in (130, -2):
                raise KeyboardInterrupt
            raise Failed(f"{shlex.join(argv)}: exit code {code}, not {expect}")
        time.sleep(self._pause_s)

    def tashictl(self, *words: str, expect: int = 0) -> None:
        """Run the installed tashictl."""
        self.run("tashictl", *words, expect=expect)

    def ssh(self, address: str, *command: str) -> None:
        """Run a command in a guest; its host key is new each time, so nothing is kept of it."""
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
        quiet = ("-o", "LogLevel=ERROR", "-i", self.key.name)
        self.run("ssh", *options, *quiet, f"root@{address}", *command)

    def _env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TASHICTL_")}
        return {
            **kept,
            "PATH": f"{self._bin}:{os.environ.get('PATH', '')}",
            "HOME": str(self.folder),
            "TASHICTL_CLUSTER": str(self.cluster),
        }

    def _short(self, text: str) -> str:
        return text.replace(f"{self.folder}/", "")

    def _say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
