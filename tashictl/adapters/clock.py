"""Time: the system's clocks, and the shape that the other adapters wait with."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Waiting(Protocol):
    """What an adapter needs of a clock, so that a simulated one can drive its waits."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic_s(self) -> float:
        """A clock that never goes back, for deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """A clock that never goes back, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; nothing for zero or less."""
        if seconds > 0:
            time.sleep(seconds)
