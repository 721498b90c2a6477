"""A look into a booted host, and a hand on its switch, that need no network.

The eye is a root shell behind a virtio port, for what a host does while nobody can reach it; the
monitor is QEMU's own (QMP).
"""

import base64
import json
import socket
import subprocess
import time
from typing import Any

EYE = "lab.eye"
_HELLO_S = 3.0


class Line:
    """Lines over one end of a socket pair; the other end is QEMU's."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._pending = b""

    def handed_over(self) -> None:
        """QEMU has its end."""
        self.theirs.close()

    def close(self) -> None:
        """May be called twice."""
        self._ours.close()
        self.theirs.close()

    def send(self, line: bytes) -> None:
        """Sends a line."""
        self._ours.sendall(line + b"\n")

    def receive(self, deadline_s: float) -> bytes:
        """The next line; raises TimeoutError at the deadline, EOFError when QEMU has ended."""
        while b"\n" not in self._pending:
            self._ours.settimeout(max(0.001, deadline_s - time.monotonic()))
            chunk = self._ours.recv(65536)
            if not chunk:
                raise EOFError("QEMU has ended")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line


class Eye(Line):
    """The root shell in the host."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0

    def run(self, command: str, timeout_s: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Runs shell text; standard output and error come as one. Waits for a host that boots.

        What it leaves in the background must have closed its output. Raises TimeoutError.
        """
        deadline_s = time.monotonic() + timeout_s
        # What is said to a host that goes down is lost: only who has answered is told to act.
        while self._ask("", min(deadline_s, time.monotonic() + _HELLO_S)) is None:
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"nobody there for: {command}")
        answer = self._ask(command, deadline_s)
        if answer is None:
            raise TimeoutError(f"not done after {timeout_s} s: {command}")
        words, _, code = answer.rpartition("\n")
        return subprocess.CompletedProcess(command, int(code), words, "")

    def _ask(self, command: str, deadline_s: float) -> str | None:
        """Output, a new line and the exit code; None when the time is over."""
        self._number += 1
        sign = str(self._number).encode()
        self.send(sign + b" " + base64.b64encode(command.encode()))
        try:
            while True:
                number, _, answer = self.receive(deadline_s).partition(b" ")
                if number == sign:
                    return base64.b64decode(answer).decode(errors="replace")
        except TimeoutError:
            return None


class Monitor(Line):
    """QEMU's monitor."""

    def __init__(self) -> None:
        super().__init__()
        self._greeted = False

    def human(self, command: str, timeout_s: float = 300.0) -> None:
        """A command of the human monitor; raises RuntimeError with what it said."""
        deadline_s = time.monotonic() + timeout_s
        if not self._greeted:
            self.receive(deadline_s)
            self._execute("qmp_capabilities", {}, deadline_s)
            self._greeted = True
        said = self._execute("human-monitor-command", {"command-line": command}, deadline_s)
        if said:
            raise RuntimeError(f"{command}: {said}")

    def _execute(self, name: str, arguments: dict[str, str], deadline_s: float) -> Any:
        self.send(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.receive(deadline_s))
            if "error" in answer:
                raise RuntimeError(f"{name}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
