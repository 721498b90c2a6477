"""What the repairs of a round would send, for a dry run."""

from __future__ import annotations

from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, OperationRef
from tashictl.ops import starting
from tashictl.ops import vm as vm_ops
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.planning import destroy as destroy_plan
from tashictl.planning.verdict import Repair, RepairKind, Scene, Verdict


def plans(world: World, context: Context, scene: Scene, verdict: Verdict) -> list[tuple[int, Plan]]:
    """What each repair would send, with the operation's number, over what those before it leave.

    What settles an operation depends on what its host answers then: it has no plan before.
    """
    found: list[tuple[int, Plan]] = []
    state = replace(scene.state, vms={**scene.state.vms, **{vm.id: vm for vm in verdict.vms}})
    number = state.meta.last_operation_id
    for repair in verdict.repairs:
        number += 1
        plan, state = _plan(world, context, state, repair, number)
        if plan:
            found.append((number, plan))
    return found


def _plan(
    world: World, context: Context, state: State, repair: Repair, number: int
) -> tuple[Plan, State]:
    vm = repair.vm
    if vm is None:
        return (), state
    match repair.kind:
        case RepairKind.CLEAR | RepairKind.FORGET:
            return destroy_plan.plan(vm, context.settings, context.inventory.networks), state
        case RepairKind.RESTART:
            started = iso(world.clock.now())
            operation = OperationRef(id=number, kind=OperationKind.START, started=started)
            return starting.planned(context, state, vm, operation)[1], state
        case RepairKind.SCHEDULE:
            try:
                placed = vm_ops.place(world, context, state, vm, number)
            except TashiError:  # told as a problem when it is tried
                return (), state
            return placed.plan, replace(state, vms={**state.vms, vm.id: placed.vm})
        case _:
            return (), state
