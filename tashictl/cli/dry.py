"""What --dry-run prints: the decision that the real run would take, and its exact scripts."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from tashictl.cli import plans
from tashictl.cli.bulk import Job
from tashictl.cli.options import Globals
from tashictl.cli.tally import some_of
from tashictl.errors import NoSuchTarget, PartialResult, TashiError, raise_all
from tashictl.model.state import State
from tashictl.model.steps import Fence, Plan, Step, WriteIfup, WriteManifest, batches
from tashictl.model.units import show_memory
from tashictl.model.vm import OperationKind, OperationRef, Vm
from tashictl.ops import count, starting
from tashictl.ops import vm as ops
from tashictl.ops.begin import refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.planning import destroy as destroy_plan
from tashictl.planning import power as power_plan
from tashictl.planning import scripts, summary
from tashictl.planning import start as start_plan
from tashictl.planning.request import RawVm

PENDING = 8


def create(face: Globals, world: World, context: Context, raw: RawVm) -> int:
    """Decide as `vm create` does, over the state as it is, and print the plan."""
    state = world.store.read()
    refuse_stale(state)
    if raw.count is not None:
        return _create_many(face, world, context, raw)
    decided = ops.draft(world, context, state, raw, next(_new_ids(world, state)))
    if decided.vm.host is None:
        plans.emit_plan(face, f"would leave {_what(decided.vm)} Pending: {decided.vm.reason}", [])
        return PENDING
    title = f"would create {_what(decided.vm)} on {decided.vm.host} ({decided.decision.why})"
    plans.emit_plan(face, title, _steps_of(face, world, context, [decided]))
    return 0


def _create_many(face: Globals, world: World, context: Context, raw: RawVm) -> int:
    """The plan of `--count`; exit code 4 when some would stay Pending, 8 when all would."""
    state = world.store.read()
    decided = count.drafts(world, context, state, raw, _new_ids(world, state).__next__)
    placed = [one for one in decided if one.vm.host is not None]
    listed = [f"{one.vm.name} (id {one.vm.id}) on {one.vm.host}" for one in placed]
    waiting: dict[str | None, list[str]] = {}
    for one in decided:
        if one.vm.host is None:
            waiting.setdefault(one.vm.reason, []).append(one.vm.name)
    listed += [f"{some_of(names)} would stay Pending: {why}" for why, names in waiting.items()]
    title = f"would create {len(decided)} VMs, each of {_size(decided[0].vm)}: " + "; ".join(listed)
    plans.emit_plan(face, title, _steps_of(face, world, context, placed))
    if len(placed) == len(decided):
        return 0
    return PartialResult.exit_code if placed else PENDING


def _new_ids(world: World, state: State) -> Iterator[ops.NewIds]:
    """The ids that the real run would give out next."""
    for number in itertools.count(1):
        yield ops.NewIds(
            vm=state.meta.last_vm_id + number,
            operation=state.meta.last_operation_id + number,
            uuid=world.dice.uuid(),
        )


def _steps_of(
    face: Globals, world: World, context: Context, decided: Sequence[ops.Draft]
) -> list[plans.Planned]:
    steps: list[plans.Planned] = []
    for one in decided:
        operation = one.vm.operation.id if one.vm.operation else 0
        steps += planned(face, world, context, one.plan, operation, len(steps))
    return steps


def _what(vm: Vm) -> str:
    return f"{vm.name} (id {vm.id}), {_size(vm)}"


def _size(vm: Vm) -> str:
    cores = f"{vm.spec.cores} core{'s' if vm.spec.cores > 1 else ''}"
    return f"{cores}, {show_memory(vm.spec.memory_mib)}"


def destroy(face: Globals, world: World, context: Context, chosen: Sequence[Vm]) -> int:
    """Print what `vm destroy` would do to each VM."""
    if not chosen:
        raise NoSuchTarget("E-NO-VM", "no VM", hint="tashictl vm list")
    state = world.store.read()
    refuse_stale(state)
    steps: list[plans.Planned] = []
    for vm in chosen:
        plan = destroy_plan.plan(vm, context.settings, context.inventory.networks)
        steps += planned(face, world, context, plan, state.meta.last_operation_id + 1, len(steps))
    listed = ", ".join(
        f"{vm.name} (id {vm.id})" + (f" on {vm.host}" if vm.host else "") for vm in chosen
    )
    plans.emit_plan(face, f"would destroy {listed}; what the overlays hold is lost", steps)
    return 0


def start(face: Globals, job: Job) -> int:
    """Print what `vm start` would do; a VM that has not exited is told as refused."""
    state = job.world.store.read()
    refuse_stale(state)
    refused: list[TashiError] = []
    steps: list[plans.Planned] = []
    told: list[str] = []
    number, now = state.meta.last_operation_id, iso(job.world.clock.now())
    for vm in job.chosen:
        refusal = None if start_plan.is_done(vm) else start_plan.refusal(vm)
        if refusal is not None:
            refused.append(refusal)
            told.append(f"not {refusal.what}")
        elif start_plan.is_done(vm):
            told.append(f"not {vm.name}, which is {vm.state.name} already")
        else:
            number += 1
            operation = OperationRef(id=number, kind=OperationKind.START, started=now)
            _, plan = starting.planned(job.context, state, vm, operation)
            steps += planned(face, job.world, job.context, plan, number, len(steps))
            told.append(f"{vm.name} (id {vm.id}) on {vm.host}")
    if len(refused) == len(job.chosen):
        raise_all(refused)
    plans.emit_plan(face, f"would start {', '.join(told)}; the disks stay", steps)
    return PartialResult.exit_code if refused else 0


def power(face: Globals, job: Job, kind: OperationKind, timeout_s: int) -> int:
    """Print what a power verb would do; a VM whose state does not allow it is told as refused."""
    state = job.world.store.read()
    refuse_stale(state)
    done = [vm for vm in job.chosen if power_plan.is_done(vm, kind)]
    going = [vm for vm in job.chosen if vm not in done]
    refused = [e for e in (power_plan.refusal(vm, kind) for vm in going) if e is not None]
    if len(refused) == len(job.chosen):
        raise_all(refused)
    steps: list[plans.Planned] = []
    told = [f"not {vm.name}, which is {vm.state.name} already" for vm in done]
    operation = state.meta.last_operation_id
    for vm in going:
        refusal = power_plan.refusal(vm, kind)
        if refusal is not None:
            told.append(f"not {refusal.what}")
            continue
        operation += 1
        networks = job.context.inventory.networks
        plan = power_plan.plan(vm, kind, job.context.settings, networks, timeout_s)
        steps += planned(face, job.world, job.context, plan, operation, len(steps))
        told.append(f"{vm.name} (id {vm.id}) on {vm.host}")
    lost = "; when it has gone, what its overlays hold is lost" * (kind is OperationKind.SHUTDOWN)
    plans.emit_plan(face, f"would {kind.value} {', '.join(told)}{lost}", steps)
    return PartialResult.exit_code if refused else 0


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
    state = world.store.read()
    full = face.debug or not face.for_people  # a manifest is one long line
    found = []
    for batch in batches(plan):
        text = ""
        if batch.steps[0].scripted:
            fence = Fence(
                cluster=ours.cluster_id,
                epoch=state.meta.epoch,
                operation=operation,
                attempt=1,
                seen=operation - 1,
                generation=_generation(state, plan),
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


def _generation(state: State, plan: Plan) -> int:
    """The one that the scripts of a plan for a VM carry; a start has one of its own."""
    known = next((vm.generation for vm in state.vms.values() if vm.uuid == plan[0].uuid), 1)
    return known + any(isinstance(s, WriteManifest) and s.phase == "starting" for s in plan)


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
