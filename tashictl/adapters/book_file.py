"""The SQLite file of the book: made whole or not at all, private, set aside when it is damaged.

Every transaction is durable when it ends. sqlite3 is imported only where a file is there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tashictl.adapters import files
from tashictl.errors import OperationFailed, TashiError

if TYPE_CHECKING:
    import sqlite3

BOOK_SCHEMA = 1
_WAIT_S = 10.0
_TABLES = f"""
create table events (id integer primary key autoincrement, at_s real not null, body blob not null);
create index events_at on events (at_s);
create table problems (
  id text primary key, body blob not null, since text not null,
  acked_at text, acked_by text, acked_why text not null default '',
  told_at text, told_as text
) without rowid;
pragma user_version = {BOOK_SCHEMA};
"""
_FULL, _BUSY, _LOCKED, _CORRUPT, _NOT_A_DATABASE = 13, 5, 6, 11, 26

Found = TypeVar("Found")


class Damaged(Exception):
    """What is in the file is not what was written."""


class BookFile:
    """The file at `path`; `locks` is the folder of locks, `begins` what a new file begins with.

    `begins` gets the reason and the name that the damaged file has now.
    """

    def __init__(
        self,
        path: str,
        locks: str,
        now: Callable[[], datetime],
        begins: Callable[[sqlite3.Connection, str, str], None],
        wait_s: float = _WAIT_S,
    ) -> None:
        self._path = path
        self._locks = locks
        self._now = now
        self._begins = begins
        self._wait_s = wait_s

    def read(self, work: Callable[[sqlite3.Connection], Found], without: Found) -> Found:
        """What `work` finds; `without` where there is no file. Changes nothing; raises E-BOOK."""
        if not files.exists(self._path):
            return without
        with self._translated("the next sweep sets it aside and begins a new one"):
            return self._done(work, "begin")

    def change(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """What `work` gives back, once what it did is durable.

        A file that is missing is made, a damaged one set aside. Raises OperationFailed E-BOOK.
        """
        with self._translated("see what the disk's host says of it; then remove the file"):
            if not files.exists(self._path):
                self._make()
            seen = os.stat(self._path)  # noqa: PTH116  pathlib is slow to import
            try:
                return self._done(work, "begin immediate")
            except Damaged as error:
                self._set_aside(seen, str(error))
            return self._done(work, "begin immediate")

    def _done(self, work: Callable[[sqlite3.Connection], Found], begin: str) -> Found:
        import sqlite3  # noqa: PLC0415  10 ms, for those who have a book

        try:
            with closing(_connected(self._path, self._wait_s)) as db:
                _check_schema(db)
                db.execute(begin)
                found = work(db)
                db.execute("commit")
                return found
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise Damaged(str(error)) from error
            raise
        except msgspec.ValidationError as error:
            raise _of_another_version(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
            raise Damaged(str(error)) from error

    def _make(self) -> None:
        """Make a new file, unless another process was quicker."""
        with self._new() as temp, suppress(FileExistsError):
            files.link(temp, self._path)

    @contextmanager
    def _new(self, why: str = "", aside: str = "") -> Iterator[str]:
        """A whole new file under a name of its own, gone afterwards; the names then last."""
        fd, temp = files.open_temp(self._path)
        os.close(fd)
        try:
            with closing(_connected(temp, self._wait_s)) as db:
                db.executescript(f"begin;{_TABLES}commit;")
                if aside:
                    db.execute("begin")
                    self._begins(db, why, aside)
                    db.execute("commit")
            yield temp
        finally:
            files.remove(temp)
        files.sync_folder(self._path.rpartition("/")[0] or ".")

    def _set_aside(self, seen: os.stat_result, why: str) -> None:
        """Give the damaged file that was `seen` another name, whoever finds it first.

        The new one takes its place at once: there is no moment without a file.
        """
        fd = os.open(f"{self._locks}/events", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.samestat(seen, os.stat(self._path)):  # noqa: PTH116
                return
            aside = self._free_name()
            with self._new(why, aside) as temp:
                files.link(self._path, aside)
                # Beside the new file its journal would be played back into that one.
                if files.exists(f"{self._path}-journal"):
                    files.publish(f"{self._path}-journal", f"{aside}-journal")
                files.publish(temp, self._path)
        finally:
            os.close(fd)

    def _free_name(self) -> str:
        base = name = f"{self._path}.damaged-{self._now():%Y%m%dT%H%M%SZ}"
        number = 1
        while files.exists(name):
            number += 1
            name = f"{base}.{number}"
        return name

    @contextmanager
    def _translated(self, if_damaged: str) -> Iterator[None]:
        """Raise whatever keeps the file from being used as E-BOOK."""
        import sqlite3  # noqa: PLC0415

        try:
            yield
        except sqlite3.Error as error:
            raise self._said(error) from error
        except Damaged as error:
            raise self._failed("is damaged", str(error), if_damaged) from error
        except OSError as error:
            raise self._failed("cannot be used", error.strerror or str(error), "") from error
        except TashiError as error:
            if error.code == "E-BOOK":
                raise
            raise self._failed("cannot be used", error.cause or error.what, error.hint) from error

    def _said(self, error: sqlite3.Error) -> OperationFailed:
        code = _code(error)
        if code in (_BUSY, _LOCKED):
            hint = "wait for what uses it, or see what runs: tashictl op list"
            return self._failed(f"is locked, waited {self._wait_s:g} s", str(error), hint)
        hint = "free some space there" if code == _FULL else "check the disk and the path"
        return self._failed("cannot be used", str(error), hint)

    def _failed(self, fact: str, cause: str, hint: str) -> OperationFailed:
        return OperationFailed(
            "E-BOOK", f"the book of events {self._path} {fact}", cause=cause, hint=hint
        )


def _connected(path: str, wait_s: float) -> sqlite3.Connection:
    """Open a file that is there: one that is not would be made, empty."""
    import sqlite3  # noqa: PLC0415

    whole = "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100  pathlib is slow to import
    for sign in "%?#":
        whole = whole.replace(sign, f"%{ord(sign):02x}")
    db = sqlite3.connect(f"file:{whole}?mode=rw", wait_s, uri=True, isolation_level=None)
    db.execute("pragma synchronous = extra")
    return db


def _check_schema(db: sqlite3.Connection) -> None:
    (found,) = db.execute("pragma user_version").fetchone()
    if found > BOOK_SCHEMA:
        raise _of_another_version(f"its schema is {found}, ours is {BOOK_SCHEMA}")
    if found < BOOK_SCHEMA:
        raise Damaged("it has no tables")


def _of_another_version(cause: str) -> OperationFailed:
    what = "the book of events was written by another version of tashictl"
    return OperationFailed("E-BOOK", what, cause=cause, hint="use that version")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = _code(error)
    # Text that is no UTF-8 is an error of Python's; it has no code.
    return (
        code in (_CORRUPT, _NOT_A_DATABASE)
        or (code == 0 and str(error).startswith("Could not decode"))
        or str(error).startswith("no such table")
    )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code; 0 where the error is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
