"""TinyDB's storage for one transaction: the tables in memory, the file is read and written once."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw
from tinydb.storages import Storage

from tashictl.adapters.store.form import Stored

_RAW_TABLES = msgspec.json.Decoder(dict[str, dict[str, Raw]])


class TransactionStorage(Storage):
    """The tables of a state file that was read; documents that nobody changes stay undecoded.

    TinyDB's own storages write in place and know no lock: this one only keeps what TinyDB hands
    it, and `body` is what the transaction then writes atomically.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        self._tables: dict[str, dict[str, Any]] = (
            dict(stored.tables)
            if stored.tables is not None
            else dict(_RAW_TABLES.decode(stored.body))
        )

    def read(self) -> dict[str, dict[str, Any]]:
        """The tables, as TinyDB asks for them."""
        return self._tables

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Keep TinyDB's tables, what is new in them as JSON."""
        for table in data.values():
            for key, document in table.items():
                if not isinstance(document, Raw):
                    table[key] = Raw(msgspec.json.encode(document))
        self._tables = data

    def body(self) -> bytes:
        """The tables as JSON, the documents by their ids; raises ValueError, TypeError."""
        ordered = {n: dict(sorted(table.items(), key=_id)) for n, table in self._tables.items()}
        return msgspec.json.encode(ordered)


def _id(item: tuple[str, Any]) -> int:
    return int(item[0])
