"""Schema upgrades: pure functions from the tables of schema n to those of n + 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tashictl.model.state import MIN_WRITER, STATE_SCHEMA

Tables = dict[str, dict[str, Any]]
"""Table name to document id to document, as plain JSON values."""

Upgrade = Callable[[Tables], Tables]


class Ladder(Struct, frozen=True, kw_only=True):
    """The schema that this version writes, and the steps up to it from older ones.

    `min_writer` is the oldest schema whose versions may still write what this one wrote.
    `upgrades[n]` leads from schema n to n + 1.
    """

    schema: int
    min_writer: int
    upgrades: dict[int, Upgrade] = {}

    def reaches_from(self, schema: int) -> bool:
        """Whether every step from `schema` up to ours is known."""
        return all(step in self.upgrades for step in range(schema, self.schema))

    def climb(self, tables: Tables, schema: int) -> Tables:
        """Upgrade `tables` from `schema` to ours; `reaches_from` must hold."""
        for step in range(schema, self.schema):
            tables = self.upgrades[step](tables)
        return tables


def _from_1(tables: Tables) -> Tables:
    """2 added optional fields (a VM's seed, a nic's forwarded port) and kinds of operations."""
    return tables


def _from_2(tables: Tables) -> Tables:
    """3 added the quarantine of addresses, which an older version would give out."""
    return {**tables, "quarantine": {}}


def _from_3(tables: Tables) -> Tables:
    """4 added what waits for a server of names, which an older version would forget."""
    return {**tables, "deferred": {}}


LADDER = Ladder(
    schema=STATE_SCHEMA,
    min_writer=MIN_WRITER,
    upgrades={1: _from_1, 2: _from_2, 3: _from_3},
)
