"""Processes and blocks timed in pairs, and figures that say what they were held against.

Two things are always run by turns, A B A B, so that whatever else the machine does meets both.
CPU seconds are those that the kernel counts for a process and its waited-for children (user and
system, `wait4`); they suffer less than wall time from other load. What is judged is the median of
the pairs' ratios; the least and the greatest are printed beside it.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

PROJECT = Path(__file__).resolve().parents[1]


_PEAK = "TASHICTL_BENCH_PEAK"
_HIGH_WATER = re.compile(r"VmHWM:\s*(\d+) kB")
TELL_PEAK = f"""import atexit, os
@atexit.register
def _tell_peak():
    if "{_PEAK}" in os.environ:
        with open("/proc/self/status") as status, open(os.environ["{_PEAK}"], "w") as told:
            told.write(status.read())
"""


class Spent(Struct, frozen=True, kw_only=True):
    """What a process cost: seconds, and the most memory that it held."""

    cpu_s: float
    wall_s: float
    peak_mib: float = 0.0


class Figure(Struct, frozen=True, kw_only=True):
    """One figure: `value` may be at most `limit`; `limit` None is for information only.

    `detail` is what else is to be known of it: absolute values, spread, number of runs.
    """

    name: str
    value: float
    limit: float | None
    unit: str = "x"
    detail: str = ""

    @property
    def passes(self) -> bool:
        """Whether the value keeps within the limit."""
        return self.limit is None or self.value <= self.limit

    def line(self) -> str:
        """One line for people."""
        verdict = "    " if self.limit is None else "PASS" if self.passes else "over"
        allowed = "" if self.limit is None else f" of at most {_short(self.limit)}"
        shown = f"{verdict}  {self.name}: {_short(self.value)} {self.unit}{allowed}"
        return f"{shown}   ({self.detail})" if self.detail else shown


class Pairs(Struct, frozen=True, kw_only=True):
    """What two things cost that were run by turns, in seconds; `ours` against `floor`."""

    ours: tuple[float, ...]
    floor: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(self._ratios)

    @property
    def difference_s(self) -> float:
        """The median of the pairs' differences."""
        return statistics.median(a - b for a, b in zip(self.ours, self.floor, strict=True))

    @property
    def detail(self) -> str:
        """Both sides with their least and median, and the spread of the ratios."""
        ratios = self._ratios
        return (
            f"{len(ratios)} pairs, ratios {min(ratios):.2f} to {max(ratios):.2f}; "
            f"ours {_span(self.ours)}, floor {_span(self.floor)}"
        )

    @property
    def _ratios(self) -> tuple[float, ...]:
        return tuple(a / b for a, b in zip(self.ours, self.floor, strict=True))


def by_turns(ours: Callable[[], float], floor: Callable[[], float], pairs: int) -> Pairs:
    """Run both by turns after one round to warm up; each call returns what it cost in seconds."""
    ours(), floor()
    costs = [(ours(), floor()) for _ in range(pairs)]
    return Pairs(ours=tuple(a for a, _ in costs), floor=tuple(b for _, b in costs))


def run(argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> Spent:
    """Run a command to its end, its output thrown away; raises RuntimeError when it fails.

    What `wait4` says of a process's memory is at least what this one holds, whose memory it shared
    until its own program began: one that runs `TELL_PEAK` says it itself.
    """
    with tempfile.NamedTemporaryFile(prefix="tashictl-bench-") as told:
        spent = _run(argv, {**(os.environ if env is None else env), _PEAK: told.name}, cwd)
        found = _HIGH_WATER.search(told.read().decode())
    return spent if found is None else msgspec.structs.replace(spent, peak_mib=int(found[1]) / 1024)


def _run(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Spent:
    began_s = time.perf_counter()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    assert process.stderr is not None
    with process.stderr as stderr:
        said = stderr.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {process.returncode}: {said.decode()}")
    return Spent(
        cpu_s=usage.ru_utime + usage.ru_stime, wall_s=wall_s, peak_mib=usage.ru_maxrss / 1024
    )


def _span(seconds: Sequence[float]) -> str:
    return f"{min(seconds) * 1000:.1f} ms least, {statistics.median(seconds) * 1000:.1f} median"


def _short(value: float) -> str:
    return f"{value:.3g}"
