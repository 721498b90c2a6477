"""One thread that acts when a deadline passes: the last resort against calls that never return."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_Entry = tuple[float, int]


class Watchdog:
    """Calls an action at a monotonic deadline unless its block has ended before; thread-safe.

    Actions must be short and must not raise (shutting a socket down is what they are for).
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[_Entry] = []
        self._actions: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def guard(self, deadline_s: float, action: Callable[[], None]) -> Iterator[None]:
        """Run the block; call `action` once if it still runs at `deadline_s`."""
        with self._wake:
            number = next(self._numbers)
            self._actions[number] = action
            heapq.heappush(self._heap, (deadline_s, number))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            if self._heap[0][1] == number:
                self._wake.notify()
        try:
            yield
        finally:
            with self._wake:
                self._actions.pop(number, None)

    def _watch(self) -> None:
        while True:
            for action in self._due():
                action()

    def _due(self) -> list[Callable[[], None]]:
        with self._wake:
            while self._heap and self._heap[0][1] not in self._actions:
                heapq.heappop(self._heap)
            now = time.monotonic()
            if not self._heap or self._heap[0][0] > now:
                self._wake.wait(self._heap[0][0] - now if self._heap else None)
                return []
            due = []
            while self._heap and self._heap[0][0] <= now:
                action = self._actions.pop(heapq.heappop(self._heap)[1], None)
                if action is not None:
                    due.append(action)
            return due
