"""How an operation ends: done, undone, or left for recovery with everything said."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import NoReturn

from msgspec.structs import replace

from tashictl.errors import (
    Conflict,
    Interrupted,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.operation import Ended, Status, UndoPlanned
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import Observed, OperationKind, Seen, Vm, Wanted
from tashictl.ops import seeding
from tashictl.ops.context import iso, may_begin_s
from tashictl.ops.execute import Execution, lock_wait_s
from tashictl.ops.ports import Journal, Transaction, World
from tashictl.planning import create as create_plan
from tashictl.planning import drift, ports, quarantine

PORT_TAKEN = "E-CHECKPORT"
INTERRUPTED = "interrupted"  # why an operation is taken back whose process ended before it did
_KEPT_JOURNALS = 200  # of operations that have ended
_SLACK_S = 60.0
_PRUNE_EVERY = 50  # operations: to look at all journals costs more than to let some more lie


def taken_back(tx: Transaction, vm: Vm, reason: str) -> None:
    """A failed `vm create` leaves no record; one that was scheduled later is Held (Tashi).

    A VM that was to be started again stays as it was, with its disks. If it ended with its host and
    the start did not fail but was interrupted, the reason stays too: it is still to be restarted.
    """
    if _has_disks(vm):
        waits = reason == INTERRUPTED and (vm.reason or "").startswith(drift.REBOOTED)
        said = vm.reason if waits else f"not started: {reason}"
        tx.put_vm(replace(vm, operation=None, reason=said))
        return
    if not _was_waiting(vm):
        tx.remove_vm(vm.id)
        return
    tx.put_vm(
        replace(
            vm,
            wanted=Wanted.RUNNING,
            host=None,
            operation=None,
            held=True,
            reason=reason,
            observed=Observed(),
            spec=replace(vm.spec, machine=None),
        )
    )


def forget_seed(world: World, vm: Vm) -> None:
    """After a VM was taken back: one that waits again, Held, will need its seed."""
    if not _was_waiting(vm):
        seeding.forget(world, vm)


def running(execution: Execution, vm: Vm) -> Vm:
    """Record that the VM runs, and end the operation."""
    world = execution.world
    now = iso(world.clock.now())
    runs = execution.data.get("status", "running") == "running"  # an adopted one may be paused
    done = replace(
        vm,
        wanted=Wanted.RUNNING if runs else Wanted.PAUSED,
        operation=None,
        reason=None,
        started=now,
        pid=_number(execution.data.get("pid")),
        observed=Observed(
            what=Seen.RUNNING if runs else Seen.PAUSED,
            at=now,
            boot_id=execution.data.get("boot_id"),
            generation=vm.generation,
        ),
    )
    # A seed may only be forgotten when the record can no more come back as one that needs it.
    lasting = world.store.transaction if vm.spec.seed else world.store.closing_transaction
    with lasting() as tx:
        still_ours(tx.state, vm)
        tx.put_vm(done)
        met(tx, vm.host, execution.ids.operation, now)
    seeding.forget(world, vm)
    end(execution, Status.DONE, "")
    return done


def go_back_or_on(execution: Execution, vm: Vm, plan: Plan, error: BaseException) -> None:
    """After a failure of a create: past the pivot return, to go on; else undo and raise."""
    if execution.journal.view.pivoted and not isinstance(error, KeyboardInterrupt):
        return
    if execution.journal.view.pivoted:
        running(execution, vm)
        raise Interrupted("E-INTERRUPTED", f"interrupted; {vm.name} runs already")
    go_back(execution, vm, plan, error)


def go_back(execution: Execution, vm: Vm, plan: Plan, error: BaseException) -> NoReturn:
    """Undo what was begun and raise `error`; what cannot be confirmed stays, recorded."""
    world, journal = execution.world, execution.journal
    reason = _said(error) if isinstance(error, TashiError) else "interrupted by Ctrl-C"
    begun = [i for i in journal.view.begun if i not in execution.unsent]
    undo = create_plan.undo(plan, begun)
    try:
        journal.commit(UndoPlanned(at=iso(world.clock.now()), plan=undo, reason=reason))
        if undo:
            world.report.note(f"{vm.name}: going back")
            execution.raise_attempt()
            execution.backward(undo)
    except (TashiError, KeyboardInterrupt) as second:
        _leave(execution, vm, reason, second)
        raise _with_leftovers(error, vm, second) from second
    with world.store.transaction() as tx:
        still_ours(tx.state, vm)
        taken_back(tx, vm, reason)
        if isinstance(error, TashiError) and error.code == PORT_TAKEN:
            _note_port(tx, vm)
        if any(step.scripted for step in undo):
            met(tx, vm.host, execution.ids.operation, iso(world.clock.now()))
        elif isinstance(error, Unreachable) and error.host == vm.host:
            missed(tx, vm.host, execution.ids.operation)
        else:  # the host refused it, or was not asked at all
            _saw(tx, vm.host, execution.ids.operation)
    forget_seed(world, vm)
    end(execution, Status.UNDONE, reason)
    world.locks.forget_vm(vm.id)
    if isinstance(error, Uncertain):  # it is certain now: nothing is left of it
        raise OperationFailed(
            error.code, f"{error.what}: {_named(vm)} was undone", cause=error.cause, host=error.host
        ) from error
    if isinstance(error, TashiError):
        raise error
    raise Interrupted("E-INTERRUPTED", f"interrupted; {_named(vm)} was undone")


def _note_port(tx: Transaction, vm: Vm) -> None:
    """The next VM that is placed there takes another port; a look at the host says it anew."""
    record = tx.state.hosts.get(vm.host or "")
    if record is not None and record.facts is not None:
        tx.put_host(replace(record, facts=ports.with_taken(record.facts, vm)))


def only_forward(execution: Execution, vm: Vm, plan: Plan) -> None:
    """Carry out a destroy and remove the record; on a failure record what is left and raise."""
    if vm.operation is not None and vm.operation.id != execution.ids.operation:
        execution.raise_attempt()  # a script of what we supersede may hold the host's lock still
    try:
        execution.forward(plan)
    except (TashiError, KeyboardInterrupt) as error:
        _leave(execution, vm, str(error) or "interrupted by Ctrl-C", error)
        operation = execution.ids.operation
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "E-INTERRUPTED",
                f"interrupted; {vm.name} is not gone yet",
                hint=f"tashictl op resume {operation}",
            ) from error
        error.leftovers = (*error.leftovers, *_left(vm, operation))
        raise
    gone(execution, vm)


def gone(execution: Execution, vm: Vm) -> None:
    """Remove the record of a VM of which nothing is left, and end the operation."""
    world, context = execution.world, execution.context
    with world.store.closing_transaction() as tx:
        still_ours(tx.state, vm, execution.ids.operation)
        tx.remove_vm(vm.id)
        for kept in quarantine.resting(
            vm, context.inventory.networks, context.settings, world.clock.now()
        ):
            tx.put_quarantine(kept)
        met(tx, vm.host, execution.ids.operation, iso(world.clock.now()))
    seeding.forget(world, vm)
    end(execution, Status.DONE, "")
    world.locks.forget_vm(vm.id)


def note_reason(execution: Execution, vm: Vm, reason: str) -> None:
    """Keep the operation on the record, with why it stands."""
    with execution.world.store.transaction() as tx:
        tx.put_vm(replace(still_ours(tx.state, vm, execution.ids.operation), reason=reason))


def take_old(world: World, vm: Vm, stack: ExitStack) -> Journal | None:
    """The journal of an operation that was interrupted on a VM whose lock is held; None without.

    Raises NotPermitted for a journal of an unknown version: it is not guessed at.
    """
    journal = world.journals.reopen(vm.operation.id) if vm.operation is not None else None
    if journal is not None:
        stack.callback(journal.close)
    return journal


def supersede(world: World, old: Journal | None) -> None:
    """End the journal of an operation in whose place the destroy is recorded now."""
    if old is not None and old.view.ended is None:
        now = iso(world.clock.now())
        old.note(Ended(at=now, status=Status.UNDONE, reason="superseded by destroy"))


def end(execution: Execution, status: Status, reason: str) -> None:
    """Write down how the operation ended; now and then old journals go.

    Those stay whose scripts may still arrive somewhere: `host remove` waits for them.
    """
    world, ours = execution.world, execution.context.settings.tashictl
    if execution.ids.operation % _PRUNE_EVERY == 0:
        longest_s = may_begin_s(ours, lock_wait_s(ours, 2)) + _SLACK_S
        before = iso(world.clock.now() - timedelta(seconds=longest_s))
        world.journals.prune(_KEPT_JOURNALS, before)
    execution.journal.note(Ended(at=iso(world.clock.now()), status=status, reason=reason))


def _leave(execution: Execution, vm: Vm, reason: str, error: BaseException) -> None:
    """Keep name, address and claim until the host has been asked: a tombstone."""
    world = execution.world
    now = iso(world.clock.now())
    with world.store.transaction() as tx:
        current = tx.state.vms.get(vm.id)
        if current is None or current.operation is None:
            return
        if current.operation.id == execution.ids.operation:
            # One that was scheduled, or has run before, is still wanted when it is taken back.
            stays = _was_waiting(current) or _has_disks(current) or is_adopted(current)
            tx.put_vm(
                replace(
                    current,
                    wanted=current.wanted if stays else Wanted.ABSENT,
                    reason=reason,
                    # Until its start is taken back the operation says that nobody knows.
                    observed=vm.observed if _has_disks(current) else _unknown(vm, now),
                )
            )
        if isinstance(error, Unreachable):
            missed(tx, error.host, execution.ids.operation)


def _unknown(vm: Vm, now: str) -> Observed:
    if vm.observed.what is Seen.UNKNOWN and vm.observed.at is not None:
        return vm.observed
    return Observed(what=Seen.UNKNOWN, at=now)


def is_adopted(vm: Vm) -> bool:
    """Whether its operation takes in a QEMU that runs: that is never ended with it."""
    return vm.operation is not None and vm.operation.kind is OperationKind.ADOPT


def _named(vm: Vm) -> str:
    if is_adopted(vm):
        return f"the adoption of {vm.name}"
    return f"the start of {vm.name}" if _has_disks(vm) else vm.name


def _left(vm: Vm, operation: int) -> tuple[str, ...]:
    return (
        f"{vm.name} on {vm.host}: its QEMU, TAPs and folder may be there; name and claim are kept"
        f"   tashictl op resume {operation}",
    )


def _with_leftovers(error: BaseException, vm: Vm, second: BaseException) -> TashiError:
    shown = error if isinstance(error, TashiError) else None
    operation = vm.operation.id if vm.operation else 0
    left = (
        f"{vm.name} on {vm.host}: what was begun may be there ({second})"
        f"   tashictl op undo {operation}",
    )
    if shown is None:
        return Interrupted(
            "E-INTERRUPTED", f"interrupted; {_named(vm)} is not undone", leftovers=left
        )
    shown.leftovers = (*shown.leftovers, *left)
    return shown


def still_ours(state: State, vm: Vm, operation: int | None = None) -> Vm:
    """The record now; raises Conflict when another operation took it over meanwhile."""
    current = state.vms.get(vm.id)
    ours = operation if operation is not None else (vm.operation.id if vm.operation else None)
    if current is None or current.operation is None or current.operation.id != ours:
        raise Conflict(
            "E-TAKEN-OVER",
            f"{vm.name} was taken over by another operation",
            hint=f"tashictl vm show {vm.id}",
        )
    return current


def met(tx: Transaction, host: str | None, operation: int, now: str) -> None:
    """Record that a host answered, and the operation that it has seen."""
    _saw(tx, host, operation, up=True, last_contact=now)


def missed(tx: Transaction, host: str | None, operation: int) -> None:
    """Record that a host did not answer; whether it saw the operation is not known."""
    _saw(tx, host, operation, up=False)


def _saw(tx: Transaction, host: str | None, operation: int, **changes: object) -> None:
    record = tx.state.hosts.get(host or "")
    if record is not None:
        seen = max(record.seen_operation, operation)
        tx.put_host(replace(record, seen_operation=seen, **changes))


def _was_waiting(vm: Vm) -> bool:
    return vm.operation is not None and vm.operation.hold


def _has_disks(vm: Vm) -> bool:
    """Whether its operation starts it once more: then nothing of it is removed with the start."""
    return vm.operation is not None and vm.operation.kind is OperationKind.START


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _said(error: TashiError) -> str:
    """An error as one line: the fact and, in the host's own words, the cause."""
    return f"{error.what}: {'; '.join(error.cause.splitlines())}" if error.cause else error.what
