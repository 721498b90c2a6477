"""Use cases of power: pause, unpause, reset, shut down a VM that runs."""

from __future__ import annotations

from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Unreachable
from tashictl.model.steps import Plan
from tashictl.model.vm import Observed, OperationKind, Seen, Vm
from tashictl.ops import monitor, powering, recover
from tashictl.ops.begin import Opening, new_operation, open_operation, refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution
from tashictl.ops.ports import World
from tashictl.ops.vm import find, no_such_vm
from tashictl.planning import paths, power


def act(
    world: World,
    context: Context,
    name: str,
    kind: OperationKind,
    timeout_s: int = power.SHUTDOWN_TIMEOUT_S,
) -> Vm | None:
    """Do one power operation; the VM's record then, None when it has shut down and is gone.

    `timeout_s` is how long a guest may take to shut down. What was interrupted on the VM is put
    right first. Raises Conflict for a state that does not allow it, OperationFailed for a guest
    that ignores its power button, Unreachable when the host does not answer.
    """
    found = find(world.store.read(), name)
    recover.settle_first(world, context, found)
    with ExitStack() as stack:
        stack.enter_context(world.locks.vm(found.id))
        current = world.store.read().vms.get(found.id)
        if current is None:
            raise no_such_vm(found.name)  # what was interrupted on it was its end
        if current.host is not None:
            stack.enter_context(world.locks.host_shared(current.host))
        observed = current.observed
        if power.is_done(current, kind):
            observed = looked_at(world, context, current)
            if observed.what is current.observed.what:
                world.report.note(f"{current.name} is {current.state.name} already")
                return current
        asked = Asked(vm=current, kind=kind, observed=observed, timeout_s=timeout_s)
        execution, vm, plan = _claim(world, context, asked, stack)
        return powering.carry_out(execution, vm, plan)


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be done with a VM whose lock is held; `observed` is what it is now."""

    vm: Vm
    kind: OperationKind
    observed: Observed
    timeout_s: int


def looked_at(world: World, context: Context, vm: Vm) -> Observed:
    """What QEMU says that the VM is; the record may be wrong.

    A guest may also be stopped by an error of its disk (``io-error``): unpaused it goes on. Raises
    Unreachable where nobody answers: that is no proof that QEMU has ended.
    """
    socket = paths.of(vm.uuid, context.settings).qmp
    status = monitor.status_of(world, context, vm.host or "", socket, vm.uuid)
    if status is None:
        raise Unreachable(
            monitor.SILENT,
            f"the QEMU of {vm.name} does not answer",
            cause="it has ended, or its socket cannot be reached",
            hint=f"tashictl host check {vm.host}\n"
            f"tashictl vm console --log {vm.name}   what the guest says",
            host=vm.host,
        )
    seen = Seen.RUNNING if status == "running" else Seen.PAUSED
    return replace(vm.observed, what=seen, at=iso(world.clock.now()))


def _claim(
    world: World, context: Context, asked: Asked, stack: ExitStack
) -> tuple[Execution, Vm, Plan]:
    """Write the decision down; raises Conflict for a state that does not allow it."""
    with world.store.transaction() as tx:
        refuse_stale(tx.state)
        current = replace(asked.vm, observed=asked.observed)
        refusal = power.refusal(current, asked.kind)
        if refusal is not None:
            raise refusal
        operation = new_operation(world, tx, asked.kind)
        vm = replace(current, operation=operation)
        plan = power.plan(
            vm, asked.kind, context.settings, context.inventory.networks, asked.timeout_s
        )
        opening = Opening(operation=operation, target=vm.name, plan=plan, vm=vm)
        execution = open_operation(world, context, tx, opening, stack)
        tx.put_vm(vm)
    return execution, vm, plan
