"""The guard of the fast tests: what they must not touch is an error the moment it is touched.

An audit hook sees every way to the outside, also those inside libraries. It cannot be taken away
again, so it is switched.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

LIVE = Path(__file__).parent / "live"
_SSH = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh")  # noqa: PTH118  fast, in a hook
_FORBIDDEN = {
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.system",
    "os.fork",
    "os.forkpty",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "pty.spawn",
}
_READING = {"open", "os.listdir", "os.scandir"}


class TouchedTheWorld(BaseException):
    """A fast test reached outside; no `except Exception` may hide it."""


class Guard:
    """On while a fast test runs; `touched` keeps what was touched, also where code caught it."""

    def __init__(self) -> None:
        self.on = False
        self.touched: list[str] = []

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Raise TouchedTheWorld for what a fast test must not do."""
        if not self.on:
            return
        if event in _FORBIDDEN or (event in _READING and _is_private(arguments[0])):
            self.touched.append(f"{event}{arguments!r}"[:300])
            raise TouchedTheWorld(self.touched[-1])


def _is_private(path: object) -> bool:
    text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else ""
    return text == _SSH or text.startswith(f"{_SSH}/")


GUARD = Guard()
sys.addaudithook(GUARD.hook)
