"""What keeps the history small: fold the hours that are over, roll up days, drop what is too old.

`tend` does a bounded part of what is due, in the transaction of every append, in proportion to the
time that went by: sweeps once a minute do little each, one after an hour off does more.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from tashictl.adapters import history_pack as packed
from tashictl.adapters.history_pack import Columns

HOUR_S = 3600
DAY_S = 86400
BATCH = 16  # subjects whose samples of one sweep lie in one row
SHIFT = 32  # the id of a blob: hour or day in the upper bits, subject in the lower

_HOUR_MS = HOUR_S * 1000
_SETTLED_S = 120.0  # how long after its end an hour may still get samples
_PHASES = 50  # batches are folded at different minutes of the next hour
_ROLL_AFTER_S = 2.5 * HOUR_S  # by then all hours of a day are folded
_ROLL_WITHIN_S = 8 * HOUR_S
_DROP_WITHIN_S = 1800.0
_LEAST_ROLLED = 4
_LEAST_DROPPED = 64


class Limits(Struct, frozen=True, kw_only=True):
    """How long samples are kept, raw and rolled up, and over what time they are rolled up."""

    raw_s: float = 7.0 * DAY_S
    rolled_s: float = 400.0 * DAY_S
    span_s: float = 900.0


class Item(Struct, frozen=True, array_like=True):
    """One sample of one subject: `data` are floats of 4 bytes, in the order of the shape."""

    subject: int
    at_ms: int
    shape: int
    data: bytes


_items_in = msgspec.msgpack.Decoder(list[Item])
_out = msgspec.msgpack.Encoder()


def day_of(at_s: float) -> int:
    """The number of the day since 1970, UTC."""
    return int(at_s // DAY_S)


def id_of(time: int, subject: int) -> int:
    """The id of a blob: `time` is the number of its hour or day."""
    return (time << SHIFT) | subject


def shapes_of(connection: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """The lists of names that samples have, by number."""
    rows = connection.execute("SELECT id, names FROM shapes")
    return {number: tuple(names.split("\n")) for number, names in rows}


def new_shape(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    """Remember a list of names; its number."""
    made = connection.execute("INSERT INTO shapes (names) VALUES (?)", ("\n".join(names),))
    assert made.lastrowid is not None
    return made.lastrowid


def items_in(blob: bytes) -> list[Item]:
    """The samples in a hot row, none of a damaged one."""
    try:
        return _items_in.decode(blob)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return []


def put_hot(connection: sqlite3.Connection, batches: Mapping[int, list[Item]]) -> None:
    """Keep the samples of one sweep."""
    connection.executemany(
        "INSERT INTO hot (batch, at_ms, data) VALUES (?, ?, ?)",
        [(b, min(i.at_ms for i in items), _out.encode(items)) for b, items in batches.items()],
    )


def columns_of(items: Iterable[Item], shapes: Mapping[int, tuple[str, ...]]) -> list[Columns]:
    """The samples of one subject as runs of one shape each; what is damaged is left out."""
    runs: dict[int, list[Item]] = {}
    for item in sorted(items, key=lambda i: i.at_ms):
        names = shapes.get(item.shape)
        if names is not None and len(item.data) == 4 * len(names):
            runs.setdefault(item.shape, []).append(item)
    found: list[Columns] = []
    for shape, run in runs.items():
        names = shapes[shape]
        values = array("f")
        values.frombytes(b"".join(i.data for i in run))
        columns = [values[i :: len(names)] for i in range(len(names))]
        found.append(Columns(names=names, at_s=[i.at_ms / 1000 for i in run], columns=columns))
    return found


def tend(connection: sqlite3.Connection, now_s: float, before_s: float, limits: Limits) -> None:
    """Do what is due at `now_s`, when the newest sample before was of `before_s`."""
    (count,) = connection.execute("SELECT count(*) FROM subjects").fetchone()
    # A clock that leaps ahead once must not cost the history: what became due is done next time.
    gap_s = min(max(now_s - before_s, 0.0), DAY_S)
    tender = _Tender(connection, min(now_s, before_s + DAY_S), limits)
    tender.fold()
    tender.roll(max(_LEAST_ROLLED, math.ceil(count * gap_s / _ROLL_WITHIN_S)))
    tender.drop(max(_LEAST_DROPPED, math.ceil(count * gap_s / _DROP_WITHIN_S)))


class _Tender:
    def __init__(self, connection: sqlite3.Connection, now_s: float, limits: Limits) -> None:
        self._connection = connection
        self._now_s = now_s
        self._limits = limits
        self._shapes = shapes_of(connection)
        self._numbers = {names: number for number, names in self._shapes.items()}
        self._raw_from_ms = (now_s - limits.raw_s) * 1000

    def fold(self) -> None:
        """Fold every batch of which an hour is over, each at its own minute."""
        rows = self._connection.execute("SELECT batch, min(at_ms) FROM hot GROUP BY batch")
        for batch, oldest_ms in rows.fetchall():
            late_s = _SETTLED_S + batch % _PHASES * 60
            open_ms = (self._now_s - late_s) // HOUR_S * _HOUR_MS
            if oldest_ms < open_ms:
                self._fold_batch(batch, int(open_ms))

    def _fold_batch(self, batch: int, open_ms: int) -> None:
        due: dict[tuple[int, int], list[Item]] = {}
        rows = self._connection.execute(
            "SELECT id, data FROM hot WHERE batch = ? AND at_ms < ?", (batch, open_ms)
        ).fetchall()
        left: list[Item] = []
        rolled_to_ms = self._rolled_to_ms(batch)
        for _, blob in rows:
            for item in items_in(blob):
                # What comes so late that its day is rolled up and gone cannot be added to it.
                latest_ms = min(self._raw_from_ms, rolled_to_ms.get(item.subject, 0))
                if item.at_ms >= open_ms:
                    left.append(item)
                elif item.at_ms >= latest_ms:
                    due.setdefault((item.at_ms // _HOUR_MS, item.subject), []).append(item)
        for (hour, subject), items in sorted(due.items()):
            self._put_hour(hour, subject, items)
        self._connection.executemany("DELETE FROM hot WHERE id = ?", [(i,) for i, _ in rows])
        if left:
            put_hot(self._connection, {batch: left})

    def _rolled_to_ms(self, batch: int) -> dict[int, int]:
        rows = self._connection.execute(
            "SELECT id, rolled_to FROM subjects WHERE id >= ? AND id < ?",
            (batch * BATCH, (batch + 1) * BATCH),
        )
        return {subject: day * DAY_S * 1000 for subject, day in rows}

    def _put_hour(self, hour: int, subject: int, items: list[Item]) -> None:
        number = id_of(hour, subject)
        parts = columns_of(items, self._shapes)
        found = self._connection.execute("SELECT data FROM raw WHERE id = ?", (number,)).fetchone()
        if found is not None and (older := packed.unpack(found[0], self._shapes)) is not None:
            parts.insert(0, older)
        if parts:
            self._put("raw", number, packed.joined(parts), packed.RAW_BITS)
            day = hour * HOUR_S // DAY_S
            self._connection.execute(
                "UPDATE subjects SET rolled_to = ? WHERE id = ? AND rolled_to > ?",
                (day, subject, day),
            )

    def _put(self, table: str, number: int, columns: Columns, bits: int) -> None:
        shape = self._numbers.get(columns.names)
        if shape is None:
            shape = new_shape(self._connection, columns.names)
            self._numbers[columns.names] = shape
            self._shapes[shape] = columns.names
        self._connection.execute(
            f"INSERT OR REPLACE INTO {table} (id, data) VALUES (?, ?)",
            (number, packed.pack(shape, columns, bits)),
        )

    def roll(self, most: int) -> None:
        """Roll up days that are over, `most` of one subject each."""
        ripe = day_of(self._now_s - _ROLL_AFTER_S)
        (oldest,) = self._connection.execute("SELECT min(id) FROM raw").fetchone()
        first = ripe if oldest is None else (oldest >> SHIFT) * HOUR_S // DAY_S
        rows = self._connection.execute(
            "SELECT id, rolled_to FROM subjects WHERE rolled_to < ?"
            " AND rolled_to * ? <= at_s ORDER BY rolled_to LIMIT ?",
            (ripe, DAY_S, most),
        )
        for subject, rolled_to in rows.fetchall():
            day = max(rolled_to, min(first, ripe - 1))
            self._roll_day(subject, day)
            self._connection.execute(
                "UPDATE subjects SET rolled_to = ? WHERE id = ?", (day + 1, subject)
            )

    def _roll_day(self, subject: int, day: int) -> None:
        ids = [id_of(day * 24 + hour, subject) for hour in range(24)]
        marks = ",".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT data FROM raw WHERE id IN ({marks}) ORDER BY id",
            ids,
        )
        unpacked = (packed.unpack(blob, self._shapes) for (blob,) in rows)
        parts = [part for part in unpacked if part is not None]
        if parts:
            whole = packed.rolled(packed.joined(parts), self._limits.span_s)
            self._put("rolled", id_of(day, subject), whole, packed.ROLLED_BITS)

    def drop(self, most: int) -> None:
        """Drop at most so many blobs that are too old, raw ones only when they are rolled up."""
        (waiting,) = self._connection.execute(
            "SELECT min(rolled_to) FROM subjects WHERE rolled_to * ? <= at_s", (DAY_S,)
        ).fetchone()
        hour = int((self._now_s - self._limits.raw_s) // HOUR_S)
        if waiting is not None:
            hour = min(hour, waiting * 24)
        self._drop_before("raw", hour, most)
        oldest_s = self._now_s - self._limits.rolled_s
        self._drop_before("rolled", day_of(oldest_s), most)
        self._connection.execute(
            "DELETE FROM subjects WHERE id IN (SELECT id FROM subjects WHERE at_s < ?"
            " AND counters IS NULL LIMIT ?)",
            (oldest_s, most),
        )

    def _drop_before(self, table: str, time: int, most: int) -> None:
        self._connection.execute(
            f"DELETE FROM {table} WHERE id IN"
            f" (SELECT id FROM {table} WHERE id < ? ORDER BY id LIMIT ?)",
            (id_of(time, 0), most),
        )
