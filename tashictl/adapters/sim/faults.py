"""Faults: at which moment of which step something goes wrong, and what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

# Steps that the controller does itself: they are seen by it alone.
AT_THE_MONITOR = ("AwaitQmp", "QmpCommand", "PressPowerButton")
AT_A_SERVER = ("AddDhcp", "AddDns", "RemoveDns", "RemoveDhcp")


class Killed(BaseException):
    """The controller was killed here: nothing of it runs on."""


class Moment(Enum):
    """A step's moments: not sent yet, begun at the host, done there unheard, answered."""

    BEFORE = "before"
    SENT = "sent"
    DONE = "done"
    AFTER = "after"


class Point(Struct, frozen=True):
    """A moment of a step; `nth` counts the steps of that kind within a command, from 1."""

    step: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        nth = f".{self.nth}" if self.nth > 1 else ""
        return f"{self.step}{nth}/{self.moment.value}"


class Planned(Struct, frozen=True):
    """A fault at a point; what a `kind` does is up to who injects it."""

    point: Point
    kind: str

    def __str__(self) -> str:
        return f"{self.point}/{self.kind}"


class Injector:
    """The faults of one command, one after the other; it also writes down what was reached.

    The points of a second fault are counted anew from the moment of the first.
    """

    def __init__(self, faults: tuple[Planned, ...] = ()) -> None:
        self.trace: list[Point] = []
        self.fired: list[Planned] = []
        self._left = list(faults)
        self._counts: Counter[tuple[str, Moment]] = Counter()

    @property
    def exhausted(self) -> bool:
        """Whether every fault has happened."""
        return not self._left

    @property
    def next(self) -> Planned | None:
        """The fault that is due next."""
        return self._left[0] if self._left else None

    def reached(self, step: str, moment: Moment) -> str | None:
        """A moment was reached: the kind of the fault that happens now, if one does."""
        self._counts[step, moment] += 1
        point = Point(step, self._counts[step, moment], moment)
        if not self._left or self._left[0].point != point:
            if self.exhausted:
                self.trace.append(point)
            return None
        fault = self._left.pop(0)
        self.fired.append(fault)
        self._counts.clear()
        return fault.kind


class FaultPoints:
    """The Faults of the ports: hands the controller's own moments to `happen`."""

    def __init__(self, happen: Callable[[str, Moment], None], split_at: str | None = None) -> None:
        self._happen = happen
        self._split_at = split_at

    @property
    def split_at(self) -> str | None:
        """The step kind that stands in a batch of its own, or None."""
        return self._split_at

    def reached(self, step: str, moment: str, cut: Callable[[], None]) -> None:
        """A step's moment was reached; what is sent as a script is seen at the host instead.

        `cut` tells the Remote which host it is about; a connection is only cut when it is used.
        """
        cut()
        if moment == Moment.SENT.value and step not in (*AT_THE_MONITOR, *AT_A_SERVER):
            return
        self._happen(step, Moment(moment))
