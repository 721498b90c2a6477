"""How an operation begins: its ids, its journal, and when none may begin."""

from __future__ import annotations

from tashictl.errors import NotPermitted
from tashictl.model.operation import Begun, Entry, Header
from tashictl.model.state import State
from tashictl.model.steps import batches
from tashictl.ops.execute import Ids
from tashictl.ops.ports import Journal, World


def refuse_stale(state: State) -> None:
    """Raise NotPermitted when a host has proved the database to be an old copy."""
    if state.meta.stale:
        raise NotPermitted(
            "E-OLD-DATABASE",
            "the database is an old copy: nothing may be changed",
            cause=state.meta.stale,
            hint="tashictl state restore with the newest backup",
        )


def create_journal(world: World, header: Header) -> Journal:
    """A journal that begins with the plan and its first batch: one write, made durable."""
    first = batches(header.plan, world.faults.split_at)[0]
    return new_journal(
        world,
        header,
        Begun(at=header.started, attempt=1, host=first.host, steps=first.indexes),
    )


def new_journal(world: World, header: Header, *entries: Entry) -> Journal:
    """Create a journal for an operation whose id the database has just given out.

    A journal of that id that is there was never recorded, or the database is an old copy. Where
    nothing in it was ever answered, nothing came of it and it makes room; else raises NotPermitted.
    """
    left = world.journals.read(header.id)
    if left is not None:
        if left.alive or any(not isinstance(e, Begun) for e in left.entries):
            raise NotPermitted(
                "E-OLD-DATABASE",
                "the database is an old copy: nothing may be changed",
                cause=f"journal {header.id} is newer: {left.header.target}",
                hint="tashictl state restore with the newest backup",
            )
        world.journals.discard(header.id)
    return world.journals.create(header, *entries)


def ids_of(state: State, operation: int, generation: int) -> Ids:
    """What the scripts of an operation carry."""
    return Ids(
        operation=operation,
        epoch=state.meta.epoch,
        counter=max(state.meta.last_operation_id, operation),
        generation=generation,
    )
