"""A day of 1-minute samples of 1,000 VMs in the history: its size, and reading one VM's day.

A VM has all the values that the sweep gives it, of two disks: 9 of its own and 20 rates of block
counters. They are as restless as measurements are: no two samples of a value that moves are the
same, and none can be told from the one before. Half of the block counters rest, as on a host. The
least that a reader could do is measured beside it: the same floats read from a plain file.

TASHICTL_BENCH_DIR chooses another disk than that of the temporary files.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from bench import timing
from bench.timing import Figure
from tashictl.adapters.clock import SystemClock
from tashictl.adapters.history import FILE, SqliteHistory
from tashictl.model.sample import Counters, Point

VMS = 1000
MINUTES = 24 * 60
SIZE_LIMIT_MB = 100.0
READ_LIMIT_MS = 50.0
APPEND_LIMIT_S = 0.2
PAIRS = 25
START_S = 20_000 * 86400.0

_OWN = ("cpuLoad", "rss", "recvMBs", "sendMBs", "io_read_bytes_per_s", "io_write_bytes_per_s")
_STILL = {"vsize": 3211.5, "threads": 7.0}
_MOVING = ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "wr_total_time_ns")
_RESTING = ("rd_merged", "wr_merged", "failed_rd_operations", "unmap_bytes", "flush_operations")


def figures() -> Iterator[Figure]:
    """The figures of this file."""
    with tempfile.TemporaryDirectory(
        prefix="tashictl-bench-", dir=os.environ.get("TASHICTL_BENCH_DIR")
    ) as folder:
        history = SqliteHistory(folder, SystemClock())
        print(
            f"history: {VMS} VMs, {MINUTES} sweeps, {len(_point(1, 0, random).values)} values each"
        )
        spent, cpu = _day(history)
        path = Path(folder) / FILE
        yield Figure(
            name=f"a day of 1-minute samples of {VMS} VMs, size of the file",
            value=path.stat().st_size / 1e6,
            limit=SIZE_LIMIT_MB,
            unit="MB",
        )
        yield Figure(
            name=f"one sweep of {VMS} VMs kept, median",
            value=statistics.median(spent),
            limit=APPEND_LIMIT_S,
            unit="s",
            detail=f"wall {_spread(spent)}; CPU {_spread(cpu)}",
        )
        floor = Path(folder) / "floats"
        floor.write_bytes(array("f", range(MINUTES * 29)).tobytes())
        read = timing.by_turns(lambda: _read(history), lambda: _read_plain(floor), PAIRS)
        yield Figure(
            name="one VM's day read, all values, median",
            value=statistics.median(read.ours) * 1000,
            limit=READ_LIMIT_MS,
            unit="ms",
            detail=f"the same floats from a plain file: {read.ratio:.3g} x; {read.detail}",
        )


def _day(history: SqliteHistory) -> tuple[list[float], list[float]]:
    """What each sweep took, wall and CPU seconds."""
    dice = random.Random(1)
    spent, cpu = [], []
    for minute in range(MINUTES):
        points = [_point(number, minute, dice) for number in range(VMS)]
        counters = {
            point.subject: Counters(
                at_s=point.at_s, incarnation="b/1/2", values={f"c{i}": i * 1e6 for i in range(20)}
            )
            for point in points
        }
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        history.append(counters, points)
        spent.append(time.perf_counter() - began_s)
        cpu.append(time.process_time() - began_cpu_s)
    return spent, cpu


def _point(number: int, minute: int, dice: random.Random) -> Point:
    values = {name: dice.random() * 1e6 for name in _OWN} | _STILL
    values["disk_bytes"] = 1e9 + 1e6 * minute
    for disk in ("disk0", "disk1"):
        values |= {f"{disk}_{name}_per_s": dice.random() * 1e6 for name in _MOVING}
        values |= {f"{disk}_{name}_per_s": 0.0 for name in _RESTING}
    at_s = START_S + 60 * minute + 2 * dice.random()
    return Point(subject=f"vm:{number:08x}-1111-4111-8111-111111111111", at_s=at_s, values=values)


def _read(history: SqliteHistory) -> float:
    began_s = time.perf_counter()
    found = history.series("vm:00000064-1111-4111-8111-111111111111", (), START_S, START_S + 86400)
    spent_s = time.perf_counter() - began_s
    if len(found) != 29 or len(found[0].at_s) != MINUTES:
        raise RuntimeError("the day is not whole")
    return spent_s


def _read_plain(path: Path) -> float:
    began_s = time.perf_counter()
    values = array("f")
    values.frombytes(path.read_bytes())
    tuple(values)
    return time.perf_counter() - began_s


def _spread(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    nearly_all = ranked[len(ranked) * 99 // 100]
    return f"{ranked[0]:.3f} to {ranked[-1]:.3f} s, 99 of 100 below {nearly_all:.3f}"
