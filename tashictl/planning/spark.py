"""A row of values as one line of small bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
GAP = " "


def binned(
    at_s: Sequence[float], values: Sequence[float], span: tuple[float, float], cells: int
) -> list[float | None]:
    """The mean of what falls into each of `cells` equal parts of a time, None for nothing."""
    since_s, until_s = span
    width_s = (until_s - since_s) / cells if until_s > since_s else 1.0
    sums, counts = [0.0] * cells, [0] * cells
    for at, value in zip(at_s, values, strict=True):
        cell = min(max(int((at - since_s) / width_s), 0), cells - 1)
        sums[cell] += value
        counts[cell] += 1
    return [s / n if n else None for s, n in zip(sums, counts, strict=True)]


def filled(bins: Sequence[float | None], reach: int) -> list[float | None]:
    """The bins, those without a sample as the one before, if it is at most `reach` cells away.

    Where samples are rarer than cells, a line of bars must not look like one of gaps.
    """
    found: list[float | None] = []
    last, age = None, 0
    for value in bins:
        age = 0 if value is not None else age + 1
        last = value if value is not None else last
        found.append(value if value is not None else last if age <= reach else None)
    return found


def line(bins: Sequence[float | None], marks: str = BLOCKS) -> str:
    """The bars, from zero (or the least, if below) to the greatest; a gap for nothing."""
    known = [value for value in bins if value is not None and math.isfinite(value)]
    if not known:
        return GAP * len(bins)
    low, high = min(0.0, *known), max(known)
    return "".join(
        GAP if value is None or not math.isfinite(value) else _mark(value, low, high, marks)
        for value in bins
    )


def _mark(value: float, low: float, high: float, marks: str) -> str:
    """What is not zero is never shown as zero."""
    if value <= low:
        return marks[0]
    # Neither the least floats nor the greatest may bring the arithmetic to its ends.
    share = (value - low) / (high - low) if math.isfinite(high - low) else value / high
    return marks[max(round(share * (len(marks) - 1)), 1)]
