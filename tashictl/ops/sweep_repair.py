"""What a round puts right, each by the operation that people could have asked for."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tashictl.errors import Conflict, Interrupted, TashiError
from tashictl.model.vm import OperationKind, Vm
from tashictl.ops import host as host_ops
from tashictl.ops import host_remove, recover, starting
from tashictl.ops import vm as vm_ops
from tashictl.ops.context import Context
from tashictl.ops.many import Result, run_each
from tashictl.ops.ports import World
from tashictl.planning import verdict
from tashictl.planning.verdict import Repair, RepairKind

# Somebody else has decided otherwise meanwhile, or is at it: the next round sees what came of it.
_QUICKER = (vm_ops.CHANGED, vm_ops.NO_VM, "E-LOCKED")


class Done(Struct, frozen=True, kw_only=True):
    """A repair that was tried: what is true now, or what went wrong; `vm` is the record after."""

    repair: Repair
    text: str = ""
    vm: Vm | None = None
    error: Exception | None = None


def interrupted(world: World) -> tuple[verdict.Interrupted, ...]:
    """The operations whose process has ended before they did, on VMs and on hosts.

    A journal that was lost, or that this version cannot read, counts: the repair then tells.
    """
    state = world.store.read()
    found = []
    for vm in state.vms.values():
        if vm.operation is not None and not _is_alive(world, vm.operation.id):
            operation = vm.operation
            found.append(verdict.Interrupted(id=operation.id, kind=operation.kind, target=vm.name))
    for record in state.hosts.values():
        if record.notes.startswith(host_ops.BEING_REMOVED):
            for number in host_ops.removals(world, record.name)[-1:]:
                kind = OperationKind.HOST_REMOVE
                found.append(verdict.Interrupted(id=number, kind=kind, target=record.name))
    return tuple(found)


def _is_alive(world: World, operation: int) -> bool:
    try:
        journal = world.journals.read(operation)
    except TashiError:
        return False
    return journal is not None and journal.alive


def all_of(
    world: World, context: Context, repairs: Iterable[Repair], until_s: float
) -> tuple[tuple[Done, ...], tuple[Repair, ...]]:
    """Do them: those on VMs several at once, then what waits for a host in its order.

    Nothing is begun after `until_s` (monotonic): that is left, and comes back as the second part.
    """
    todo = tuple(repairs)
    done: list[Done] = []
    left: list[Repair] = []
    at_once = {r.vm.id: r for r in todo if r.vm is not None and r.kind is not RepairKind.SCHEDULE}

    def do(own: World, vm: Vm) -> Vm | None:
        if own.clock.monotonic_s() >= until_s:
            raise _NoTime
        return _one(own, context, at_once[vm.id])

    results = run_each(world, context, [r.vm for r in at_once.values() if r.vm is not None], do)
    for result in results:
        repair = at_once[result.before.id]
        if isinstance(result.error, _NoTime) or not result.begun:
            left.append(repair)
        else:
            done.append(_told(repair, result))
    for repair in (r for r in todo if r.vm is None):
        done.append(_removal(world, context, repair))
    for repair in (r for r in todo if r.kind is RepairKind.SCHEDULE):
        if world.clock.monotonic_s() >= until_s:
            left.append(repair)
        else:
            done.append(_schedule(world, context, repair))
    return tuple(done), tuple(left)


class _NoTime(Exception):
    """The round's time was over before this was begun."""


def _one(world: World, context: Context, repair: Repair) -> Vm | None:
    vm = repair.vm
    assert vm is not None
    match repair.kind:
        case RepairKind.SETTLE:
            outcome = recover.settle(world, context, vm.id)
            return outcome.vm if outcome is not None else vm
        case RepairKind.RESTART:
            return starting.start_again(world, context, str(vm.id))
        case _:
            vm_ops.destroy(world, context, str(vm.id), vm)
            return None


def _told(repair: Repair, result: Result) -> Done:
    error = result.error
    if isinstance(error, Interrupted):
        raise error
    if isinstance(error, TashiError) and error.code in _QUICKER:
        return Done(repair=repair, vm=repair.vm)
    if error is not None:
        return Done(repair=repair, error=error)
    name, host = repair.target, repair.host
    match repair.kind:
        case RepairKind.SETTLE:
            after = f"is {result.after.state.name}" if result.after else "is gone"
            text = f"op {repair.operation} on {name} was settled: {name} {after}"
        case RepairKind.RESTART:
            text = f"{name} was started again on {host}"
        case RepairKind.FORGET:
            text = f"{name} was removed from {host}, with its overlays"
        case _:
            text = f"{name} is gone from {host}" if host else f"{name} is gone"
    return Done(repair=repair, text=text, vm=result.after)


def _removal(world: World, context: Context, repair: Repair) -> Done:
    try:
        host_remove.resume(world, context, repair.operation or 0)
    except Interrupted:
        raise
    except TashiError as error:
        return Done(repair=repair, error=error)
    return Done(repair=repair, text=f"{repair.host} was removed: nothing of us is on it")


def _schedule(world: World, context: Context, repair: Repair) -> Done:
    vm = repair.vm
    assert vm is not None
    try:
        after = vm_ops.activate(world, context, vm)
    except Interrupted:
        raise
    except Conflict as error:
        if error.code in _QUICKER:
            return Done(repair=repair, vm=vm)
        return Done(repair=repair, error=error)
    except TashiError as error:
        return Done(repair=repair, error=error)
    if after.host is None:
        return Done(repair=repair, vm=after)  # it waits on, for the reason on its record
    return Done(repair=repair, text=f"{vm.name} was started on {after.host}", vm=after)
