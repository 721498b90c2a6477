"""How far a command on many VMs is: one line that is updated, or short notes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tashictl.cli import text
from tashictl.cli.options import Globals
from tashictl.cli.progress import Progress
from tashictl.model import units
from tashictl.ops.many import Result, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from tashictl.model.vm import Vm
    from tashictl.ops.ports import Report

_CLEAR = "\r\x1b[K"


class Tally(Watcher):
    """Counts who has ended; `say` puts a result in a word or two (``destroyed``)."""

    def __init__(self, face: Globals, say: Callable[[Result], str]) -> None:
        self._stream = face.streams.stderr
        self._says_all = face.verbose > 0 or face.debug
        self._notes = face.for_people or self._says_all
        self._updates = self._notes and self._stream.isatty() and not self._says_all
        self._progress = Progress(face)
        self._say = say
        self._count = 0
        self._done = 0
        self._failed = 0
        self._line = ""
        self._lock = threading.RLock()

    def begin(self, targets: Sequence[Vm]) -> None:
        """So many are to come."""
        self._count = len(targets)

    def report(self, vm: Vm, usual: Report) -> Report:
        """Warnings come through, behind the VM's name; notes and steps only with -v."""
        del usual
        return _Aside(self, vm.name)

    def ended(self, result: Result) -> None:
        """Count one more."""
        self._done += 1
        self._failed += result.error is not None
        if self._updates:
            self._update()
        elif self._notes:
            took = f" ({units.show_seconds(result.seconds)})" if result.error is None else ""
            done = f"{self._done}/{self._count}"
            self.note(f"{done} {result.before.name} {self._say(result)}{took}")

    def stopping(self, under_way: Sequence[Vm]) -> None:
        """Say what Ctrl-C does."""
        listed = f": {some_of([vm.name for vm in under_way])}" if under_way else ""
        self.warn(
            f"interrupted: nothing more is begun, {len(under_way)} under way come to their end"
            f"{listed}; Ctrl-C again leaves them"
        )

    def note(self, line: str) -> None:
        """A line on the side."""
        with self._aside():
            self._progress.note(line)

    def step(self, name: str, line: str) -> None:
        """A step of one of them, with -v."""
        with self._aside():
            self._progress.step(name, line)

    def warn(self, line: str) -> None:
        """A line that matters."""
        with self._aside():
            self._progress.warn(line)

    @property
    def says_all(self) -> bool:
        """Whether notes and steps are wanted (-v)."""
        return self._says_all

    def close(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._line:
                self._write(_CLEAR)
            self._line, self._updates = "", False

    def _update(self) -> None:
        with self._lock:
            failed = f", {self._failed} failed" if self._failed else ""
            self._line = f"{self._done}/{self._count} …{failed}"
            self._write(_CLEAR + self._line)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with self._lock:
            if self._line:
                self._write(_CLEAR)
            yield
            if self._line:
                self._write(self._line)

    def _write(self, data: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(data)
            self._stream.flush()


class _Aside:
    """The report of one of many operations."""

    def __init__(self, tally: Tally, name: str) -> None:
        self._tally = tally
        self._name = name

    def note(self, line: str) -> None:
        """Shown with -v."""
        if self._tally.says_all:
            self._tally.note(self._named(line))

    def step(self, name: str, line: str) -> None:
        """Shown with -v."""
        if self._tally.says_all:
            self._tally.step(name, self._named(line))

    def warn(self, line: str) -> None:
        """A line that matters."""
        self._tally.warn(self._named(line))

    def waits(self, line: str) -> None:
        """Not shown: the line that is written over is the tally's."""

    def _named(self, line: str) -> str:
        return line if self._name in line else f"{self._name}: {line}"


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """The first few names and how many more there are: ``web-0, web-1, web-2 and 9 more``."""
    if len(names) <= shown + 1:
        return text.visible(", ".join(names))
    return text.visible(", ".join(names[:shown])) + f" and {len(names) - shown} more"
