"""The history of what was measured, in one SQLite file beside the state; bounded in age.

New samples of a sweep lie in `hot`, one row for every 16 subjects. When an hour is over they are
folded: one blob per subject and hour in `raw`, its id led by the hour, so that the file grows at
its end and is emptied at its beginning. A day later they are rolled up: one blob per subject and
day in `rolled`. What is due is spread over many sweeps, so that none is slow.
"""

from __future__ import annotations

import bisect
import itertools
import math
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from tashictl.adapters import history_fold as fold
from tashictl.adapters import history_pack as packed
from tashictl.adapters.clock import Waiting
from tashictl.adapters.history_file import HistoryFile
from tashictl.adapters.history_fold import Item, Limits
from tashictl.adapters.history_pack import Columns
from tashictl.model.sample import Counters, Known, Point, Series

FILE = "stats.sqlite"

_AT_ONCE = 240  # ids in one SELECT
_IN_BLOCK = 16  # counters that are packed together
_counters_in = msgspec.msgpack.Decoder(Counters)
_block_in = msgspec.msgpack.Decoder(dict[str, bytes])
_out = msgspec.msgpack.Encoder()


def _ignore(warning: str) -> None:
    del warning


class SqliteHistory:
    """The history in `folder` (the state folder); `limits` say how long it is kept.

    Every call opens the file, works in one transaction and closes it; see `HistoryFile` for what
    becomes of a damaged one. `read_only` is for those that only show.
    """

    def __init__(
        self,
        folder: str,
        clock: Waiting,
        limits: Limits | None = None,
        *,
        warn: Callable[[str], None] = _ignore,
        timeout_s: float = 10.0,
        read_only: bool = False,
    ) -> None:
        self._file = HistoryFile(
            f"{folder}/{FILE}", clock, warn, timeout_s=timeout_s, read_only=read_only
        )
        self._limits = limits or Limits()

    def last(self) -> Mapping[str, Counters]:
        """The newest counters of every subject; raises OperationFailed E-HISTORY."""

        def work(connection: sqlite3.Connection) -> Mapping[str, Counters]:
            rows = connection.execute(
                "SELECT name, counters FROM subjects WHERE counters IS NOT NULL"
            )
            return _Packed((name, blob) for name, blob in rows if _decoded(blob) is not None)

        return self._file.read(work, {})

    def append(
        self,
        counters: Mapping[str, Counters],
        points: Sequence[Point],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Keep counters, points and labels, all or nothing; raises OperationFailed E-HISTORY."""
        merged = _merged(points)
        if not counters and not merged:
            return

        def work(connection: sqlite3.Connection) -> None:
            now_s = max((point.at_s for point in merged.values()), default=0.0)
            (before_s,) = connection.execute(
                "SELECT max(at_s) FROM subjects WHERE at_s <= ?", (now_s,)
            ).fetchone()
            ids = _ids(connection, [*counters, *merged], merged)
            connection.executemany(
                "UPDATE subjects SET counters = ? WHERE id = ?",
                [(_out.encode(value), ids[name]) for name, value in counters.items()],
            )
            if labels:
                connection.executemany(
                    "UPDATE subjects SET label = ? WHERE name = ? AND label != ?",
                    ((label, name, label) for name, label in labels.items()),
                )
            if merged:
                _add(connection, merged, ids)
                before_s = now_s if before_s is None else before_s
                fold.tend(connection, now_s, before_s, self._limits)

        self._file.write(work)

    def forget(self, subjects: Collection[str]) -> None:
        """Drop the counters, and what `latest` says, of these; raises OperationFailed E-HISTORY."""
        gone = [(s, s + "/*") for s in subjects]
        if not gone:
            return

        def work(connection: sqlite3.Connection) -> None:
            where = "WHERE name = ? OR name GLOB ?"
            update = f"UPDATE subjects SET counters = NULL, latest = NULL {where}"
            connection.executemany(update, gone)
            # What never had a point (counters that are kept apart) need not be remembered.
            connection.execute("DELETE FROM subjects WHERE at_s IS NULL AND counters IS NULL")

        self._file.write(work)

    def latest(self) -> dict[str, Point]:
        """The newest point of every subject that was not forgotten; raises E-HISTORY."""

        def work(connection: sqlite3.Connection) -> dict[str, Point]:
            shapes = fold.shapes_of(connection)
            rows = connection.execute(
                "SELECT name, at_s, shape, latest FROM subjects WHERE latest IS NOT NULL"
            )
            found = {}
            for name, at_s, shape, blob in rows:
                names = shapes.get(shape, ())
                if len(blob) == 8 * len(names):
                    values = dict(zip(names, array("d", blob), strict=True))
                    found[name] = Point(subject=name, at_s=at_s, values=values)
            return found

        return self._file.read(work, {})

    def subjects(self) -> tuple[Known, ...]:
        """All subjects that there are points of, by name; raises OperationFailed E-HISTORY."""

        def work(connection: sqlite3.Connection) -> tuple[Known, ...]:
            rows = connection.execute(
                "SELECT name, label, at_s FROM subjects WHERE at_s IS NOT NULL ORDER BY name"
            )
            return tuple(Known(subject=n, label=label, at_s=at_s) for n, label, at_s in rows)

        return self._file.read(work, ())

    def series(
        self, subject: str, names: Sequence[str], since_s: float, until_s: float
    ) -> tuple[Series, ...]:
        """What is known of these names in that time; raises OperationFailed E-HISTORY."""

        def work(connection: sqlite3.Connection) -> tuple[Series, ...]:
            row = connection.execute(
                "SELECT id FROM subjects WHERE name = ?", (subject,)
            ).fetchone()
            if row is None:
                return ()
            parts = _Parts(connection, row[0], since_s, until_s)
            raw = parts.raw()
            span_s = self._limits.span_s
            # The roll-up fills in up to the span in which the samples begin.
            before_s = until_s if raw is None else raw.at_s[0] // span_s * span_s
            rolled = parts.rolled(before_s) if since_s < before_s else None
            known = {n.partition("|")[0] for c in (raw, rolled) if c is not None for n in c.names}
            wanted = [n for n in (names or sorted(known)) if n in known]
            made = (_series(n, raw, rolled, (since_s, before_s, until_s)) for n in wanted)
            return tuple(one for one in made if one.at_s)

        return self._file.read(work, ())


class _Parts:
    """Reads what lies in the file of one subject in a time."""

    def __init__(
        self, connection: sqlite3.Connection, number: int, since_s: float, until_s: float
    ) -> None:
        self._connection = connection
        self._number = number
        self._since_s = since_s
        self._until_s = until_s
        self._shapes = fold.shapes_of(connection)

    def raw(self) -> Columns | None:
        """The samples, folded and hot ones; None for none."""
        parts = self._blobs("raw", fold.HOUR_S, self._until_s)
        hot = [
            item
            for (blob,) in self._connection.execute(
                "SELECT data FROM hot WHERE batch = ?", (self._number // fold.BATCH,)
            )
            for item in fold.items_in(blob)
            if item.subject == self._number
            and self._since_s * 1000 <= item.at_ms <= self._until_s * 1000
        ]
        parts += fold.columns_of(hot, self._shapes)
        return packed.joined(parts) if parts else None

    def rolled(self, before_s: float) -> Columns | None:
        """The rolled-up spans that begin before a time; None for none."""
        parts = self._blobs("rolled", fold.DAY_S, before_s)
        return packed.joined(parts) if parts else None

    def _blobs(self, table: str, span_s: int, until_s: float) -> list[Columns]:
        (first,) = self._connection.execute(f"SELECT min(id) FROM {table}").fetchone()
        (last,) = self._connection.execute(f"SELECT max(id) FROM {table}").fetchone()
        if first is None:
            return []
        begin = max(int(self._since_s // span_s), first >> fold.SHIFT)
        end = min(int(until_s // span_s), last >> fold.SHIFT)
        ids = [fold.id_of(i, self._number) for i in range(begin, end + 1)]
        found: list[Columns] = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            select = f"SELECT data FROM {table} WHERE id IN ({marks}) ORDER BY id"
            for (blob,) in self._connection.execute(select, some):
                columns = packed.unpack(blob, self._shapes)
                if columns is not None:
                    found.append(columns)
        return found


def _series(
    name: str,
    raw: Columns | None,
    rolled: Columns | None,
    times_s: tuple[float, float, float],
) -> Series:
    since_s, before_s, until_s = times_s
    at: list[float] = []
    mean: list[float] = []
    low: list[float] = []
    high: list[float] = []
    if rolled is not None and f"{name}|mean" in rolled.names:
        three = (rolled.columns[rolled.names.index(f"{name}|{w}")] for w in ("min", "mean", "max"))
        for t, a, m, b in zip(rolled.at_s, *three, strict=True):
            if since_s <= t < before_s and m == m:
                at.append(t)
                low.append(a)
                mean.append(m)
                high.append(b)
    if raw is not None and name in raw.names:
        column = raw.columns[raw.names.index(name)]
        own = [
            (t, v)
            for t, v in zip(raw.at_s, column, strict=True)
            if v == v and since_s <= t <= until_s
        ]
        at += [t for t, _ in own]
        values = [v for _, v in own]
        mean, low, high = mean + values, low + values, high + values
    return Series(name=name, at_s=tuple(at), mean=tuple(mean), low=tuple(low), high=tuple(high))


class _Packed(Mapping[str, Counters]):
    """Counters that stay packed until they are looked at: some 50 bytes each, not 2 kB.

    They lie in blocks, in the order of the file: those of a host and its VMs are neighbours.
    """

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self._blocks: list[bytes] = []
        self._open = (-1, dict[str, bytes]())
        found: list[tuple[int, int]] = []
        left = iter(rows)
        while block := dict(itertools.islice(left, _IN_BLOCK)):
            found += [(hash(name), len(self._blocks)) for name in block]
            self._blocks.append(zlib.compress(_out.encode(block), 1))
        found.sort()
        self._hashes = array("q", (number for number, _ in found))
        self._places = array("I", (place for _, place in found))

    def __getitem__(self, name: str) -> Counters:
        sought = hash(name)
        at = bisect.bisect_left(self._hashes, sought)
        while at < len(self._hashes) and self._hashes[at] == sought:
            blob = self._block(self._places[at]).get(name)
            if blob is not None:
                return _counters_in.decode(blob)
            at += 1
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for place in range(len(self._blocks)):
            yield from self._block(place)

    def __len__(self) -> int:
        return len(self._hashes)

    def _block(self, place: int) -> dict[str, bytes]:
        number, block = self._open
        if number != place:
            block = _block_in.decode(zlib.decompress(self._blocks[place]))
            self._open = (place, block)
        return block


def _decoded(blob: bytes) -> Counters | None:
    try:
        return _counters_in.decode(blob)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None


def _merged(points: Sequence[Point]) -> dict[str, Point]:
    """The points by subject, several of one as one, without what is no number."""
    found: dict[str, Point] = {}
    for point in points:
        values = {k: v for k, v in point.values.items() if math.isfinite(v)}
        if point.subject in found:
            first = found[point.subject]
            values = {**first.values, **values}
            point = msgspec.structs.replace(first, values=values)
        elif len(values) != len(point.values):
            point = msgspec.structs.replace(point, values=values)
        found[point.subject] = point
    return {name: point for name, point in found.items() if point.values}


def _ids(
    connection: sqlite3.Connection, names: Collection[str], points: Mapping[str, Point]
) -> dict[str, int]:
    ids: dict[str, int] = {}
    for name in dict.fromkeys(names):
        found = connection.execute("SELECT id FROM subjects WHERE name = ?", (name,)).fetchone()
        if found is not None:
            ids[name] = found[0]
    for name in dict.fromkeys(n for n in names if n not in ids):
        day = fold.day_of(points[name].at_s) if name in points else 0
        made = connection.execute(
            "INSERT INTO subjects (name, rolled_to) VALUES (?, ?)", (name, day)
        )
        assert made.lastrowid is not None
        ids[name] = made.lastrowid
    return ids


def _add(
    connection: sqlite3.Connection, points: Mapping[str, Point], ids: Mapping[str, int]
) -> None:
    numbers = {names: number for number, names in fold.shapes_of(connection).items()}
    batches: dict[int, list[Item]] = {}
    rows: list[tuple[float, int, bytes, int]] = []
    for name, point in points.items():
        names = tuple(sorted(point.values))
        shape = numbers.get(names)
        if shape is None:
            shape = numbers[names] = fold.new_shape(connection, names)
        values = [point.values[n] for n in names]
        number = ids[name]
        rows.append((point.at_s, shape, array("d", values).tobytes(), number))
        item = Item(number, round(point.at_s * 1000), shape, packed.as_floats(values).tobytes())
        batches.setdefault(number // fold.BATCH, []).append(item)
    connection.executemany("UPDATE subjects SET at_s = ?, shape = ?, latest = ? WHERE id = ?", rows)
    fold.put_hot(connection, batches)
