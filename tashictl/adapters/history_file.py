"""The file of the history: opened, made, set aside when damaged; SQLite's errors as ours."""
# Import this module only where the history is used: sqlite3 costs milliseconds of start-up.

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from typing import TypeVar

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.errors import OperationFailed, TashiError

SCHEMA = 1
APPLICATION_ID = 0x54534853  # "TSHS": a file of another program is never touched
DAMAGED = "damaged"
DAMAGED_KEPT = 3

_TABLES = """
CREATE TABLE subjects (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, label TEXT NOT NULL DEFAULT '',
  at_s REAL, shape INTEGER, latest BLOB, counters BLOB, rolled_to INTEGER NOT NULL DEFAULT 0);
CREATE INDEX subjects_rolled ON subjects (rolled_to);
CREATE TABLE shapes (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
CREATE TABLE hot (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX hot_batch ON hot (batch, at_ms);
CREATE TABLE raw (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE rolled (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_PAGE_BYTES = 16384  # a blob of some kB must not leave half of its page empty
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SPACE = {sqlite3.SQLITE_FULL}
_SICK_DISK = {sqlite3.SQLITE_IOERR}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_NOTES = ("-journal", "-wal", "-shm")

T = TypeVar("T")


class Damaged(Exception):
    """The file is no history, or none any more; the text says why."""


class HistoryFile:
    """A SQLite file that is opened for each piece of work, and replaced when it is damaged.

    `warn` is told once of a file that was set aside. A `read_only` one is neither made nor set
    aside. Two writers wait for each other up to `timeout_s`.
    """

    def __init__(
        self,
        path: str,
        clock: Waiting,
        warn: Callable[[str], None],
        *,
        timeout_s: float = 10.0,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self._clock = clock
        self._warn = warn
        self._timeout_s = timeout_s
        self._read_only = read_only

    def read(self, work: Callable[[sqlite3.Connection], T], missing: T) -> T:
        """Do `work` in one read transaction; `missing` where there is no file.

        Raises OperationFailed E-HISTORY.
        """
        if not files.exists(self.path):
            return missing
        try:
            return self._once(work, "BEGIN")
        except Damaged as error:
            if self._read_only:
                raise self._failed(
                    "cannot be read",
                    cause=str(error),
                    hint="the next sweep sets it aside and begins a new one",
                ) from error
            self._set_aside(str(error))
            return missing

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction, all or nothing, in a new file if this one is damaged.

        Raises OperationFailed E-HISTORY: full, locked for too long, not permitted.
        """
        try:
            return self._once(work, "BEGIN IMMEDIATE")
        except Damaged as error:
            self._set_aside(str(error))
        try:
            return self._once(work, "BEGIN IMMEDIATE")
        except Damaged as error:
            raise self._failed("cannot be written", cause=str(error)) from error

    def _once(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        made = False
        if not files.exists(self.path):
            made = self._make()
        connection: sqlite3.Connection | None = None
        try:
            connection = self._open()
            connection.execute(begin)
            self._check_schema(connection, begin)
            done = work(connection)
            connection.execute("COMMIT")
            return done
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except (UnicodeDecodeError, OverflowError) as error:
            raise Damaged(f"what is in it is no text or number: {error}") from error
        finally:
            if connection is not None:
                connection.close()  # what was not committed is taken back
            if made:
                self._drop_if_empty()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._timeout_s, isolation_level=None)
        for pragma in (
            f"page_size={_PAGE_BYTES}",
            "temp_store=MEMORY",
            "synchronous=NORMAL",
            "cache_size=-4000",
            *(["query_only=1"] if self._read_only else []),
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _check_schema(self, connection: sqlite3.Connection, begin: str) -> None:
        (ours,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        if ours == APPLICATION_ID and schema > SCHEMA:
            raise self._failed(
                "cannot be used",
                cause=f"it has schema {schema}, this version knows {SCHEMA}",
                hint="use a newer tashictl, or move the file away",
            )
        if ours == APPLICATION_ID and schema == SCHEMA:
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if ours or schema or tables:
            raise Damaged("it is no history of tashictl")
        if begin == "BEGIN" and self._read_only:
            raise Damaged("it is empty")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")

    def _make(self) -> bool:
        """Make an empty private file, which SQLite takes for an empty database."""
        with files.translated(self.path, "be made"), contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self.path, flags, files.PRIVATE_FILE))
            return True
        return False

    def _drop_if_empty(self) -> None:
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_size == 0:  # noqa: PTH116
                os.unlink(self.path)  # noqa: PTH108

    def _set_aside(self, why: str) -> None:
        """Give the file another name, with what SQLite keeps beside it; the oldest such ones go."""
        stamp = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        aside = f"{self.path}.{DAMAGED}-{stamp}"
        number = 1
        while files.exists(aside):
            number += 1
            aside = f"{self.path}.{DAMAGED}-{stamp}.{number}"
        with files.translated(self.path, "be set aside"), contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise self._failed("cannot be used", cause="it is no file")
            for ending in _NOTES:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.path + ending, aside + ending)  # noqa: PTH104
            os.rename(self.path, aside)  # noqa: PTH104
            self._warn(f"{self.path} is damaged ({why}): kept as {aside}, a new one is begun")
        self._drop_old()

    def _drop_old(self) -> None:
        folder, name = os.path.split(self.path)
        with contextlib.suppress(TashiError):
            prefix = f"{name}.{DAMAGED}-"
            old = [n for n in files.names_in(folder or ".") if n.startswith(prefix)]
            whole = [n for n in old if not n.endswith(_NOTES)]
            for gone in whole[:-DAMAGED_KEPT]:
                for one in (n for n in old if n == gone or n.removeprefix(gone) in _NOTES):
                    files.remove(os.path.join(folder, one))  # noqa: PTH118

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in _BUSY:
            return self._failed(
                f"is locked, waited {self._timeout_s:g} s",
                cause="another process writes to it",
                hint="wait for it; what was measured now is lost",
            )
        if primary in _SPACE or primary in _SICK_DISK:
            return self._failed(
                "cannot be written" if primary in _SPACE else "cannot be read or written",
                cause=str(error),
                hint=f"free some space there: df {os.path.dirname(self.path)}",  # noqa: PTH120
            )
        if primary in _FORBIDDEN:
            return self._failed(
                "cannot be opened", cause=str(error), hint=f"run as the owner: ls -l {self.path}"
            )
        return Damaged(str(error))

    def _failed(self, fact: str, *, cause: str = "", hint: str = "") -> OperationFailed:
        return OperationFailed("E-HISTORY", f"{self.path} {fact}", cause=cause, hint=hint)
