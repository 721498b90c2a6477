"""Operations that were interrupted: look at them, finish them, or take them back."""

from __future__ import annotations

from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Conflict, NoSuchTarget, StepFailed, TashiError
from tashictl.model.operation import Begun, Ended, Header, JournalView, Operation, Status, view
from tashictl.model.state import State
from tashictl.model.steps import AwaitQmp, Plan
from tashictl.model.vm import OperationKind, Vm, Wanted
from tashictl.ops import finish, host_remove, powering
from tashictl.ops.begin import ids_of
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution
from tashictl.ops.ports import Journal, World
from tashictl.planning import adopt as adopt_plan
from tashictl.planning import create as create_plan
from tashictl.planning import destroy as destroy_plan
from tashictl.planning import power
from tashictl.planning import start as start_plan

_NOT_UP = "E-STARTQEMU"  # QEMU ran not, and does not now


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of an interrupted operation; `vm` is its record now, None when it is gone."""

    operation: int
    vm: Vm | None
    status: Status


def settle(world: World, context: Context, vm_id: int) -> Outcome | None:
    """Finish or take back what was interrupted on a VM, by the direction of its kind.

    A create or start goes on when QEMU answers (then its pivot was passed), else back; an adopt
    goes back until its pivot was passed; a destroy goes on. None when nothing was interrupted.
    Raises Conflict while the operation runs.
    """
    with ExitStack() as stack:
        stack.enter_context(world.locks.vm(vm_id))
        taken = _take(world, context, vm_id, stack)
        if taken is None:
            return None
        execution, vm, plan = taken
        if powering.concerns(vm):
            return _put_right(execution, powering.settle(execution, vm, plan))
        if vm.operation is not None and vm.operation.kind is OperationKind.DESTROY:
            return _on(execution, vm, plan)
        if finish.is_adopted(vm) and not execution.journal.view.pivoted:
            return _back(execution, vm, plan, "interrupted")  # that its QEMU answers is no wonder
        wanted = vm.wanted is not Wanted.ABSENT
        if wanted and (execution.journal.view.pivoted or _answers(execution, plan)):
            return _on_or_back(execution, vm, plan)
        return _back(execution, vm, plan, finish.INTERRUPTED)


def settle_first(world: World, context: Context, vm: Vm) -> None:
    """Finish or take back what was interrupted on a VM that is about to be changed, and say so.

    What still runs is left alone: it holds the VM's lock.
    """
    if vm.operation is None:
        return
    journal = world.journals.read(vm.operation.id)
    if journal is not None and journal.alive:
        return
    outcome = settle(world, context, vm.id)
    if outcome is not None:
        became = "was finished" if outcome.status is Status.DONE else "was taken back"
        kind = vm.operation.kind.value
        world.report.note(f"{kind} {vm.name} ({outcome.operation}) was interrupted: it {became}")


def resume(world: World, context: Context, operation_id: int) -> Outcome:
    """Finish an interrupted operation: all its steps once more, each finding what is done.

    A create that was going back already goes on going back.
    """
    if host_remove.interrupted(world, operation_id) is not None:
        host_remove.resume(world, context, operation_id)
        return Outcome(operation=operation_id, vm=None, status=Status.DONE)
    with ExitStack() as stack:
        execution, vm, plan = _take_operation(world, context, operation_id, stack)
        if powering.concerns(vm):
            return _put_right(execution, powering.resume(execution, vm, plan))
        creates = vm.operation is not None and vm.operation.kind is OperationKind.CREATE
        if creates and vm.wanted is Wanted.ABSENT:
            return _back(execution, vm, plan, "undone")
        if _starts(vm):
            return _start_on(execution, vm, plan)
        if finish.is_adopted(vm) and len(plan) == 1:
            return _back(execution, vm, plan, "its journal was lost")
        return _on(execution, vm, plan)


def undo(world: World, context: Context, operation_id: int) -> Outcome:
    """Take an interrupted operation back; raises Conflict where its kind only goes on."""
    _refuse_undo_of_removal(world, operation_id)
    with ExitStack() as stack:
        execution, vm, plan = _take_operation(world, context, operation_id, stack)
        _refuse_undo(vm, execution.journal.view, operation_id)
        if powering.concerns(vm):
            return _put_right(execution, powering.settle(execution, vm, plan))
        return _back(execution, vm, plan, "undone on request")


def may_resume(world: World, operation_id: int) -> None:
    """Raise what `resume` would raise before it sends anything, without taking a lock."""
    if host_remove.interrupted(world, operation_id) is None:
        _waiting(world, operation_id)


def may_undo(world: World, operation_id: int) -> None:
    """Raise what `undo` would raise before it sends anything, without taking a lock."""
    _refuse_undo_of_removal(world, operation_id)
    vm = _waiting(world, operation_id)
    _refuse_undo(vm, world.journals.read(operation_id), operation_id)


def _waiting(world: World, operation_id: int) -> Vm:
    vm = _interrupted(world, operation_id)
    journal = world.journals.read(operation_id)
    if journal is not None and journal.alive:
        raise _not_interrupted(operation_id, "running")
    return vm


def _refuse_undo_of_removal(world: World, operation_id: int) -> None:
    journal = host_remove.interrupted(world, operation_id)
    if journal is not None:
        name = journal.header.target
        raise Conflict(
            "E-FORWARD",
            f"operation {operation_id} removes {name}: it only goes on",
            hint=f"tashictl op resume {operation_id}, or tashictl host add {name} to keep it",
        )


def _refuse_undo(vm: Vm, journal: JournalView | None, operation_id: int) -> None:
    if powering.concerns(vm):
        powering.refuse_undo(vm, journal is not None and journal.pivoted, operation_id)
        return
    if vm.operation is not None and vm.operation.kind is OperationKind.DESTROY:
        raise Conflict(
            "E-FORWARD",
            f"operation {operation_id} destroys {vm.name}: it only goes on",
            hint=f"tashictl op resume {operation_id}",
        )
    if journal is not None and journal.pivoted:
        raise Conflict(
            "E-FORWARD",
            f"{vm.name} runs already: operation {operation_id} only goes on",
            hint=f"tashictl op resume {operation_id}, then tashictl vm destroy {vm.name}",
        )


def listing(world: World, ended: bool) -> list[Operation]:
    """The operations in flight or interrupted, and with `ended` all whose journals are kept."""
    state = world.store.read()
    found = {vm.operation.id: _unwritten(vm) for vm in state.vms.values() if vm.operation}
    for operation_id in world.journals.ids():
        journal = world.journals.read(operation_id)
        if journal is not None:
            found[operation_id] = _shown(journal, state)
    shown = [found[operation_id] for operation_id in sorted(found)]
    return [o for o in shown if ended or o.status in (Status.RUNNING, Status.INTERRUPTED)]


def show(world: World, operation_id: int) -> Operation:
    """One operation with its steps; raises NoSuchTarget."""
    journal, state = world.journals.read(operation_id), world.store.read()
    if journal is not None:
        return _shown(journal, state)
    holder = _holder(state, operation_id)
    if holder is None:
        raise _no_such(operation_id)
    return _unwritten(holder)


def _unwritten(vm: Vm) -> Operation:
    """The operation of a VM, as the database knows it: its journal was lost."""
    assert vm.operation is not None
    return Operation(
        id=vm.operation.id,
        kind=vm.operation.kind.value,
        target=vm.name,
        status=Status.INTERRUPTED,
        actor="",
        started=vm.operation.started,
        ended=None,
        steps=(),
        reason="its journal was lost",
    )


def _shown(journal: JournalView, state: State) -> Operation:
    """A journal whose end was lost, while the database has the outcome, is shown as done."""
    shown = view(journal)
    if shown.status is not Status.INTERRUPTED:
        return shown
    if journal.header.kind is OperationKind.HOST_REMOVE:
        there = journal.header.target in state.hosts
        return shown if there else replace(shown, status=Status.DONE)
    if _holder(state, journal.header.id) is None:
        return replace(shown, status=Status.DONE if journal.pivoted else Status.UNDONE)
    return shown


def _holder(state: State, operation_id: int) -> Vm | None:
    for vm in state.vms.values():
        if vm.operation is not None and vm.operation.id == operation_id:
            return vm
    return None


def _interrupted(world: World, operation_id: int) -> Vm:
    vm = _holder(world.store.read(), operation_id)
    if vm is not None:
        return vm
    journal = world.journals.read(operation_id)
    if journal is None:
        raise _no_such(operation_id)
    raise _not_interrupted(operation_id, "running" if journal.alive else "ended")


def _not_interrupted(operation_id: int, status: str) -> Conflict:
    return Conflict(
        "E-NOT-INTERRUPTED",
        f"operation {operation_id} is {status}, not interrupted",
        hint=f"tashictl op show {operation_id}",
    )


def _no_such(operation_id: int) -> NoSuchTarget:
    return NoSuchTarget("E-NO-OP", f"no operation {operation_id}", hint="tashictl op list --all")


Taken = tuple[Execution, Vm, Plan]


def _take_operation(world: World, context: Context, operation_id: int, stack: ExitStack) -> Taken:
    vm = _interrupted(world, operation_id)
    stack.enter_context(world.locks.vm(vm.id))
    taken = _take(world, context, vm.id, stack)
    if taken is None or taken[0].ids.operation != operation_id:
        raise Conflict("E-CHANGED", f"operation {operation_id} has ended meanwhile")
    return taken


def _take(world: World, context: Context, vm_id: int, stack: ExitStack) -> Taken | None:
    """Take over the interrupted operation of a VM whose lock is held; the attempt is raised."""
    state = world.store.read()
    vm = state.vms.get(vm_id)
    if vm is None or vm.operation is None:
        return None
    journal = world.journals.reopen(vm.operation.id) or _lost(world, context, state, vm)
    stack.callback(journal.close)
    execution = Execution(world, context, journal, ids_of(state, vm.operation.id, vm.generation))
    execution.raise_attempt()
    stack.enter_context(world.locks.host_shared(vm.host or ""))
    return execution, vm, journal.view.header.plan


def _lost(world: World, context: Context, state: State, vm: Vm) -> Journal:
    """A journal for an operation whose own was lost: all its steps may have been done."""
    operation = vm.operation
    assert operation is not None
    if operation.kind is OperationKind.DESTROY:
        plan = destroy_plan.plan(vm, context.settings, context.inventory.networks)
    elif operation.kind in powering.KINDS:
        networks = context.inventory.networks
        plan = power.plan(vm, operation.kind, context.settings, networks, power.SHUTDOWN_TIMEOUT_S)
    elif operation.kind is OperationKind.ADOPT:
        plan = adopt_plan.begin(vm, context.settings)
    else:
        host = context.host(state, vm.host or "")
        planned = start_plan.plan if _starts(vm) else create_plan.plan
        plan = planned(
            vm, host, context.inventory.networks, context.settings, context.ifup_of(host.name)
        )
    header = Header(
        id=operation.id,
        kind=operation.kind,
        target=vm.name,
        actor=world.who.controller(),
        started=operation.started,
        epoch=state.meta.epoch,
        plan=plan,
        vm=vm,
    )
    begun = Begun(
        at=iso(world.clock.now()),
        # How many attempts the lost journal had counted is not known, and this one may be lost as
        # well: the time outranks them all.
        attempt=int(world.clock.now().timestamp()),
        host=vm.host or "",
        steps=tuple(range(len(plan))),
    )
    return world.journals.create(header, begun)


def _answers(execution: Execution, plan: Plan) -> bool:
    """Whether the VM's QEMU answers: only reading, so that a refusal costs nothing."""
    world = execution.world
    for step in plan:
        if isinstance(step, AwaitQmp):
            deadline_s = (
                world.clock.monotonic_s() + execution.context.settings.tashictl.connect_timeout_s
            )
            config = execution.context.config(step.host)
            try:
                stream = world.remote.open_stream(config, step.socket, deadline_s)
                try:
                    return world.qmp.hello(stream, step.uuid, deadline_s) == "running"
                finally:
                    stream.close()
            except TashiError:
                return False
    return False


def _on(execution: Execution, vm: Vm, plan: Plan) -> Outcome:
    operation = execution.ids.operation
    if vm.operation is not None and vm.operation.kind is OperationKind.DESTROY:
        finish.only_forward(execution, vm, plan)
        return Outcome(operation=operation, vm=None, status=Status.DONE)
    execution.forward(plan)
    done = finish.running(execution, vm)
    return Outcome(operation=operation, vm=done, status=Status.DONE)


def _on_or_back(execution: Execution, vm: Vm, plan: Plan) -> Outcome:
    """Go on; but a VM that ran before goes back where its host finds that its QEMU has ended."""
    try:
        return _on(execution, vm, plan)
    except StepFailed as error:
        if not _starts(vm) or error.code != _NOT_UP:
            raise
        return _back(execution, vm, plan, error.what)


def _start_on(execution: Execution, vm: Vm, plan: Plan) -> Outcome:
    """Do a start once more; one that fails goes back as the first one would have done, and raises.

    Past its pivot only the proof that QEMU has ended takes it back.
    """
    pivoted = execution.journal.view.pivoted
    try:
        return _on(execution, vm, plan)
    except StepFailed as error:
        if pivoted and error.code != _NOT_UP:
            raise
        finish.go_back(execution, vm, plan, error)


def _starts(vm: Vm) -> bool:
    return vm.operation is not None and vm.operation.kind is OperationKind.START


def _put_right(execution: Execution, vm: Vm | None) -> Outcome:
    ended = execution.journal.view.ended
    status = ended.status if ended is not None else Status.DONE
    return Outcome(operation=execution.ids.operation, vm=vm, status=status)


def _back(execution: Execution, vm: Vm, plan: Plan, reason: str) -> Outcome:
    world = execution.world
    undo_plan = create_plan.undo(plan, execution.journal.view.begun)
    execution.backward(undo_plan)
    with world.store.transaction() as tx:
        finish.taken_back(tx, vm, reason)
        finish.keep_answered(tx, execution, plan)
        finish.met(tx, vm.host, execution.ids.operation, iso(world.clock.now()))
    finish.forget_seed(world, vm)
    execution.journal.note(Ended(at=iso(world.clock.now()), status=Status.UNDONE, reason=reason))
    world.locks.forget_vm(vm.id)
    left = world.store.read().vms.get(vm.id)
    return Outcome(operation=execution.ids.operation, vm=left, status=Status.UNDONE)
