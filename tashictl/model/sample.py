"""What was measured: raw counters to make rates of, and points, named values at one time."""

from __future__ import annotations

from msgspec import Struct


class Counters(Struct, frozen=True, kw_only=True):
    """The raw counters of one subject at one moment, with what tells a restart from a wrap.

    `at_s` is our clock in seconds since 1970, `incarnation` the boot id of a host, pid and start
    time (and boot id) of a VM's QEMU: counters of two incarnations are never subtracted.
    """

    at_s: float
    incarnation: str
    values: dict[str, float]


class Point(Struct, frozen=True, kw_only=True):
    """Named values of one subject (``host:node1``, ``vm:<uuid>``) at `at_s`, since 1970.

    Names are Tashi's where it has one (cpuLoad, rss, vsize, recvMBs, sendMBs); docs/formats.md
    lists all with their units.
    """

    subject: str
    at_s: float
    values: dict[str, float]


class Series(Struct, frozen=True, kw_only=True):
    """One value of one subject over time, from old to new; all tuples are equally long.

    Raw samples have `low` and `high` equal to `mean`; rolled-up ones are the least, the mean and
    the greatest of the samples of a span that begins at `at_s`. Values are kept to four digits.
    """

    name: str
    at_s: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Known(Struct, frozen=True, kw_only=True):
    """A subject that the history knows: what it was called last, and when it was measured last."""

    subject: str
    label: str = ""
    at_s: float = 0.0
