"""A history in a folder of its own, and what is put into it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tashictl.adapters.history import FILE, SqliteHistory
from tashictl.adapters.history_fold import Limits
from tashictl.model.sample import Counters, Point, Series

DAY_S = 86400.0
START_S = 20_000 * DAY_S  # a midnight
NEAR = 1 / 4000
ROLLED = 1 / 800  # rounded twice


class Clock:
    """The wall clock at one moment."""

    def now(self) -> datetime:
        return datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("the history does not wait by itself")


class Shelf:
    """A history in a folder, and what it warned of."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.warnings: list[str] = []
        self.limits = limits

    def open(self, **more: object) -> SqliteHistory:
        return SqliteHistory(
            str(self.folder),
            Clock(),
            self.limits,
            warn=self.warnings.append,
            **more,  # type: ignore[arg-type]
        )

    def files(self) -> set[str]:
        return {p.name for p in self.folder.iterdir()}


def vm(number: int) -> str:
    return f"vm:{number:08}-0000-4000-8000-000000000000"


def point(at_s: float, number: int = 1, **values: float) -> Point:
    return Point(subject=vm(number), at_s=at_s, values=values or {"cpuLoad": 0.5})


def counters(at_s: float, value: float = 1.0) -> Counters:
    return Counters(at_s=at_s, incarnation="b1/4711/99", values={"cpu_s": value})


def one(found: tuple[Series, ...], name: str = "cpuLoad") -> Series:
    (series,) = [s for s in found if s.name == name]
    return series
