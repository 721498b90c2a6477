"""`stats history` as people see it: a line of bars for each value, with least and greatest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TextIO

from msgspec import Struct

from tashictl.cli import stats_tables, text
from tashictl.model import units
from tashictl.model.sample import Series
from tashictl.ops.stats import Subject
from tashictl.planning import metrics, spark

# Shown when none is asked for; the rest is counted.
USUAL = {
    metrics.VM: (
        *("cpuLoad", "rss", "recvMBs", "sendMBs"),
        *("io_read_bytes_per_s", "io_write_bytes_per_s", "disk_bytes"),
    ),
    metrics.HOST: (
        *("cpu_busy", "load1", "memory_available_mib", "pressure_io"),
        *("net_recv_bytes_per_s", "net_send_bytes_per_s", "vms_alive", "mount_lib_free_bytes"),
    ),
}
_WIDTH = 100  # where there is no terminal
_HEADS = ("", "LEAST", "MEAN", "GREATEST", "LAST")
_LEAST_CELLS = 10
_GOOD_CELLS = 20
_MOST_CELLS = 120
_REACH = 3  # a bar stands for a sample that is at most so many times the usual distance away
_GAP = "  "


class Window(Struct, frozen=True, kw_only=True):
    """What is looked at: from `since_s` to `until_s`; `now` gives the reader's zone."""

    since_s: float
    until_s: float
    now: datetime


def lines(
    subject: Subject, found: Sequence[Series], window: Window, width: int | None, marks: str
) -> list[str]:
    """All lines; none is wider than `width`."""
    limit = width or _WIDTH
    heads, rows = _narrowed([_row(subject.of, one) for one in found], limit)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    cells = max(_LEAST_CELLS, min(_MOST_CELLS, _room(widths, limit)))
    bars = [_bars(one, window, cells, marks) for one in found]
    shown = [_title(subject, window)]
    shown.append(_line(heads, widths, _axis(window, cells)))
    shown += [_line(row, widths, bar) for row, bar in zip(rows, bars, strict=True)]
    return [text.clip(text.visible(line.rstrip()), limit) for line in shown]


def _narrowed(
    rows: Sequence[tuple[str, ...]], limit: int
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headers and rows, without the numbers that would leave too little room for bars."""
    for dropped in ((), (1,), (1, 2), (1, 2, 3)):
        kept = [i for i in range(len(_HEADS)) if i not in dropped]
        shown = [tuple(row[i] for i in kept) for row in [_HEADS, *rows]]
        widths = [max(len(row[i]) for row in shown) for i in range(len(kept))]
        if _room(widths, limit) >= _GOOD_CELLS:
            break
    return shown[0], shown[1:]


def _room(widths: Sequence[int], limit: int) -> int:
    return limit - 1 - sum(widths) - len(_GAP) * len(widths)


def points(subject: Subject, found: Iterable[Series]) -> Iterator[dict[str, object]]:
    """What programs get: one record for each sample, to five digits."""
    for one in found:
        unit = metrics.unit_of(subject.of, one.name)
        for at_s, mean, low, high in zip(one.at_s, one.mean, one.low, one.high, strict=True):
            yield {
                "at": stats_tables.stamp(at_s),
                "metric": one.name,
                "unit": unit,
                "mean": _short(mean),
                "min": _short(low),
                "max": _short(high),
            }


def marks_for(stream: TextIO) -> str:
    """The bars that a stream can carry: blocks, or ASCII where its encoding has none."""
    try:
        spark.BLOCKS.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return spark.ASCII
    return spark.BLOCKS


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _row(of: str, one: Series) -> tuple[str, ...]:
    write = stats_tables.writer(of, one.name)
    unit = metrics.unit_of(of, one.name)
    # Sizes and shares carry their unit themselves.
    named = f"{one.name} {unit}" if write is stats_tables.number and unit else one.name
    values = (min(one.low), statistics.fmean(one.mean), max(one.high), one.mean[-1])
    return (named, *(write(value) for value in values))


def _line(row: Sequence[str], widths: Sequence[int], bar: str) -> str:
    name, *values = row
    padded = [name.ljust(widths[0]), bar]
    padded += [v.rjust(w) for v, w in zip(values, widths[1:], strict=True)]
    return " " + _GAP.join(padded)


def _bars(one: Series, window: Window, cells: int, marks: str) -> str:
    span = (window.since_s, window.until_s)
    bins = spark.binned(one.at_s, one.mean, span, cells)
    gaps = [b - a for a, b in zip(one.at_s, one.at_s[1:], strict=False)]
    usual_s = statistics.median(gaps) if gaps else 0.0
    cell_s = (window.until_s - window.since_s) / cells
    reach = math.ceil(_REACH * usual_s / cell_s) if usual_s > cell_s / _REACH else 0
    return spark.line(spark.filled(bins, reach), marks)


def _axis(window: Window, cells: int) -> str:
    """The beginning and the end above the bars, as far as they fit."""
    form = "%H:%M" if window.until_s - window.since_s <= 86400 else "%m-%d %H:%M"
    first, last = (_local(at, window).strftime(form) for at in (window.since_s, window.until_s))
    if cells < len(first) + len(last) + 1:
        return last.rjust(cells)
    return first + last.rjust(cells - len(first))


def _title(subject: Subject, window: Window) -> str:
    where = f" on {subject.host}" if subject.host else ""
    gone = ", gone" if subject.gone else ""
    span = units.show_seconds(window.until_s - window.since_s)
    until = _local(window.until_s, window)
    form = "%H:%M" if until.date() == window.now.date() else "%Y-%m-%d %H:%M"
    return f"{subject.name}{where}{gone}: {span} until {until.strftime(form)}"


def _local(at_s: float, window: Window) -> datetime:
    return datetime.fromtimestamp(at_s, window.now.tzinfo)
