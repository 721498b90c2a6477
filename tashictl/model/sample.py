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
