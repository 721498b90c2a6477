"""TinyDB's storage for one transaction: the tables in memory, the file is read and written once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct
from tinydb.storages import Storage
from tinydb.table import Document

from tashictl.adapters.store.form import Stored

_RAW_TABLES = msgspec.json.Decoder(dict[str, dict[str, Raw]])
_RECORD = "="
_AT_ONCE = 256  # documents in one piece of a body


def document(record: Struct, key: int) -> Document:
    """The document of a record; it holds the record as it is, which is JSON only in the file."""
    return Document({_RECORD: record}, key)


class TransactionStorage(Storage):
    """The tables of a state file that was read; documents that nobody changes stay undecoded.

    TinyDB's own storages write in place and know no lock: this one only keeps what TinyDB hands
    it, and `body` is what the transaction then writes atomically. Where the bytes of a large file
    were let go of, its VMs are their records: one more copy of it in memory would be the dearest
    thing that a command has.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        self._tables: dict[str, dict[str, Any]]
        if stored.tables is not None:
            self._tables = dict(stored.tables)
        elif stored.others:
            self._tables = dict(_RAW_TABLES.decode(stored.others))
            self._tables["vms"] = {str(key): vm for key, vm in stored.state.vms.items()}
        else:
            self._tables = dict(_RAW_TABLES.decode(stored.body))

    def read(self) -> dict[str, dict[str, Any]]:
        """The tables, as TinyDB asks for them."""
        return self._tables

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Keep TinyDB's tables; what is new in them as records, or as JSON."""
        for table in data.values():
            for key, found in table.items():
                if isinstance(found, dict):
                    record = found.get(_RECORD)
                    new = isinstance(record, Struct)
                    table[key] = record if new else Raw(msgspec.json.encode(found))
        self._tables = data

    def others(self) -> bytes:
        """The body without VMs, as `Stored` has it."""
        return msgspec.json.encode({**self._tables, "vms": {}})

    def body(self) -> Body:
        """The tables as JSON, the documents by their ids."""
        return Body({n: dict(sorted(t.items(), key=_id)) for n, t in self._tables.items()})


class Body:
    """A body in pieces, made anew each time that they are asked for."""

    def __init__(self, tables: dict[str, dict[str, Any]]) -> None:
        self._tables = tables

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; raises ValueError, TypeError for what is no JSON."""
        before = b"{"
        for name, table in self._tables.items():
            yield before + msgspec.json.encode(name) + b":{"
            before = b"},"
            comma = b""
            items = iter(table.items())
            while some := dict(itertools.islice(items, _AT_ONCE)):
                yield comma + msgspec.json.encode(some)[1:-1]
                comma = b","
        yield b"}}" if self._tables else b"{}"


def _id(item: tuple[str, Any]) -> int:
    return int(item[0])
