"""How an operation begins: its ids, its journal, and when none may begin."""

from __future__ import annotations

from contextlib import ExitStack

from msgspec import Struct

from tashictl.errors import NotPermitted
from tashictl.model.operation import Begun, Entry, Header
from tashictl.model.state import State
from tashictl.model.steps import Plan, batches
from tashictl.model.vm import OperationKind, OperationRef, Vm
from tashictl.ops import answers
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution, Ids
from tashictl.ops.ports import Journal, Transaction, World


def refuse_stale(state: State) -> None:
    """Raise NotPermitted when a host has proved the database to be an old copy."""
    if state.meta.stale:
        raise old_database(state.meta.stale)


def old_database(cause: str) -> NotPermitted:
    """The error for a database that a host, or a journal, proves to be an old copy."""
    return NotPermitted(
        "E-OLD-DATABASE",
        "the database is an old copy: nothing may be changed",
        cause=cause,
        hint=answers.OLD_DATABASE_HINT,
    )


class Opening(Struct, frozen=True, kw_only=True):
    """What an operation begins with; `vm` as in the journal's header."""

    operation: OperationRef
    target: str
    plan: Plan
    vm: Vm | None = None


def new_operation(world: World, tx: Transaction, kind: OperationKind) -> OperationRef:
    """An operation that begins now, with an id that was never used."""
    started = iso(world.clock.now())
    return OperationRef(id=tx.next_operation_id(), kind=kind, started=started)


def open_operation(
    world: World, context: Context, tx: Transaction, opening: Opening, stack: ExitStack
) -> Execution:
    """Write the plan and its first batch into a journal, which `stack` closes: one durable write.

    Raises NotPermitted when the database is an old copy.
    """
    operation, state = opening.operation, tx.state
    refuse_stale(state)
    header = Header(
        id=operation.id,
        kind=operation.kind,
        target=opening.target,
        actor=world.who.controller(),
        started=operation.started,
        epoch=state.meta.epoch,
        plan=opening.plan,
        vm=opening.vm,
    )
    first = batches(header.plan, world.faults.split_at)[0]
    begun = Begun(at=header.started, attempt=1, host=first.host, steps=first.indexes)
    journal = new_journal(world, header, begun)
    stack.callback(journal.close)
    generation = opening.vm.generation if opening.vm is not None else 0
    execution = Execution(world, context, journal, ids_of(state, operation.id, generation))
    execution.unsent.update(first.indexes)
    return execution


def new_journal(world: World, header: Header, *entries: Entry) -> Journal:
    """Create a journal for an operation whose id the database has just given out.

    A journal of that id that is there was never recorded, or the database is an old copy. Where
    nothing in it was ever answered, nothing came of it and it makes room; else raises NotPermitted.
    """
    left = world.journals.read(header.id)
    if left is not None:
        if left.alive or any(not isinstance(e, Begun) for e in left.entries):
            raise old_database(f"journal {header.id} is newer: {left.header.target}")
        world.journals.discard(header.id)
    return world.journals.create(header, *entries)


def ids_of(state: State, operation: int, generation: int) -> Ids:
    """What the scripts of an operation carry."""
    return Ids(
        operation=operation,
        epoch=state.meta.epoch,
        generation=generation,
    )
