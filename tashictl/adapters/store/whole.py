"""The state file as a whole, whatever is in it: what `state rebuild` finds and puts in place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store import backups
from tashictl.adapters.store.create import SUBFOLDERS
from tashictl.adapters.store.form import META_ID, STATE_FILE, read_state, sealed
from tashictl.adapters.store.upgrade import LADDER
from tashictl.errors import Conflict, TashiError
from tashictl.model.state import State


class WholeStateFile:
    """The state file in `folder` (state/), which may be empty; `locks` is on state/locks."""

    def __init__(self, folder: str, locks: FileLocks, clock: Waiting) -> None:
        self._folder = folder
        self._path = f"{folder}/{STATE_FILE}"
        self._backups = f"{folder}/{backups.BACKUP_FOLDER}"
        self._locks = locks
        self._clock = clock

    def make_folders(self) -> None:
        """Make what is missing of the state folder; raises E-ACCESS, E-FILE."""
        for folder in (self._folder, *(f"{self._folder}/{name}" for name in SUBFOLDERS)):
            files.make_private_folder(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other rebuild meanwhile; raises Conflict E-LOCKED."""
        with self._locks.rebuild():
            yield

    def readable(self) -> tuple[tuple[str, State], ...]:
        """The state file and the backups that can be read; each with its path.

        Of the rotating backups only the newest that can: they are older and older.
        """
        found: list[tuple[str, State]] = []
        paths: tuple[str, ...] = ()
        with suppress(TashiError):
            paths = backups.listed(self._backups)
        rotating = [p for p in paths if p.rpartition("/")[2][0].isdigit()]
        named = [p for p in paths if p not in rotating]
        for several in ([self._path], reversed(rotating), named):
            for path in several:
                with suppress(TashiError):
                    found.append((path, read_state(path)))
                    if several is not named:
                        break
        return tuple(found)

    def mark(self) -> str:
        """What tells whether the file changes from now on."""
        raw = files.read_file(self._path)
        return hashlib.sha256(raw).hexdigest() if raw is not None else ""

    def replace(self, state: State, mark: str) -> str | None:
        """Put `state` in place of whatever is there; returns where that was kept, if it was there.

        Raises Conflict E-CHANGED when another process has written meanwhile, E-DISK-FULL, E-FILE.
        """
        with self._locks.state():
            if self.mark() != mark:
                raise Conflict(
                    "E-CHANGED",
                    f"{self._path} was changed meanwhile",
                    cause="another tashictl works with it",
                    hint="let it end, then the same command again",
                )
            now = self._clock.now()
            kept = backups.set_aside(self._path, self._backups, now, backups.BEFORE_REBUILD)
            files.remove_orphans(self._path)
            files.write_lasting(self._path, _whole(state))
        return kept


def _whole(state: State) -> bytes:
    """The bytes of a state file."""
    tables = {
        "meta": {META_ID: state.meta},
        "vms": state.vms,
        "hosts": dict(enumerate(state.hosts.values(), 1)),
        "images": dict(enumerate(state.images.values(), 1)),
        "quarantine": dict(enumerate(state.quarantine.values(), 1)),
        "deferred": dict(enumerate(state.deferred.values(), 1)),
    }
    return sealed(msgspec.json.encode(tables), LADDER.schema, LADDER.min_writer)
