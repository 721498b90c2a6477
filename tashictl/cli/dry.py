"""What --dry-run prints: the decision that the real run would take, and its exact scripts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from msgspec.structs import replace

from tashictl.cli import plans
from tashictl.cli.options import Globals
from tashictl.errors import NoSuchTarget, PartialResult, TashiError
from tashictl.model.steps import Fence, Plan, Step, WriteIfup, WriteManifest, batches
from tashictl.model.units import show_memory
from tashictl.model.vm import Vm
from tashictl.ops import vm as ops
from tashictl.ops.begin import refuse_stale
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import destroy as destroy_plan
from tashictl.planning import scripts, summary
from tashictl.planning.request import RawVm

PENDING = 8


def create(face: Globals, world: World, context: Context, raw: RawVm) -> int:
    """Decide as `vm create` does, over the state as it is, and print the plan."""
    state = world.store.read()
    refuse_stale(state)
    meta = state.meta
    ids = ops.NewIds(
        vm=meta.last_vm_id + 1, operation=meta.last_operation_id + 1, uuid=world.dice.uuid()
    )
    decided = ops.draft(world, context, state, raw, ids)
    vm = decided.vm
    cores = f"{vm.spec.cores} core{'s' if vm.spec.cores > 1 else ''}"
    what = f"{vm.name} (id {vm.id}), {cores}, {show_memory(vm.spec.memory_mib)}"
    if vm.host is None:
        plans.emit_plan(face, f"would leave {what} Pending: {vm.reason}", [])
        return PENDING
    title = f"would create {what} on {vm.host} ({decided.decision.why})"
    plans.emit_plan(face, title, planned(face, world, context, decided.plan, ids.operation))
    return 0


def destroy(face: Globals, world: World, context: Context, chosen: Sequence[Vm]) -> int:
    """Print what `vm destroy` would do to each VM."""
    if not chosen:
        raise NoSuchTarget("E-NO-VM", "no VM", hint="tashictl vm list")
    state = world.store.read()
    refuse_stale(state)
    steps: list[plans.Planned] = []
    for vm in chosen:
        plan = destroy_plan.plan(vm, context.settings)
        steps += planned(face, world, context, plan, state.meta.last_operation_id + 1, len(steps))
    listed = ", ".join(
        f"{vm.name} (id {vm.id})" + (f" on {vm.host}" if vm.host else "") for vm in chosen
    )
    plans.emit_plan(face, f"would destroy {listed}; what the overlays hold is lost", steps)
    return 0


def schedule(face: Globals, world: World, context: Context) -> int:
    """Decide for each waiting VM as `schedule` does, each over the claims of those before it."""
    state = world.store.read()
    refuse_stale(state)
    steps: list[plans.Planned] = []
    told: list[str] = []
    operation = state.meta.last_operation_id
    for vm in ops.waiting(state):
        operation += 1
        try:
            decided = ops.place(world, context, state, vm, operation)
        except TashiError as error:
            told.append(f"{vm.name} stays {vm.state.name}: {error.what}")
            continue
        if decided.vm.host is None:
            told.append(f"{vm.name} stays {vm.state.name}: {decided.vm.reason}")
            continue
        told.append(f"{vm.name} goes to {decided.vm.host} ({decided.decision.why})")
        state = replace(state, vms={**state.vms, vm.id: decided.vm})
        steps += planned(face, world, context, decided.plan, operation, len(steps))
    title = "would place: " + "; ".join(told) if told else "nothing is waiting"
    plans.emit_plan(face, title, steps)
    return PartialResult.exit_code if any(" stays " in line for line in told) else 0


def planned(
    face: Globals, world: World, context: Context, plan: Plan, operation: int, before: int = 0
) -> list[plans.Planned]:
    """Every step with the script that it would travel in; nonce and not-after are those of now."""
    ours = context.settings.tashictl
    meta = world.store.read().meta
    full = face.debug or not face.for_people  # a manifest is one long line
    found = []
    for batch in batches(plan):
        text = ""
        if batch.steps[0].scripted:
            fence = Fence(
                cluster=ours.cluster_id,
                epoch=meta.epoch,
                operation=operation,
                attempt=1,
                seen=operation - 1,
                generation=1,
                uuid=batch.steps[0].uuid,
                lib_dir=ours.lib_dir,
                not_after_s=int(world.clock.now().timestamp()) + 60,
                controller=world.who.controller(),
            )
            timeout_s = int(ours.step_timeout_s)
            text = scripts.changing(batch, fence, world.dice.nonce(), timeout_s).text
        for index, step in zip(batch.indexes, batch.steps, strict=True):
            found.append(
                plans.Planned(
                    number=before + index + 1,
                    name=step.name,
                    host=step.host,
                    summary=summary.line(step),
                    script=text,
                    diff=_diff(step) if full or not isinstance(step, WriteManifest) else None,
                )
            )
    return found


def _diff(step: Step) -> str | None:
    """A new file's text as a diff; what lies on the host is not asked for."""
    match step:
        case WriteIfup(path=path, content=content):
            lines = content.splitlines()
        case WriteManifest(folder=folder, manifest=manifest):
            path, lines = f"{folder}/manifest.json", [manifest]
        case _:
            return None
    return "\n".join(difflib.unified_diff([], lines, "/dev/null", path, lineterm=""))
