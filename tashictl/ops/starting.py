"""Start a VM again on the host where its disks lie: one that has exited, by a person or a sweep.

It goes back until its QEMU answers, then only on, as a create does; but what it takes back is the
start alone. The record, the folder and the disks stay.
"""

from __future__ import annotations

from contextlib import ExitStack

from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, OperationRef, Seen, TashiState, Vm
from tashictl.ops import finish, monitor, power, recover
from tashictl.ops.begin import Opening, new_operation, open_operation, refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution
from tashictl.ops.ports import World
from tashictl.ops.vm import find, no_such_vm
from tashictl.planning import paths, start
from tashictl.planning import power as power_plan


def start_again(world: World, context: Context, name: str) -> Vm:
    """Start a VM that has exited; its record then, Running. One that runs already is no error.

    What was interrupted on it is put right first. Its claim stands, so capacity is not asked again.
    Raises Conflict for a state that does not allow it, Unreachable when the host does not answer;
    after any other failure the VM is Exited as before, with the reason, or the error says what is
    left.
    """
    found = find(world.store.read(), name)
    recover.settle_first(world, context, found)
    with ExitStack() as stack:
        stack.enter_context(world.locks.vm(found.id))
        current = world.store.read().vms.get(found.id)
        if current is None:
            raise no_such_vm(found.name)
        if current.host is not None:
            stack.enter_context(world.locks.host_shared(current.host))
        if start.is_done(current):
            current = replace(current, observed=power.looked_at(world, context, current))
        else:
            refused = start.refusal(current)
            if refused is not None:
                raise refused
            current = _asked(world, context, current)
        if current.state is not TashiState.Exited:
            return _as_it_is(world, current)
        execution, vm, plan = _claim(world, context, current, stack)
        return _carry_out(execution, vm, plan)


def _asked(world: World, context: Context, vm: Vm) -> Vm:
    """The record of a VM that has exited, with what its QEMU says if it is there after all.

    Only nobody at its socket lets it be started: what hangs there, or is paused, would be ended
    when the start is taken back. Raises Unreachable for that, and for a host that is down.
    """
    socket = paths.of(vm.uuid, context.settings).qmp
    status = monitor.status_of(world, context, vm.host or "", socket, vm.uuid)
    if status is None:
        return vm
    what = Seen.RUNNING if status == "running" else Seen.PAUSED
    observed = replace(vm.observed, what=what, at=iso(world.clock.now()))
    found = replace(vm, observed=observed, reason=None)
    with world.store.transaction() as tx:
        refuse_stale(tx.state)
        if tx.state.vms.get(vm.id) == vm:
            tx.put_vm(found)
    return found


def _as_it_is(world: World, vm: Vm) -> Vm:
    """A VM whose QEMU is there: running is what was asked for, paused is not."""
    if vm.state is not TashiState.Running:
        raise power_plan.wrong_state(vm, OperationKind.START)
    world.report.note(f"{vm.name} is Running already")
    return vm


def _claim(world: World, context: Context, vm: Vm, stack: ExitStack) -> tuple[Execution, Vm, Plan]:
    """Write the decision down; raises InvalidRequest where the inventory lacks the host."""
    with world.store.transaction() as tx:
        refuse_stale(tx.state)
        operation = new_operation(world, tx, OperationKind.START)
        begun, plan = planned(context, tx.state, vm, operation)
        opening = Opening(operation=operation, target=vm.name, plan=plan, vm=begun)
        execution = open_operation(world, context, tx, opening, stack)
        tx.put_vm(begun)
    return execution, begun, plan


def planned(context: Context, state: State, vm: Vm, operation: OperationRef) -> tuple[Vm, Plan]:
    """The record while it is started, and the plan: the same for the dry run and the real one."""
    begun = start.begun(vm, operation)
    host = context.host(state, vm.host or "")
    plan = start.plan(
        begun, host, context.inventory.networks, context.settings, context.ifup_of(host.name)
    )
    return begun, plan


def _carry_out(execution: Execution, vm: Vm, plan: Plan) -> Vm:
    try:
        execution.forward(plan)
    except (TashiError, KeyboardInterrupt) as error:
        finish.go_back_or_on(execution, vm, plan, error)
    return finish.running(execution, vm)
