"""The state database on TinyDB, with what TinyDB lacks: a lock, atomic commits, a checksum."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from tinydb import TinyDB

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store import backups
from tashictl.adapters.store.form import (
    META_ID,
    STATE_FILE,
    Seal,
    Stored,
    parse,
    read_stored,
    seal_of,
)
from tashictl.adapters.store.storage import TransactionStorage, document
from tashictl.adapters.store.upgrade import LADDER, Ladder
from tashictl.errors import InvalidRequest, OperationFailed
from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.naming import Deferred
from tashictl.model.state import Meta, Quarantined, State
from tashictl.model.vm import Vm

_AT_ONCE = 4000
# Tables whose documents have ids of their own.
_NAMED = ("hosts", "images", "quarantine", "deferred")
_T = TypeVar("_T", Meta, Vm, HostRecord, Image, Quarantined, Deferred)


class TinyStore:
    """The state database in `folder` (state/).

    `locks` is on state/locks and brings lockTimeout; `keep` is the number of rotating backups.
    """

    def __init__(
        self,
        folder: str,
        locks: FileLocks,
        clock: Waiting,
        keep: int = 20,
        ladder: Ladder = LADDER,
    ) -> None:
        self._folder = folder
        self._path = f"{folder}/{STATE_FILE}"
        self._backups = f"{folder}/{backups.BACKUP_FOLDER}"
        self._locks = locks
        self._clock = clock
        self._keep = keep
        self._ladder = ladder
        self._last: Stored | None = None

    def read(self) -> State:
        """The last committed state; never blocks, never repairs; raises as `read_stored`."""
        return self._stored().state

    @contextmanager
    def transaction(self) -> Iterator[TinyTransaction]:
        """A durable transaction: two fsyncs, of the file and of the folder.

        Raises Conflict E-LOCKED when the lock is not had in lockTimeout, else as `read_stored`
        and E-DISK-FULL, E-ACCESS, E-FILE; the old state is then unchanged. When only the folder's
        fsync fails, the new state is in place, but a power cut may bring the old one back.
        """
        with self._changed() as transaction:
            yield transaction
        if transaction.committed:
            with files.translated(self._folder, "be made durable"):
                files.sync_folder(self._folder)

    @contextmanager
    def closing_transaction(self) -> Iterator[TinyTransaction]:
        """As `transaction` with one fsync: whole, but a power cut may bring the old state back."""
        with self._changed() as transaction:
            yield transaction

    def backup(self, name: str | None = None) -> str:
        """Keep a copy of the state that is not rotated away; returns its path.

        Raises InvalidRequest E-NAME, Conflict E-EXISTS, and as `read_stored`: what is damaged is
        no backup.
        """
        stored = read_stored(self._path, self._ladder)
        generation = stored.state.meta.generation
        chosen = backups.default_name(generation, self._clock.now()) if name is None else name
        return backups.save(stored.raw, self._backups, chosen)

    def backups(self) -> tuple[str, ...]:
        """The paths of all backups, the rotating ones from old to new, then the named ones."""
        return backups.listed(self._backups)

    def checked_backup(self, path: str) -> bytes:
        """The backup at `path`, if it is a good one; raises as `restore` does."""
        raw = files.read_file(path)
        if raw is None:
            one = next(reversed(self.backups()), "").rpartition("/")[2]
            hint = f"the backups are in {self._backups}" + (f", such as {one}" if one else "")
            raise InvalidRequest("E-NO-BACKUP", f"there is no backup {path}", hint=hint)
        parse(raw, path, self._ladder)
        return raw

    def restore(self, path: str) -> str | None:
        """Put the backup at `path` in place of the state; returns where that was kept.

        The backup is checked first. The state in place is kept also when it is damaged. Counters,
        generation and epoch stay those of the backup, so that hosts, which remember higher ones,
        can tell that the database is old; only ``state rebuild`` may go on from there.
        Raises InvalidRequest E-NO-BACKUP, and as `read_stored` for a backup that is no good.
        """
        raw = self.checked_backup(path)
        with self._locks.state():
            kept = backups.set_aside(self._path, self._backups, self._clock.now())
            files.write_lasting(self._path, raw)
        return kept

    def _stored(self) -> Stored:
        """The file as it is now; without its bytes it is remembered for the next look."""
        stored = read_stored(self._path, self._ladder, self._last)
        self._last = msgspec.structs.replace(stored, raw=b"")
        return self._last if stored.others else stored

    @contextmanager
    def _changed(self) -> Iterator[TinyTransaction]:
        with self._locks.state():
            stored = self._stored()
            transaction = TinyTransaction(stored, self._ladder)
            yield transaction
            parts = transaction.seal()
            if parts is None:
                return
            files.remove_orphans(self._path)
            with files.staged(self._path, itertools.chain(parts[:1], parts[1])) as temp:
                generation = stored.state.meta.generation
                now = self._clock.now()
                backups.keep_old(self._path, self._backups, generation, now, self._keep)
                files.publish(temp, self._path)
            transaction.committed = True
            self._last = transaction.sealed_as(parts[0])


class TinyTransaction:
    """The changes of one transaction; the store writes them when its block ends well."""

    def __init__(self, stored: Stored, ladder: Ladder) -> None:
        self.committed = False
        self._stored = stored
        self._ladder = ladder
        self._state = stored.state
        self._others = b""

    @property
    def state(self) -> State:
        """The state, with the changes that were made in this transaction."""
        return self._state

    def next_vm_id(self) -> int:
        """A VM id that was never used."""
        return self._count(last_vm_id=self._state.meta.last_vm_id + 1).last_vm_id

    def next_operation_id(self) -> int:
        """An operation id that was never used."""
        meta = self._state.meta
        return self._count(last_operation_id=meta.last_operation_id + 1).last_operation_id

    def next_host_id(self) -> int:
        """A host id that was never used."""
        return self._count(last_host_id=self._state.meta.last_host_id + 1).last_host_id

    def mark_stale(self, why: str) -> None:
        """Record that a host proved the database to be an old copy; the first proof stays."""
        if not self._state.meta.stale:
            self._replace(meta=msgspec.structs.replace(self._state.meta, stale=why))

    def put_vm(self, vm: Vm) -> None:
        """Add or replace a VM, by id; raises OperationFailed E-VALUE for what cannot be stored.

        A VM with an id above the last one given out (from a manifest) raises the counter.
        """
        kept = _storable(vm, f"VM {vm.id}")
        self._replace(vms={**self._state.vms, kept.id: kept})
        if kept.id > self._state.meta.last_vm_id:
            self._count(last_vm_id=kept.id)

    def remove_vm(self, vm_id: int) -> None:
        """Remove a VM if it is there."""
        self._replace(vms=_without(self._state.vms, vm_id))

    def put_host(self, host: HostRecord) -> None:
        """Add or replace a host, by name; raises as `put_vm`."""
        kept = _storable(host, f"host {host.name}")
        self._replace(hosts={**self._state.hosts, kept.name: kept})
        if kept.id > self._state.meta.last_host_id:
            self._count(last_host_id=kept.id)

    def put_all(self, vms: Iterable[Vm], hosts: Iterable[HostRecord]) -> None:
        """Add or replace many at once; raises as `put_vm`."""
        kept_vms, kept_hosts = dict(self._state.vms), dict(self._state.hosts)
        for vm in vms:
            kept_vms[vm.id] = _storable(vm, f"VM {vm.id}")
        for host in hosts:
            kept = _storable(host, f"host {host.name}")
            kept_hosts[host.name] = kept
        self._replace(vms=kept_vms, hosts=kept_hosts)
        meta = self._state.meta
        self._count(
            last_vm_id=max((meta.last_vm_id, *kept_vms)),
            last_host_id=max((meta.last_host_id, *(host.id for host in kept_hosts.values()))),
        )

    def remove_host(self, name: str) -> None:
        """Remove a host if it is there."""
        self._replace(hosts=_without(self._state.hosts, name))

    def put_image(self, image: Image) -> None:
        """Add or replace an image, by name; raises as `put_vm`."""
        kept = _storable(image, f"image {image.name}")
        self._replace(images={**self._state.images, kept.name: kept})

    def remove_image(self, name: str) -> None:
        """Remove an image if it is there."""
        self._replace(images=_without(self._state.images, name))

    def put_quarantine(self, found: Quarantined) -> None:
        """Add or replace an address in quarantine, by network and address; raises as `put_vm`."""
        kept = _storable(found, f"address {found.ip}")
        self._replace(quarantine={**self._state.quarantine, kept.key: kept})

    def remove_quarantine(self, key: str) -> None:
        """Give an address free if it is in quarantine."""
        self._replace(quarantine=_without(self._state.quarantine, key))

    def put_deferred(self, work: Deferred) -> None:
        """Add or replace what waits for a server, by its entry; raises as `put_vm`."""
        kept = _storable(work, work.key)
        self._replace(deferred={**self._state.deferred, kept.key: kept})

    def remove_deferred(self, key: str) -> None:
        """Nothing waits of this entry any more."""
        self._replace(deferred=_without(self._state.deferred, key))

    def seal(self) -> tuple[bytes, Iterable[bytes]] | None:
        """The seal and the body (in pieces) of the new file, or None when nothing was changed.

        Raises OperationFailed E-VALUE.
        """
        old, new = self._stored.state, self._state
        if new == old:
            return None
        schema = max(self._stored.seal.schema, self._ladder.schema)
        min_writer = max(self._stored.seal.min_writer, self._ladder.min_writer)
        generation = old.meta.generation + 1
        self._count(schema=schema, min_writer=min_writer, generation=generation)
        storage = TransactionStorage(self._stored)
        database = TinyDB(storage, storage=_given)
        meta = _storable(self._state.meta, "the counters")
        _rewrite(database, "meta", [META_ID], {META_ID: meta})
        self._apply(database, "vms", {vm_id: vm_id for vm_id in (*old.vms, *new.vms)})
        for table in _NAMED:
            self._apply(database, table, self._ids(table))
        self._others = storage.others() if self._stored.others else b""
        body = storage.body()
        return seal_of(body, schema, min_writer), body

    def sealed_as(self, seal: bytes) -> Stored:
        """What a reader of the new file with that seal will find there; without its bytes."""
        new = self._state
        ids = {table: self._ids(table) for table in _NAMED}
        tables = {table: _ordered(getattr(new, table), ids[table]) for table in _NAMED}
        kept = {t: {name: ids[t][name] for name in tables[t]} for t in _NAMED}
        return Stored(
            seal=msgspec.json.decode(seal, type=Seal),
            raw=b"",
            state=msgspec.structs.replace(new, vms=dict(sorted(new.vms.items())), **tables),
            host_ids=kept["hosts"],
            image_ids=kept["images"],
            quarantine_ids=kept["quarantine"],
            deferred_ids=kept["deferred"],
            others=self._others,
        )

    def _ids(self, table: str) -> dict[str, int]:
        """The document ids of a table of names, as they were and as they will be."""
        old = {
            "hosts": self._stored.host_ids,
            "images": self._stored.image_ids,
            "quarantine": self._stored.quarantine_ids,
            "deferred": self._stored.deferred_ids,
        }
        return _numbered(old[table], getattr(self._state, table))

    def _apply(self, database: TinyDB, table: str, ids: dict[Any, int]) -> None:
        """Hand the changes of one table to TinyDB; `ids` are the document ids, by key."""
        old: dict[Any, Any] = getattr(self._stored.state, table)
        new: dict[Any, Any] = getattr(self._state, table)
        changed = [key for key, value in new.items() if old.get(key) != value]
        gone = [ids[key] for key in (*changed, *(old.keys() - new.keys())) if key in old]
        _rewrite(database, table, gone, {ids[key]: new[key] for key in changed})

    def _count(self, **numbers: int) -> Meta:
        meta = msgspec.structs.replace(self._state.meta, **numbers)
        self._replace(meta=meta)
        return meta

    def _replace(self, **parts: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **parts)


def _given(storage: TransactionStorage) -> TransactionStorage:
    """TinyDB wants to call something that makes its storage; ours exists already."""
    return storage


def _rewrite(database: TinyDB, name: str, gone: list[int], values: dict[int, Struct]) -> None:
    """Remove and insert documents of one table; `values` are what they hold, by id.

    Few calls for any number of documents, since each of them costs a pass over the table; not one,
    since a document takes ten times the memory of the JSON that the storage keeps of it. Every
    document brings its id: TinyDB would give one twice when some have ids and some have none.
    """
    if gone:
        database.table(name).remove(doc_ids=gone)
    ids = list(values)
    for begin in range(0, len(ids), _AT_ONCE):
        database.table(name).insert_multiple(
            document(values[key], key) for key in ids[begin : begin + _AT_ONCE]
        )


def _numbered(ids: dict[str, int], names: Iterable[str]) -> dict[str, int]:
    """The document ids of names, new ones with the next free numbers."""
    free = itertools.count(max(ids.values(), default=0) + 1)
    return {**ids, **{name: next(free) for name in names if name not in ids}}


def _ordered(table: dict[str, Any], ids: dict[str, int]) -> dict[str, Any]:
    """A table in the order in which its documents lie in the file."""
    return {name: table[name] for name in sorted(table, key=ids.__getitem__)}


def _storable(value: _T, label: str) -> _T:
    """The value as it will be read back; raises OperationFailed E-VALUE."""
    try:
        kept = msgspec.json.decode(msgspec.json.encode(value), type=type(value))
        # The value itself shares with the old record what did not change.
        return value if kept == value else kept
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise OperationFailed(
            "E-VALUE",
            f"{label} cannot be stored",
            cause=str(error),
            hint="nothing was changed; please report this",
        ) from error


def _without(table: dict[Any, Any], key: object) -> dict[Any, Any]:
    return {k: v for k, v in table.items() if k != key}
