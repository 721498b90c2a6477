"""What the sweep needs beside the `World`: the book of events and problems, the history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from tashictl.model.event import Event, Problem
from tashictl.model.sample import Counters, Known, Point, Series


class Book(Protocol):
    """Events and problems, kept beside the state; bounded. Raises OperationFailed E-BOOK."""

    def write(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Append durably; the events with the ids that they got."""
        ...

    def events(self, limit: int = 200, since: str | None = None) -> tuple[Event, ...]:
        """The last events, from old to new; `since` is ISO-8601 UTC."""
        ...

    def problems(self) -> dict[str, Problem]:
        """What is wrong, by id, as it was last found; with those that people know of."""
        ...

    def settle(
        self, found: Iterable[Problem], looked_at: Collection[str], whole: bool, at: str
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """Take in what a round found; returns what is new and what is gone.

        A problem that was not found again is gone if its `scope` is in `looked_at`, or if it has
        none and the round was a `whole` one. Since when and acknowledgement of what stays are kept.
        """
        ...

    def acknowledge(self, ids: Collection[str], by: str, at: str, why: str) -> None:
        """Somebody knows of these problems: a sweep does not tell them any more, until gone."""
        ...

    def told(self, ids: Collection[str], at: str) -> None:
        """These problems were told (mailed) at `at`, as they are now."""
        ...

    def untold(self, remind_s: float, at: str) -> tuple[Problem, ...]:
        """What nobody acknowledged and is worth telling at `at`, the worst and oldest first.

        That is what was never told, what was told as of another severity or by another text
        (numbers in it aside), and what was last told more than `remind_s` ago.
        """
        ...


class History(Protocol):
    """What was measured, kept beside the state; bounded. Raises OperationFailed E-HISTORY."""

    def last(self) -> Mapping[str, Counters]:
        """The newest counters of every subject (``host:node1``, ``vm:<uuid>``)."""
        ...

    def append(
        self,
        counters: Mapping[str, Counters],
        points: Sequence[Point],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the counters in place of older ones of the same subjects, and the points.

        Points of one subject are taken together as one. `labels` says what subjects are called
        now (``vm:<uuid>`` to ``web1``), so that they can be found by name when they are gone.
        """
        ...

    def forget(self, subjects: Collection[str]) -> None:
        """Drop the counters of what is gone; its points stay until they are too old."""
        ...

    def latest(self) -> Mapping[str, Point]:
        """The newest point of every subject that was not forgotten, exactly as it was given."""
        ...

    def series(
        self, subject: str, names: Sequence[str], since_s: float, until_s: float
    ) -> tuple[Series, ...]:
        """What is known of these names (none: all) in that time, from old to new.

        Raw as far back as it is kept, rolled up before; names without a sample are left out.
        """
        ...

    def subjects(self) -> tuple[Known, ...]:
        """Everything that there are points of, gone or not, by subject."""
        ...


class SweepLocks(Protocol):
    """One sweep at a time: a whole one excludes all others, a shard its own and whole ones."""

    def sweep(self, shard: tuple[int, int] | None) -> AbstractContextManager[None]:
        """Hold it; raises Conflict E-SWEEPING at once when another sweep runs, and names it."""
        ...


class Books(Struct, frozen=True, kw_only=True):
    """All of these together."""

    book: Book
    history: History
    locks: SweepLocks
