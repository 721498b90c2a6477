"""Virtual machines: create, schedule, destroy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import (
    Conflict,
    Interrupted,
    NoCapacity,
    NoSuchTarget,
    TashiError,
    raise_all,
)
from tashictl.model.cluster import Cluster
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, OperationRef, Vm, Wanted
from tashictl.ops import finish, recover, seeding
from tashictl.ops.begin import Opening, new_operation, open_operation, refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution
from tashictl.ops.ports import Transaction, World
from tashictl.planning import addressing, machine, placement, ports, qemu_hints, quarantine, request
from tashictl.planning import create as create_plan
from tashictl.planning import destroy as destroy_plan
from tashictl.planning.placement import Decision, Want
from tashictl.planning.request import RawVm

CHANGED = "E-CHANGED"
NO_VM = "E-NO-VM"


class Draft(Struct, frozen=True, kw_only=True):
    """A VM as it was decided: with a host and a plan, or Pending with the reason."""

    vm: Vm
    plan: Plan
    decision: Decision
    seed: bytes | None = None  # of a new VM: secret, to be kept before the decision is recorded


class NewIds(Struct, frozen=True, kw_only=True):
    """The ids that a new VM and its operation get."""

    vm: int
    operation: int
    uuid: str


# -- deciding: the same code for the dry run and for the real one


def draft(world: World, context: Context, state: State, raw: RawVm, ids: NewIds) -> Draft:
    """Decide what `vm create` does against `state`; raises all problems at once, or NoCapacity."""
    wish, problems = request.read(raw)
    macs: Iterator[str] = (
        addressing.own_mac(m, context.settings) for m in iter(world.dice.mac, "")
    )
    picture = context.picture(state, iso(world.clock.now()), turn=ids.vm - 1)
    spec, more = request.check(wish, picture, macs)
    raise_all([*problems, *more])
    vm = Vm(
        id=ids.vm,
        name=wish.name,
        uuid=ids.uuid,
        user=wish.user or world.who.user(),
        spec=spec,
        created=iso(world.clock.now()),
    )
    vm, seed = seeding.with_seed(world, context, vm, raw)
    decided = place(world, context, state, vm, ids.operation, asked_host=wish.host)
    return replace(decided, seed=seed)


def place(
    world: World,
    context: Context,
    state: State,
    vm: Vm,
    operation: int,
    asked_host: str | None = None,
) -> Draft:
    """Choose a host for `vm` and plan its start there, or leave it Pending with the reason."""
    cluster = context.cluster(state)
    decision = placement.choose(cluster, _want(context, cluster, vm, asked_host))
    if decision.hopeless:
        raise NoCapacity(
            "E-CAPACITY",
            f"{vm.name} fits no host, even when empty",
            cause=decision.details,
            hint="tashictl host list",
        )
    if decision.host is None:
        if asked_host is not None:  # it waits for that host and no other
            hints = {k: v for k, v in vm.spec.hints.items() if k != "allowElsewhere"}
            vm = replace(vm, spec=replace(vm.spec, hints={**hints, "targetHost": asked_host}))
        return Draft(vm=replace(vm, reason=decision.reason), plan=(), decision=decision)
    host = context.host(state, decision.host)
    facts = host.record.facts
    assert facts is not None  # a host without facts is refused by the placement
    spec = ports.assign(vm.spec, host, cluster, context.settings.tashictl.ssh_ports)
    placed = replace(
        vm,
        host=host.name,
        held=False,
        reason=None,
        spec=machine.freeze(spec, uuid=vm.uuid, facts=facts, settings=context.settings),
        operation=OperationRef(
            id=operation,
            kind=OperationKind.CREATE,
            started=iso(world.clock.now()),
            hold=vm.id in state.vms,
        ),
    )
    plan = create_plan.plan(
        placed, host, cluster.networks, context.settings, context.ifup_of(host.name)
    )
    return Draft(vm=placed, plan=plan, decision=decision)


def _want(context: Context, cluster: Cluster, vm: Vm, asked_host: str | None) -> Want:
    asked = asked_host or vm.spec.hints.get("targetHost")
    return Want(
        name=vm.name,
        user=vm.user,
        spec=vm.spec,
        # A host that is gone since it was asked for is still the one that was asked for.
        target=(request.target_of(asked, cluster) or asked) if asked else None,
        elsewhere=asked_host is None and qemu_hints.flag(vm.spec, "allowElsewhere"),
        dense=qemu_hints.flag(vm.spec, "densePack", context.settings.dense_pack),
        ssh_ports=context.settings.tashictl.ssh_ports,
    )


# -- create and schedule


def create(world: World, context: Context, raw: RawVm) -> Vm:
    """Create a VM and start it; returns it Running, or Pending when no host has room now.

    Raises all problems of the request at once; after a failure nothing is left, or the error says
    what is.
    """
    settle_names(world, context, (raw.name,))
    with ExitStack() as stack:
        with world.store.transaction() as tx:
            refuse_stale(tx.state)
            ids = NewIds(
                vm=tx.next_vm_id(), operation=tx.next_operation_id(), uuid=world.dice.uuid()
            )
            decided = draft(world, context, tx.state, raw, ids)
            execution = claim(world, context, tx, decided, stack)
        if execution is None:
            for refusal in decided.decision.refusals:
                world.report.note(f"{decided.vm.name}: {refusal.text}")
            return decided.vm
        for note in qemu_hints.notes(decided.vm.spec):
            world.report.note(note)
        world.report.note(
            f"{decided.vm.name}: placed on {decided.vm.host} ({decided.decision.why})"
        )
        return start(world, execution, decided, stack)


def settle_names(world: World, context: Context, names: Collection[str]) -> None:
    """Finish or take back what was interrupted on the VMs of these names."""
    for vm in world.store.read().vms.values():
        if vm.name in names:
            recover.settle_first(world, context, vm)


def schedule(world: World, context: Context) -> list[tuple[Vm, TashiError | None]]:
    """Place and start what is Pending, oldest first, then what is Held; one result for each.

    A VM whose start fails becomes Held with the reason; one that fits nowhere stays as it is.
    """
    results: list[tuple[Vm, TashiError | None]] = []
    for vm in waiting(world.store.read()):
        try:
            results.append((activate(world, context, vm), None))
        except Interrupted:
            raise
        except TashiError as error:
            results.append((world.store.read().vms.get(vm.id, vm), error))
    return results


def waiting(state: State) -> list[Vm]:
    """The VMs that wait for a host: Pending ones by age, then Held ones (Tashi)."""
    found = [
        vm
        for vm in state.vms.values()
        if vm.host is None and vm.operation is None and vm.wanted is Wanted.RUNNING
    ]
    return sorted(found, key=lambda vm: (vm.held, vm.id))


def activate(world: World, context: Context, vm: Vm) -> Vm:
    """Place and start one VM that waits; raises Conflict CHANGED when it waits no more."""
    with ExitStack() as stack:
        with world.store.transaction() as tx:
            refuse_stale(tx.state)
            current = tx.state.vms.get(vm.id)
            if current is None or current.operation is not None or current.host is not None:
                raise Conflict(CHANGED, f"{vm.name} is no longer waiting")
            operation = tx.next_operation_id()
            decided = place(world, context, tx.state, current, operation)
            execution = claim(world, context, tx, decided, stack)
        if execution is None:
            return decided.vm
        world.report.note(f"{vm.name}: placed on {decided.vm.host} ({decided.decision.why})")
        return start(world, execution, decided, stack)


def claim(
    world: World,
    context: Context,
    tx: Transaction,
    decided: Draft,
    stack: ExitStack,
) -> Execution | None:
    """Write the decision down: lock, journal, record; None for a VM that stays Pending."""
    vm, operation = decided.vm, decided.vm.operation
    seeding.tidy(world, tx.state)
    for key in quarantine.expired(tx.state, iso(world.clock.now())):
        tx.remove_quarantine(key)
    if decided.seed is not None:
        world.seeds.keep(vm.uuid, decided.seed)
    if operation is None:
        tx.put_vm(vm)
        return None
    stack.enter_context(world.locks.vm(vm.id))
    opening = Opening(operation=operation, target=vm.name, plan=decided.plan, vm=vm)
    execution = open_operation(world, context, tx, opening, stack)
    tx.put_vm(vm)
    return execution


def start(world: World, execution: Execution, decided: Draft, stack: ExitStack) -> Vm:
    """Carry out what `claim` wrote down; returns the VM Running, or raises and leaves nothing."""
    vm = decided.vm
    try:
        stack.enter_context(world.locks.host_shared(vm.host or ""))
        execution.forward(decided.plan)
    except (TashiError, KeyboardInterrupt) as error:
        finish.go_back_or_on(execution, vm, decided.plan, error)
    return finish.running(execution, vm)


# -- destroy


def destroy(world: World, context: Context, name: str, decided: Vm | None = None) -> Vm:
    """Destroy a VM: its QEMU, TAPs and folders; returns its last record. It only goes on.

    An operation that was interrupted on it is superseded. `decided` is the record for which it was
    decided: raises Conflict CHANGED when it is another one now. Raises Unreachable when the host
    cannot be asked: the record then stays, wanted absent, with its name, address and claim.
    """
    vm = find(world.store.read(), name)
    with ExitStack() as stack:
        stack.enter_context(world.locks.vm(vm.id))
        current = world.store.read().vms.get(vm.id)
        if current is None:
            raise no_such_vm(vm.name)
        if decided is not None and current != decided:
            raise Conflict(CHANGED, f"{vm.name} is not what it was")
        if current.host is not None:
            stack.enter_context(world.locks.host_shared(current.host))
        old = finish.take_old(world, current, stack)
        execution, plan = _claim_destroy(world, context, current, stack)
        finish.supersede(world, old)
        if execution is not None:
            finish.only_forward(execution, current, plan)
        else:
            seeding.forget(world, vm)
            world.locks.forget_vm(vm.id)
        return current


def _claim_destroy(
    world: World, context: Context, vm: Vm, stack: ExitStack
) -> tuple[Execution | None, Plan]:
    plan = destroy_plan.plan(vm, context.settings, context.inventory.networks)
    with world.store.transaction() as tx:
        refuse_stale(tx.state)
        seeding.tidy(world, tx.state)
        if not plan:
            tx.remove_vm(vm.id)
            return None, plan
        operation = new_operation(world, tx, OperationKind.DESTROY)
        opening = Opening(operation=operation, target=vm.name, plan=plan, vm=vm)
        execution = open_operation(world, context, tx, opening, stack)
        tx.put_vm(replace(vm, wanted=Wanted.ABSENT, operation=operation, reason=None))
    return execution, plan


def find(state: State, name: str) -> Vm:
    """The VM of that name or id; raises NoSuchTarget."""
    vm = state.vm_named(name)
    if vm is None:
        raise no_such_vm(name)
    return vm


def no_such_vm(name: str) -> NoSuchTarget:
    """The error for a VM that does not exist."""
    return NoSuchTarget(NO_VM, f"no VM {name!r}", hint="tashictl vm list")
