"""Samples as small blobs: columns of floats, rounded, their bytes sorted by weight, compressed.

A blob holds the samples of one subject over some time. A value keeps so many bits of its mantissa
as are asked for: measurements are noise below four digits, and noise does not compress.
"""

from __future__ import annotations

import math
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

RAW_BITS = 11  # of the mantissa of a raw sample: off by 1 in 4,000 at most
ROLLED_BITS = 9  # of a rolled-up one: by 1 in 1,000
GREATEST = 3.0e38  # what a float of 4 bytes holds

NAN = math.nan
_MANTISSA = 23


class Columns(Struct, frozen=True, kw_only=True):
    """Samples of one subject: `at_s` rises, `columns[i]` are the values of `names[i]`.

    A name that a sample does not have is NaN there.
    """

    names: tuple[str, ...]
    at_s: Sequence[float]
    columns: Sequence[array[float]]


class _Frame(Struct, frozen=True, array_like=True):
    """What is in a blob, before compression; times are steps in ms from `first_ms` on."""

    shape: int
    first_ms: int
    steps_ms: tuple[int, ...]
    data: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Frame)


def pack(shape: int, found: Columns, bits: int) -> bytes:
    """Make a blob; `shape` is the number of `found.names`, kept elsewhere."""
    times_ms = [round(at * 1000) for at in found.at_s]
    raw = rounded(b"".join(column.tobytes() for column in found.columns), bits)
    sorted_ = raw[0::4] + raw[1::4] + raw[2::4] + raw[3::4]
    steps = tuple(b - a for a, b in pairwise(times_ms))
    frame = _Frame(shape, times_ms[0], steps, sorted_)
    return zlib.compress(_encoder.encode(frame), 6)


def unpack(blob: bytes, shapes: dict[int, tuple[str, ...]]) -> Columns | None:
    """The samples in a blob, or None for one that is damaged or of an unknown shape."""
    try:
        frame = _decoder.decode(zlib.decompress(blob))
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError):
        return None
    names, count = shapes.get(frame.shape), len(frame.steps_ms) + 1
    if names is None or len(frame.data) != 4 * count * len(names):
        return None
    quarter = len(frame.data) // 4
    raw = bytearray(len(frame.data))
    for weight in range(4):
        raw[weight::4] = frame.data[weight * quarter : (weight + 1) * quarter]
    values = array("f")
    values.frombytes(raw)
    times, now_ms = [frame.first_ms / 1000], frame.first_ms
    for step in frame.steps_ms:
        now_ms += step
        times.append(now_ms / 1000)
    columns = [values[i * count : (i + 1) * count] for i in range(len(names))]
    return Columns(names=names, at_s=times, columns=columns)


def rounded(raw: bytes, bits: int) -> bytes:
    """Round floats of 4 bytes to so many bits of their mantissa."""
    low = _MANTISSA - bits
    half, mask = 1 << (low - 1), (0xFFFFFFFF << low) & 0xFFFFFFFF
    words = array("I")
    words.frombytes(raw)
    # An infinite or undefined value would round into another one.
    special = 0x7F800000
    return array("I", [w if w & special == special else (w + half) & mask for w in words]).tobytes()


def as_floats(values: Iterable[float]) -> array[float]:
    """Values as floats of 4 bytes; what is too great for one becomes the greatest."""
    return array("f", [min(max(v, -GREATEST), GREATEST) for v in values])


def joined(parts: Sequence[Columns]) -> Columns:
    """Several runs of samples as one, by time; of two at the same millisecond the later wins."""
    if len(parts) == 1:
        return parts[0]
    names = tuple(sorted({name for part in parts for name in part.names}))
    rows: dict[int, tuple[float, Columns, int]] = {}
    covered: dict[int, list[tuple[float, Columns, int]]] = {}
    for part in parts:
        for i, at in enumerate(part.at_s):
            key = round(at * 1000)
            if key in rows:
                covered.setdefault(key, []).append(rows[key])
            rows[key] = (at, part, i)
    keys = sorted(rows)
    order = [rows[key] for key in keys]
    lookup = {id(part): {n: i for i, n in enumerate(part.names)} for part in parts}
    columns: list[array[float]] = []
    for name in names:
        places = {key: index.get(name) for key, index in lookup.items()}
        column = [
            NAN if (c := places[id(part)]) is None else part.columns[c][i] for _, part, i in order
        ]
        for key, others in covered.items():
            place = bisect_left(keys, key)
            for _, part, i in others if column[place] != column[place] else ():
                c = places[id(part)]
                if c is not None and part.columns[c][i] == part.columns[c][i]:
                    column[place] = part.columns[c][i]
        columns.append(array("f", column))
    return Columns(names=names, at_s=[t for t, _, _ in order], columns=columns)


def rolled(found: Columns, span_s: float) -> Columns:
    """Least, mean, greatest and number of samples of every span, as ``<name>|min`` and so on."""
    starts: list[int] = []
    ends: list[int] = []
    times: list[float] = []
    for i, at in enumerate(found.at_s):
        start = at // span_s * span_s
        if not times or times[-1] != start:
            times.append(start)
            starts.append(i)
            ends.append(i)
        ends[-1] = i + 1
    names: list[str] = []
    columns: list[array[float]] = []
    for name, column in zip(found.names, found.columns, strict=True):
        parts = [column[a:b] for a, b in zip(starts, ends, strict=True)]
        total = sum(column)
        if total != total:  # some have no value
            parts = [array("f", [v for v in part if v == v]) for part in parts]
        names += [f"{name}|min", f"{name}|mean", f"{name}|max"]
        columns.append(array("f", [min(part, default=NAN) for part in parts]))
        columns.append(array("f", [sum(part) / len(part) if part else NAN for part in parts]))
        columns.append(array("f", [max(part, default=NAN) for part in parts]))
    return Columns(names=tuple(names), at_s=times, columns=columns)
