"""The book of events and problems: SQLite in the state folder, bounded, each write durable.

An event is a row with its JSON. A problem is a row too; what the book itself knows of it (since
when, who knows of it, when it was last told) stands in columns of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from tashictl.adapters import files
from tashictl.adapters.book_file import BookFile
from tashictl.errors import TashiError
from tashictl.model.event import Event, Problem, Severity

if TYPE_CHECKING:
    import sqlite3

FILE = "events.sqlite"
_KEEP = 10_000
_KEEP_S = 400 * 86400.0
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_NUMBERS = re.compile(r"\d+(?:[.,:]\d+)*")
_EVENT = msgspec.json.Decoder(Event)
_PROBLEM = msgspec.json.Decoder(Problem)
_TOLD = "select id, told_at, told_as from problems"
_PROBLEMS = "select id, body, since, acked_at, acked_by, acked_why from problems"


class ReadOnlyBook:
    """The book of the state folder `folder` for who changes nothing: what is written is lost.

    `write`, `settle` and `told` answer as if it were not. Where there is no file, nothing is known
    and none is made. `now` is the clock, aware, UTC.
    """

    def __init__(self, folder: str, now: Callable[[], datetime]) -> None:
        self._path = f"{folder}/{FILE}"
        self._now = now
        self._file = BookFile(self._path, f"{folder}/locks", now, self._begin)

    @property
    def is_there(self) -> bool:
        """Whether anything was ever written; asked without SQLite."""
        return files.exists(self._path)

    def events(self, limit: int = 200, since: str | None = None) -> tuple[Event, ...]:
        """The last events, from old to new; `since` is ISO-8601 UTC."""
        since_s = -1.0 if since is None else _seconds(since)
        query = "select id, body from events where at_s >= ? order by id desc limit ?"
        return self._read_events(query, since_s, limit)[::-1]

    def after(self, event_id: int, limit: int = 1000) -> tuple[Event, ...]:
        """The first events behind `event_id`, from old to new."""
        query = "select id, body from events where id > ? order by id limit ?"
        return self._read_events(query, event_id, limit)

    def _read_events(self, query: str, *values: float) -> tuple[Event, ...]:
        def work(db: sqlite3.Connection) -> tuple[Event, ...]:
            rows = db.execute(query, values).fetchall()
            return tuple(replace(_EVENT.decode(body), id=number) for number, body in rows)

        return self._file.read(work, ())

    def problems(self) -> dict[str, Problem]:
        """What is wrong, by id, as it was last found; the worst and oldest first."""
        return self._file.read(_problems, {})

    def untold(self, remind_s: float, at: str) -> tuple[Problem, ...]:
        """What nobody acknowledged and a mail should tell at `at`, the worst and oldest first.

        That is what was never told, what was told as of another severity or by another text
        (numbers in it aside), and what was last told more than `remind_s` ago.
        """
        now_s = _seconds(at)

        def work(db: sqlite3.Connection) -> tuple[Problem, ...]:
            told = {
                i: (t, a) for i, t, a in db.execute("select id, told_at, told_as from problems")
            }
            return tuple(
                p
                for i, p in _problems(db).items()
                if p.acked_at is None and _is_due(p, *told[i], now_s, remind_s)
            )

        return self._file.read(work, ())

    def write(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """The events, as they are."""
        return tuple(events)

    def settle(
        self, found: Iterable[Problem], looked_at: Collection[str], whole: bool, at: str
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """What would be new and what would be gone; see `Book.settle` of SqliteBook."""
        _, new, gone = settled(self.problems(), found, looked_at, whole, at)
        return new, gone

    def acknowledge(self, ids: Collection[str], by: str, at: str, why: str) -> None:
        """Nothing."""

    def told(self, ids: Collection[str], at: str) -> None:
        """Nothing."""

    def _begin(self, db: sqlite3.Connection, why: str, aside: str) -> None:
        name = aside.rpartition("/")[2]
        event = Event(
            at=f"{self._now():%Y-%m-%dT%H:%M:%SZ}",
            kind="events-lost",
            severity=Severity.ERROR,
            text=f"the book of events was damaged; it is kept as {name}, and this is a new one",
            reason=why,
        )
        _insert(db, [_row(event)])


class SqliteBook(ReadOnlyBook):
    """The book, to be written to; a damaged file is set aside, which is the new one's first event.

    Every method raises OperationFailed E-BOOK: a full disk, a file locked for too long.
    """

    def write(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Append durably; the events with the ids that they got. What is too old goes."""
        some = tuple(events)
        rows = [_row(event) for event in some]
        if not rows:
            return ()

        def work(db: sqlite3.Connection) -> tuple[Event, ...]:
            numbers = _insert(db, rows)
            _prune(db, self._now().timestamp())
            return tuple(replace(e, id=n) for e, n in zip(some, numbers, strict=True))

        return self._file.change(work)

    def settle(
        self, found: Iterable[Problem], looked_at: Collection[str], whole: bool, at: str
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """Take in what a round found; returns what is new and what is gone.

        A problem that was not found again is gone if its `scope` is in `looked_at`, or if it has
        none and the round was a `whole` one. Since when and acknowledgement of what stays are kept.
        """
        some = tuple(found)
        if not some and not self.is_there:
            return (), ()

        def work(db: sqlite3.Connection) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
            known = _problems(db)
            stays, new, gone = settled(known, some, looked_at, whole, at)
            db.executemany("delete from problems where id = ?", [(p.id,) for p in gone])
            db.executemany(
                "insert into problems (id, body, since) values (?, ?, ?)"
                " on conflict (id) do update set body = excluded.body",
                [(i, _body(p), p.since) for i, p in stays.items() if p != known.get(i)],
            )
            return new, gone

        return self._file.change(work)

    def acknowledge(self, ids: Collection[str], by: str, at: str, why: str) -> None:
        """Somebody knows of these problems until they are gone; what is gone already is left."""
        rows = [(at, _whole(by), _whole(why), i) for i in ids]
        self._set("acked_at = ?, acked_by = ?, acked_why = ?", rows)

    def told(self, ids: Collection[str], at: str) -> None:
        """These problems were told at `at`, as they are now."""
        known = self.problems()
        some = [(at, _gist(known[i]), i) for i in ids if i in known]
        self._set("told_at = ?, told_as = ?", some)

    def _set(self, what: str, rows: Sequence[tuple[str, ...]]) -> None:
        if rows and self.is_there:
            query = f"update problems set {what} where id = ?"
            self._file.change(lambda db: db.executemany(query, rows))


def settled(
    known: Mapping[str, Problem],
    found: Iterable[Problem],
    looked_at: Collection[str],
    whole: bool,
    at: str,
) -> tuple[dict[str, Problem], tuple[Problem, ...], tuple[Problem, ...]]:
    """What is in the book after a round, what of it is new, and what is gone; see `settle`."""
    stays: dict[str, Problem] = {}
    for problem in found:
        old = known.get(problem.id)
        other = stays.get(problem.id)
        if other is not None and _RANK[other.severity] <= _RANK[problem.severity]:
            continue  # found twice in one round: the worse one counts
        stays[problem.id] = replace(
            problem,
            since=old.since if old else at,
            acked_at=old.acked_at if old else None,
            acked_by=old.acked_by if old else None,
            acked_why=old.acked_why if old else "",
        )
    new = tuple(p for i, p in stays.items() if i not in known)
    gone = []
    for i, problem in known.items():
        if i in stays:
            continue
        if whole if problem.scope is None else problem.scope in looked_at:
            gone.append(problem)
        else:
            stays[i] = problem
    return stays, new, tuple(gone)


def _row(event: Event) -> tuple[float, bytes]:
    return _seconds(event.at), _encoded(replace(event, id=0))


def _insert(db: sqlite3.Connection, rows: Iterable[tuple[float, bytes]]) -> list[int]:
    query = "insert into events (at_s, body) values (?, ?)"
    return [db.execute(query, row).lastrowid or 0 for row in rows]


def _prune(db: sqlite3.Connection, now_s: float) -> None:
    db.execute("delete from events where at_s < ?", (now_s - _KEEP_S,))
    db.execute(
        "delete from events where id <= (select id from events order by id desc limit 1 offset ?)",
        (_KEEP,),
    )


def _problems(db: sqlite3.Connection) -> dict[str, Problem]:
    found = [
        replace(
            _PROBLEM.decode(body), since=since, acked_at=acked_at, acked_by=acked_by, acked_why=why
        )
        for _, body, since, acked_at, acked_by, why in db.execute(_PROBLEMS)
    ]
    return {p.id: p for p in sorted(found, key=lambda p: (_RANK[p.severity], p.since, p.id))}


def _body(problem: Problem) -> bytes:
    return _encoded(replace(problem, since="", acked_at=None, acked_by=None, acked_why=""))


def _encoded(value: Event | Problem) -> bytes:
    """JSON; what a host said may hold halves of characters, which UTF-8 has not."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        fields = ((f, getattr(value, f)) for f in value.__struct_fields__)
        said = {f: _whole(text) for f, text in fields if isinstance(text, str)}
        return msgspec.json.encode(replace(value, **said))


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _is_due(
    problem: Problem, told_at: str | None, told_as: str | None, now_s: float, remind_s: float
) -> bool:
    if told_at is None or told_as != _gist(problem):
        return True
    # A clock that was set back must not keep it silent.
    return not 0 <= now_s - _seconds(told_at) <= remind_s


def _gist(problem: Problem) -> str:
    """What makes it worth telling again: not the minutes and percents in its text."""
    return f"{problem.severity.value} {_NUMBERS.sub('#', problem.text)}"


def _seconds(at: str) -> float:
    """An ISO-8601 time in seconds since 1970; raises ValueError."""
    return datetime.fromisoformat(at).timestamp()


def of_state(folder: str, now: Callable[[], datetime]) -> dict[str, Problem]:
    """What is wrong by the book, for who only mentions it: {} where it cannot be read."""
    book = ReadOnlyBook(folder, now)
    found: dict[str, Problem] = {}
    if book.is_there:
        with suppress(TashiError):
            found = book.problems()
    return found
