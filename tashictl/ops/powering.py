"""How a power operation is carried out, ends, and is recovered.

Pause and unpause go on: QEMU is told again, which changes nothing where it is done. A reset that
was interrupted is not repeated unasked. A shutdown goes back (the guest goes on) until its QEMU has
ended by itself; then it only goes on, and removes what is left, as Tashi does with a VM that exits.
"""

from __future__ import annotations

from msgspec.structs import replace

from tashictl.errors import (
    Conflict,
    Interrupted,
    OperationFailed,
    StepFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.operation import Status, StepEnded
from tashictl.model.steps import AwaitExit, Plan, PressPowerButton, QmpCommand
from tashictl.model.vm import Observed, OperationKind, Vm
from tashictl.ops import finish, monitor
from tashictl.ops.context import iso
from tashictl.ops.execute import Execution
from tashictl.ops.ports import Transaction
from tashictl.planning import power

KINDS = frozenset({*power.ACTS, OperationKind.SHUTDOWN})


def concerns(vm: Vm) -> bool:
    """Whether the VM's operation is one of power."""
    return vm.operation is not None and vm.operation.kind in KINDS


def carry_out(execution: Execution, vm: Vm, plan: Plan) -> Vm | None:
    """Do all of it; the VM's record then, None when it is gone.

    Raises what went wrong: the VM is as before, or the operation stays and the error says so.
    """
    try:
        execution.forward(plan)
    except (TashiError, KeyboardInterrupt) as error:
        over = _end_badly(execution, vm, error)
        raise _told(execution, vm, error, over) from error
    return _end_well(execution, vm)


def settle(execution: Execution, vm: Vm, plan: Plan) -> Vm | None:
    """Put an interrupted operation right, by the direction of its kind; raises what hinders it."""
    kind = _kind(vm)
    if kind in (OperationKind.PAUSE, OperationKind.UNPAUSE):
        try:
            execution.forward(plan)
        except TashiError as error:
            if not monitor.is_silence(error):
                raise
            return stand(execution, vm, Status.UNDONE, f"interrupted; {error.what}", None)
        return _end_well(execution, vm)
    if kind is OperationKind.RESET:
        return stand(execution, vm, Status.UNDONE, "interrupted: it may have been reset", None)
    if not execution.journal.view.pivoted and not _has_gone(execution, plan):
        return stand(execution, vm, Status.UNDONE, "interrupted: the guest may still go")
    execution.part(plan, range(1, len(plan)))
    return _end_well(execution, vm)


def resume(execution: Execution, vm: Vm, plan: Plan) -> Vm | None:
    """Do an interrupted operation once more; what is done already stays done."""
    if execution.journal.view.pivoted:
        return settle(execution, vm, plan)
    return carry_out(execution, vm, plan)


def refuse_undo(vm: Vm, pivoted: bool, operation: int) -> None:
    """Raise Conflict where there is no way back."""
    kind = _kind(vm)
    if kind in (OperationKind.PAUSE, OperationKind.UNPAUSE):
        what = f"operation {operation} is a {kind.value} of {vm.name}: it only goes on"
    elif kind is OperationKind.SHUTDOWN and pivoted:
        what = f"{vm.name} has shut down: operation {operation} only goes on"
    else:
        return
    raise Conflict("E-FORWARD", what, hint=f"tashictl op resume {operation}")


def _has_gone(execution: Execution, plan: Plan) -> bool:
    """Whether the guest's QEMU has ended; scripts that were sent before are fenced off."""
    press, wait = plan[:2]
    assert isinstance(press, PressPowerButton) and isinstance(wait, AwaitExit)
    status = monitor.status_of(
        execution.world, execution.context, press.host, press.socket, press.uuid
    )
    if status is not None and 1 not in execution.journal.view.begun:
        return False
    if status is None:
        execution.part(plan, range(1, 2))  # raises where it cannot be shown to have ended
        return True
    try:
        execution.part((press, replace(wait, wait_s=0), *plan[2:]), range(1, 2))
    except StepFailed:
        return False
    return True


def stand(execution: Execution, vm: Vm, status: Status, reason: str, up: bool | None = True) -> Vm:
    """Record that the VM is as it was; `up`: whether its host answered, None: nobody knows."""
    world = execution.world
    with world.store.closing_transaction() as tx:
        current = finish.still_ours(tx.state, vm, execution.ids.operation)
        left = replace(current, operation=None, reason=None)
        tx.put_vm(left)
        _contact(execution, tx, up)
    finish.end(execution, status, reason)
    return left


def _end_badly(execution: Execution, vm: Vm, error: BaseException) -> bool:
    """Back to rest, and True, where it is known that nothing more comes; else it stays as it is."""
    over = _is_over(execution, vm, error)
    reason = str(error) or "interrupted by Ctrl-C"
    if over:
        up = None if monitor.may_be_qemu(error) else not isinstance(error, Unreachable)
        stand(execution, vm, Status.FAILED, reason, up)
    else:
        finish.note_reason(execution, vm, reason)
    return over


def _is_over(execution: Execution, vm: Vm, error: BaseException) -> bool:
    if execution.journal.view.pivoted or isinstance(error, Uncertain):
        return False
    if _is_shutdown(vm) and _was_pressed(execution):
        return False  # its QEMU has said goodbye: what is left is to be removed
    if isinstance(error, KeyboardInterrupt):
        return _is_shutdown(vm) and _still_runs(execution)
    return True


def _still_runs(execution: Execution) -> bool:
    """Whether the guest was asked by its button only, and its QEMU answers still."""
    plan, begun = execution.journal.view.header.plan, execution.journal.view.begun
    press = plan[0]
    if set(begun) - execution.unsent > {0} or not isinstance(press, PressPowerButton):
        return False
    world, context = execution.world, execution.context
    try:
        return monitor.status_of(world, context, press.host, press.socket, press.uuid) is not None
    except (TashiError, KeyboardInterrupt):
        return False


def _was_pressed(execution: Execution) -> bool:
    """Whether QEMU went after its button was pressed; one that nobody reached was not pressed."""
    entries = execution.journal.view.entries
    pressed = (e for e in entries if isinstance(e, StepEnded) and e.step == 0 and e.rc == 0)
    return any(e.data.get("pressed") != monitor.NEVER for e in pressed)


def _told(execution: Execution, vm: Vm, error: BaseException, over: bool) -> TashiError:
    operation = execution.ids.operation
    if isinstance(error, KeyboardInterrupt):
        if over:
            return Interrupted("E-INTERRUPTED", f"interrupted; the guest of {vm.name} may still go")
        what = f"interrupted; the {_kind(vm).value} of {vm.name} may be done"
        return Interrupted("E-INTERRUPTED", what, hint=f"tashictl op resume {operation}")
    assert isinstance(error, TashiError)
    if error.code == "E-SHUTDOWN-TIMEOUT":
        return OperationFailed(
            error.code,
            f"{vm.name}: {error.what}",
            cause=error.cause,
            hint=f"tashictl vm console --log {vm.name}   what it says\n"
            f"tashictl vm shutdown {vm.name} --timeout 600   to ask for longer\n"
            f"tashictl vm destroy {vm.name}   to end it without asking",
            host=error.host,
        )
    if error.code == monitor.SILENT:
        return OperationFailed(
            error.code,
            f"{vm.name}: {error.what}",
            cause=error.cause,
            hint=f"tashictl vm console --log {vm.name}   what its guest said last\n"
            f"tashictl vm destroy {vm.name}   to remove what is left of it",
            host=error.host,
        )
    if not over:
        error.hint = f"tashictl op resume {operation}"
        error.leftovers = (*error.leftovers, f"the {_kind(vm).value} of {vm.name} may be done")
    return error


def _end_well(execution: Execution, vm: Vm) -> Vm | None:
    if _is_shutdown(vm):
        finish.gone(execution, vm)
        return None
    act, world = power.ACTS[_kind(vm)], execution.world
    now = iso(world.clock.now())
    with world.store.closing_transaction() as tx:
        current = finish.still_ours(tx.state, vm, execution.ids.operation)
        seen = Observed(
            what=act.seen,
            at=now,
            boot_id=current.observed.boot_id,
            generation=current.observed.generation,
        )
        done = replace(current, wanted=act.wanted, observed=seen, operation=None, reason=None)
        tx.put_vm(done)
        _contact(execution, tx, True)
    finish.end(execution, Status.DONE, "")
    return done


def _contact(execution: Execution, tx: Transaction, up: bool | None) -> None:
    """A dialogue leaves no trace on the host; a script that was answered does."""
    plan, begun = execution.journal.view.header.plan, execution.journal.view.begun
    scripted = any(not isinstance(plan[i], QmpCommand | PressPowerButton) for i in begun)
    operation = execution.ids.operation if scripted else 0
    host, now = plan[0].host, iso(execution.world.clock.now())
    if up:
        finish.met(tx, host, operation, now)
    elif up is False:
        finish.missed(tx, host, operation)


def _is_shutdown(vm: Vm) -> bool:
    return _kind(vm) is OperationKind.SHUTDOWN


def _kind(vm: Vm) -> OperationKind:
    assert vm.operation is not None
    return vm.operation.kind
