"""A connected byte stream below SSH: a TCP socket, or the two ends of a ProxyCommand."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from typing import BinaryIO

_SAID_MAX = 2000


class Line:
    """A socket, with the process at its other end where there is one.

    `greet_by_s` is the monotonic deadline of the banner, where it was not awaited yet.
    """

    def __init__(
        self,
        sock: socket.socket,
        helper: subprocess.Popen[bytes] | None = None,
        errors: BinaryIO | None = None,
    ) -> None:
        self.sock = sock
        self.greet_by_s: float | None = None
        self._helper = helper
        self._errors = errors

    def said(self) -> str:
        """What the helper process wrote to its stderr, as one line."""
        if self._errors is None:
            return ""
        with contextlib.suppress(OSError, ValueError):
            self._errors.seek(0)
            text = self._errors.read(_SAID_MAX).decode("utf-8", "replace")
            return "; ".join(text.split("\n")).strip("; \r")
        return ""

    def close(self) -> None:
        """Close the socket and end the helper; never raises."""
        self.sock.close()
        if self._helper is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._helper.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._helper.wait(timeout=0.5)
            if self._helper.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(self._helper.pid, signal.SIGKILL)
                self._helper.wait()
            self._helper = None
        if self._errors is not None:
            self._errors.close()


def through(command: str) -> Line:
    """Start a command for sh whose stdin and stdout are the line; raises OSError."""
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the line
    try:
        with theirs:
            helper = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=errors,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        errors.close()
        raise
    return Line(ours, helper, errors)
