"""A real server of the lab: started by hand, in a chosen place, with hands on it.

    with Bind(tmp_path, …) as server:       # started, and answers
        server.freeze(); server.thaw()      # SIGSTOP, SIGCONT
        server.kill(); server.start()       # SIGKILL: its files stay
        server.restart()                    # in order
        server.log()

It dies with the thread that started it, a host's with the host; then `start` it anew.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from tashictl.adapters.demo import parts
from tests.live.lab import boot
from tests.live.lab.booted import DIES_WITH_US
from tests.live.lab.place import Place

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0


class Daemon(ABC):
    """A server; `folder` is a folder of the place, and its own."""

    ready = ""  # what it writes when it serves
    fault = "address in use"  # what it writes, and goes on, when it serves by halves

    def __init__(self, folder: Path, at: Place) -> None:
        self.folder = folder
        self.at = at
        # It has no name, so nothing is left.
        self._log = os.memfd_create("log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _argv(self) -> list[str]:
        """The command line that runs it in the foreground, its log on standard error."""

    @abstractmethod
    def _prepare(self) -> None:
        """What must be there before it starts: at the first time, or each time."""

    @property
    def up(self) -> bool:
        """It runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process, as this process sees it; raises RuntimeError when it does not run."""
        if self._process is None or not self.up:
            raise RuntimeError(f"it does not run: {self.log()[-2000:]}")
        if not self.at.forks:
            return self._process.pid
        found = [pid for shell in boot.children(self._process.pid) for pid in boot.children(shell)]
        if not found:
            raise RuntimeError(f"it has just ended: {self.log()[-2000:]}")
        return found[0]

    def log(self) -> str:
        """What it has written since it was made."""
        return self._written(0).decode(errors="replace")

    def start(self) -> None:
        """Returns when it serves; raises RuntimeError with its log when it does not."""
        if self.up:
            raise RuntimeError("it runs already")
        self._prepare()
        before = self._log_size()
        # Where nsenter forks it stops when its child does, and could not bury it: a host whose dead
        # are not buried does not end.
        shell = ["sh", "-c", '"$@" & wait', "sh"] if self.at.forks else []
        self._process = process = subprocess.Popen(
            [*DIES_WITH_US, str(os.getpid()), *self.at.enter(), *shell, *self._argv()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            env={"PATH": parts.SBIN, "LC_ALL": "C"},
        )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while self.ready.encode() not in self._written(before):
            if process.poll() is not None or time.monotonic() > deadline_s:
                self._give_up()
            time.sleep(0.005)
        if self.fault.encode() in self._written(before):
            self._give_up()

    def _give_up(self) -> NoReturn:
        self.kill()
        raise RuntimeError(f"it does not serve: {self.log()[-2000:]}")

    def stop(self) -> None:
        """It ends in order."""
        self.thaw()
        os.kill(self.pid, signal.SIGTERM)
        self._await_end()

    def kill(self) -> None:
        """It is gone at once; may be called twice."""
        with contextlib.suppress(RuntimeError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._await_end()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It does nothing any more, but the kernel takes what is sent to it; until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends `freeze`: it does what was sent to it meanwhile."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """It is gone, its files stay; may be called twice."""
        self.kill()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _await_end(self) -> None:
        if self._process is None:
            return
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while self._process.poll() is None:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"it does not end: {self.log()[-2000:]}")
            time.sleep(0.005)

    def _copy_of(self, program: str) -> str:
        """A copy of a program in its folder: AppArmor would keep the real one to its own files."""
        copy = self.folder / program
        source = parts.which(program)
        if source is None:
            raise RuntimeError(f"no {program} on this machine")
        if not self.at.path(copy).exists():
            shutil.copy(source, self.at.path(copy))
        return str(copy)

    def _write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Writes a file of its folder; gives its path as the place sees it."""
        path = self.at.path(self.folder / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return self.folder / name

    def _written(self, start: int) -> bytes:
        # Its position is the server's too: it must not move.
        return os.pread(self._log, self._log_size() - start, start) if self._log >= 0 else b""

    def _log_size(self) -> int:
        return os.fstat(self._log).st_size
