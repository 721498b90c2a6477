"""The journals of the operations: one append-only file of JSON lines each, header first.

The flock on a journal is held from its creation until the operation lets go or its process dies:
held means that the operation lives.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from typing import NoReturn

import msgspec
from msgspec import Struct

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.errors import Conflict, NotPermitted, OperationFailed
from tashictl.model.operation import JOURNAL_SCHEMA, Entry, Header, JournalView

_NAME = re.compile(r"([1-9]\d*)\.jsonl")
_TAKE_OVER_S = 0.5
_PAUSE_S = 0.01

_HEADER = msgspec.json.Decoder(Header)
_ENTRY: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class _Schema(Struct, frozen=True):
    """The part of a header that every schema has."""

    schema: int


class FileJournals:
    """All journals of a cluster, in `folder` (state/journal)."""

    def __init__(self, folder: str, clock: Waiting) -> None:
        self._folder = folder
        self._clock = clock

    def create(self, header: Header, *entries: Entry) -> FileJournal:
        """Create a journal, held, durable with its first entries, at the price of one fsync.

        Raises Conflict E-JOURNAL-EXISTS; E-DISK-FULL, E-ACCESS, E-FILE, then nothing is left.
        """
        path = self._path(header.id)
        data = _lines(header, *entries)
        with files.translated(path, "be written"):
            fd, temp = files.open_temp(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                _publish(fd, data, temp, path)
            except FileExistsError as error:
                os.close(fd)
                raise _exists(header.id, path) from error
            except BaseException:
                os.close(fd)
                raise
        return FileJournal(fd, path, header, entries)

    def reopen(self, operation_id: int) -> FileJournal | None:
        """Take over an interrupted journal, without the line that its end tore; None without one.

        Raises Conflict E-BUSY while the process that runs the operation lives, else as `read`.
        """
        path = self._path(operation_id)
        fd = _opened(path, os.O_RDWR | os.O_APPEND)
        if fd is None:
            return None
        try:
            self._take(fd, path)
            with files.translated(path, "be read"):
                raw = files.read_all(fd)
            found = _parsed(raw, path)
            if found is None or not files.is_at(fd, path):  # the latter: pruned meanwhile
                os.close(fd)
                return None
            with files.translated(path, "be written"):
                os.ftruncate(fd, raw.rfind(b"\n") + 1)
        except BaseException:
            with suppress(OSError):
                os.close(fd)
            raise
        return FileJournal(fd, path, *found)

    def read(self, operation_id: int) -> JournalView | None:
        """Read a journal without taking it; None when there is none, or it never really began.

        A last line that was torn is left out. Raises OperationFailed E-JOURNAL-DAMAGED for any
        other line that is no JSON; NotPermitted E-SCHEMA for what this version does not know.
        """
        path = self._path(operation_id)
        fd = _opened(path, os.O_RDONLY)
        if fd is None:
            return None
        with files.translated(path, "be read"):
            try:
                # Before the lines are read: an operation that ends meanwhile then shows its end
                # and never looks interrupted.
                alive = _is_held(fd)
                raw = files.read_all(fd)
            finally:
                os.close(fd)
        found = _parsed(raw, path)
        if found is None:
            return None
        return JournalView(header=found[0], entries=found[1], alive=alive)

    def discard(self, operation_id: int) -> None:
        """Remove a journal that was never recorded in the database; none is no error."""
        files.remove(self._path(operation_id))

    def ids(self) -> tuple[int, ...]:
        """The operations that have a journal, rising."""
        matches = map(_NAME.fullmatch, files.names_in(self._folder))
        return tuple(sorted(int(m.group(1)) for m in matches if m is not None))

    def prune(self, keep: int, before: str = "~") -> tuple[int, ...]:
        """Of what ended before a time remove all journals but the newest `keep`; which went.

        `before` is ISO-8601 as in the entries (``~`` is later than all). What runs, is interrupted,
        or cannot be read stays.
        """
        ended = [i for i in reversed(self.ids()) if self._is_over(i, before)]
        gone = ended[max(keep, 0) :]
        for operation_id in gone:
            files.remove(self._path(operation_id))
        return tuple(reversed(gone))

    def _is_over(self, operation_id: int, before: str) -> bool:
        try:
            view = self.read(operation_id)
        except (OperationFailed, NotPermitted):
            return False
        if view is None or view.ended is None or view.alive:
            return False
        return view.ended.at < before

    def _take(self, fd: int, path: str) -> None:
        """Lock, waiting a moment: a reader that only looks holds the lock for microseconds."""
        deadline_s = self._clock.monotonic_s() + _TAKE_OVER_S
        while not _try_lock(fd, fcntl.LOCK_EX, path):
            if self._clock.monotonic_s() >= deadline_s:
                raise _busy(fd, path)
            self._clock.sleep(_PAUSE_S)

    def _path(self, operation_id: int) -> str:
        return f"{self._folder}/{operation_id}.jsonl"


class FileJournal:
    """The journal of one operation, held by this process."""

    def __init__(self, fd: int, path: str, header: Header, entries: tuple[Entry, ...]) -> None:
        self._fd: int | None = fd
        self._path = path
        self._header = header
        self._entries = entries

    @property
    def view(self) -> JournalView:
        """All that was written so far."""
        alive = self._fd is not None
        return JournalView(header=self._header, entries=self._entries, alive=alive)

    def commit(self, *entries: Entry) -> None:
        """Append and make durable, all notes before it too; raises as `note`."""
        self._append(entries)
        with files.translated(self._path, "be made durable"):
            files.sync(self._open())

    def note(self, *entries: Entry) -> None:
        """Append; a power cut may lose it. Raises E-DISK-FULL, E-FILE, then nothing is appended."""
        self._append(entries)

    def close(self) -> None:
        """Let the operation go; the file stays. May be called twice."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _append(self, entries: tuple[Entry, ...]) -> None:
        fd = self._open()
        data = _lines(*entries)
        with files.translated(self._path, "be written"):
            before = os.fstat(fd).st_size
            try:
                files.write_all(fd, data)
            except OSError:
                # Half a line now would spoil every line after it.
                os.ftruncate(fd, before)
                raise
        self._entries += entries

    def _open(self) -> int:
        if self._fd is None:
            _damaged("E-JOURNAL-CLOSED", self._path, "it was written to after it was closed")
        return self._fd


def _publish(fd: int, data: bytes, temp: str, path: str) -> None:
    """Write a locked journal, only then let others see it, and make it last; raises OSError.

    One that is empty or not yet locked would look like an operation that died. The folder is not
    synced: a name that a power cut takes is the same as a journal that never began; the record in
    the database names the operation, and recovery asks the host.
    """
    try:
        files.write_all(fd, data)
        files.link(temp, path)
    finally:
        files.remove(temp)
    try:
        files.sync(fd)
    except OSError:
        files.remove(path)
        raise


def _lines(*values: Header | Entry) -> bytes:
    """One line each, sure to be readable again; raises OperationFailed E-VALUE."""
    try:
        lines = [msgspec.json.encode(value) for value in values]
        for value, line in zip(values, lines, strict=True):
            _HEADER.decode(line) if isinstance(value, Header) else _ENTRY.decode(line)
        return b"".join(line + b"\n" for line in lines)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise OperationFailed(
            "E-VALUE",
            "a journal entry cannot be stored",
            cause=str(error),
            hint="nothing was written; please report this",
        ) from error


def _parsed(raw: bytes, path: str) -> tuple[Header, tuple[Entry, ...]] | None:
    """Header and entries of the whole lines, None without a whole header."""
    first, *lines = raw[: raw.rfind(b"\n") + 1].split(b"\n")
    if not lines:
        return None
    try:
        schema = msgspec.json.decode(first, type=_Schema).schema
        if schema != JOURNAL_SCHEMA:
            raise msgspec.ValidationError(f"schema {schema}, ours is {JOURNAL_SCHEMA}")
        header = _HEADER.decode(first)
        entries = tuple(_ENTRY.decode(line) for line in lines[:-1])
    except msgspec.ValidationError as error:
        raise NotPermitted(
            "E-SCHEMA",
            f"{path} was written by another version of tashictl",
            cause=str(error),
            hint="end the operation with that version: tashictl op resume or undo",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperationFailed(
            "E-JOURNAL-DAMAGED",
            f"{path} is damaged before its end",
            cause=str(error),
            hint="see what else is wrong: tashictl state check",
        ) from error
    return header, entries


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.error_of(error, path, "be opened") from error


def _try_lock(fd: int, operation: int, path: str) -> bool:
    with files.translated(path, "be locked"):
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_held(fd: int) -> bool:
    """Whether another open file holds the lock; asking takes it shared for a moment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _exists(operation_id: int, path: str) -> Conflict:
    return Conflict(
        "E-JOURNAL-EXISTS",
        f"operation {operation_id} has a journal already: {path}",
        cause="the database gave out an id again; it may be an old copy",
        hint="see: tashictl state check",
    )


def _busy(fd: int, path: str) -> Conflict:
    found = None
    with suppress(OSError, OperationFailed, NotPermitted):
        found = _parsed(files.read_all(fd), path)
    by = f"by {found[0].actor} since {found[0].started}" if found is not None else ""
    return Conflict(
        "E-BUSY",
        "the operation is still being carried out",
        cause=by,
        hint="wait for it, or see how far it is: tashictl op list",
    )


def _damaged(code: str, path: str, cause: str) -> NoReturn:
    raise OperationFailed(code, f"{path} cannot be written", cause=cause)
