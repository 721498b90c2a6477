"""Hosts that leave the cluster: nothing of it stays on them, and then they are forgotten here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import (
    Conflict,
    Interrupted,
    NoSuchTarget,
    NotPermitted,
    TashiError,
    Unreachable,
    raise_all,
)
from tashictl.model.host import HostFacts, HostState
from tashictl.model.operation import Ended, JournalView, Status
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, Vm
from tashictl.ops import execute, finish
from tashictl.ops import host as hosts
from tashictl.ops.begin import Opening, ids_of, new_operation, open_operation, refuse_stale
from tashictl.ops.context import Context, iso, may_begin_s, moment
from tashictl.ops.execute import Execution
from tashictl.ops.ports import Transaction, World
from tashictl.planning import quiet
from tashictl.planning import release as plans

_SLACK_S = 5.0  # two clocks, each of whole seconds
_SHOWN = 6


class Removed(Struct, frozen=True, kw_only=True):
    """A host that is gone from the database; `forced` means that it was not asked.

    `images` are those that nobody has any more; `said` is what is left on it in its own words.
    """

    host: str
    forced: bool = False
    images: tuple[str, ...] = ()
    said: str = ""


def refuse(world: World, context: Context, state: State, name: str) -> None:
    """Raise why a host may not be removed now: VMs, operations, scripts on their way.

    Raises Problems where there are several reasons; a dry run raises the same.
    """
    refuse_stale(state)
    raise_all([*_vms(state, name), *_operations(world, context, name)])


def remove(world: World, context: Context, name: str) -> Removed:
    """Remove all that the cluster has on a host, then the host; it only goes on.

    Done again it finishes what was interrupted. Raises Unreachable where the host does not answer:
    nothing is forgotten then.
    """
    with ExitStack() as stack:
        stack.enter_context(world.locks.host(name))
        state = world.store.read()
        if name not in state.hosts:
            raise no_host(name)
        refuse(world, context, state, name)
        config = context.config(name)
        _refuse_found(context, name, hosts.probe(world, context, config, "tcg"))
        return _carry_out(world, _execution(world, context, name, stack), name)


def forget(world: World, context: Context, name: str) -> Removed:
    """Forget a host without asking it; what the cluster has on it may stay there."""
    with ExitStack() as stack:
        stack.enter_context(world.locks.host(name))
        with world.store.transaction() as tx:
            refuse_stale(tx.state)
            raise_all(_vms(tx.state, name))
            gone = _forget(tx, name)
        hosts.end_removal(world, name, "forgotten by --force")
        world.trust.forget(name)
    ours = context.settings.tashictl
    left = f"{ours.lib_dir}/{ours.cluster_id}, {ours.lib_dir}/cluster, {ours.etc_dir}/qemu-ifup.*"
    return Removed(host=name, forced=True, images=gone, said=f"{left}, its images")


def resume(world: World, context: Context, operation_id: int) -> Removed:
    """Finish an interrupted removal."""
    journal = interrupted(world, operation_id)
    if journal is None:
        raise Conflict("E-CHANGED", f"operation {operation_id} has ended meanwhile")
    return remove(world, context, journal.header.target)


def plan_of(world: World, context: Context, state: State, name: str) -> Plan:
    """What a removal does on the host, which a dry run shows."""
    journals = (world.journals.read(operation_id) for operation_id in world.journals.ids())
    known = [journal.header.plan for journal in journals if journal is not None]
    parts = plans.parts_of(known, name, context.settings)
    return plans.plan(state, name, context.settings, parts)


def interrupted(world: World, operation_id: int) -> JournalView | None:
    """The journal of a removal that was interrupted, if the operation is one."""
    journal = world.journals.read(operation_id)
    if journal is None or journal.header.kind is not OperationKind.HOST_REMOVE:
        return None
    waits = journal.ended is None and journal.header.target in world.store.read().hosts
    return journal if waits and not journal.alive else None


def no_host(name: str) -> NoSuchTarget:
    """The error for a host that does not exist."""
    return NoSuchTarget("E-NO-HOST", f"no host {name!r}", hint="tashictl host list")


# -- when not


def _vms(state: State, name: str) -> Iterator[Conflict]:
    there = sorted((vm for vm in state.vms.values() if vm.host == name), key=lambda vm: vm.id)
    if there:
        yield Conflict(
            "E-HOST-BUSY",
            f"{name} has {len(there)} VM{'' if len(there) == 1 else 's'}: {_names(there)}",
            hint=f"tashictl vm destroy {' '.join(vm.name for vm in there[:_SHOWN])}",
            host=name,
        )


def _names(vms: list[Vm]) -> str:
    shown = [f"{vm.name} ({vm.state.name})" for vm in vms[:_SHOWN]]
    more = len(vms) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _operations(world: World, context: Context, name: str) -> Iterator[Conflict]:
    wait_s = 0.0
    for operation_id in world.journals.ids():
        journal = world.journals.read(operation_id)
        if journal is None or not quiet.concerns(journal, name):
            continue
        if journal.alive and journal.ended is None:
            yield Conflict(
                "E-HOST-BUSY",
                f"operation {operation_id} ({journal.header.kind.value} "
                f"{journal.header.target}) runs on {name}",
                hint=f"tashictl op show {operation_id}",
                host=name,
            )
            continue
        wait_s = max(wait_s, _wait_s(world, context, journal, name))
    if wait_s > 0:
        yield Conflict(
            "E-HOST-UNQUIET",
            f"a script that {name} has not answered may still arrive there",
            cause="without the host's fences, which go with it, nothing would hold it off",
            hint=f"wait {int(wait_s) + 1} s, then remove it again",
            host=name,
        )


def _wait_s(world: World, context: Context, journal: JournalView, name: str) -> float:
    """How long a script of an operation may still begin on a host; 0 when none is on its way."""
    at = quiet.last_unanswered(journal, name)
    attempt = journal.attempt
    if at is None and _lost_before(world, journal):
        at, attempt = journal.header.started, 2
    if at is None:
        return 0.0
    ours = context.settings.tashictl
    longest_s = may_begin_s(ours, execute.lock_wait_s(ours, attempt)) + _SLACK_S
    until = moment(at) + timedelta(seconds=longest_s)
    return max(0.0, (until - world.clock.now()).total_seconds())


def _lost_before(world: World, journal: JournalView) -> bool:
    """Whether an operation took a VM over from one whose journal was lost in a power cut."""
    vm = journal.header.vm
    before = vm.operation if vm is not None else None
    if before is None or before.id == journal.header.id:
        return False
    return world.journals.read(before.id) is None


def _refuse_found(context: Context, name: str, facts: HostFacts) -> None:
    """Raise when the host is another cluster's, or has VMs that the database does not know."""
    ours = context.settings.tashictl
    if facts.claimed_by not in (None, ours.cluster_id):
        raise NotPermitted(
            "E-FOREIGN",
            f"{name} belongs to another cluster by now ({facts.claimed_by})",
            hint=f"tashictl host remove {name} --force forgets it here and leaves it alone",
            host=name,
        )
    strange = [vm for vm in facts.vms if vm.alive or vm.manifest is not None]
    if strange:
        uuids = ", ".join(vm.uuid for vm in strange[:_SHOWN])
        raise Conflict(
            "E-HOST-BUSY",
            f"{name} has VMs of this cluster that the database does not know: {uuids}",
            hint=f"look at them on the host: {ours.lib_dir}/{ours.cluster_id}/",
            host=name,
        )


# -- carrying it out


def _execution(world: World, context: Context, name: str, stack: ExitStack) -> Execution:
    """The removal that was interrupted, taken over, or a new one."""
    plan = plan_of(world, context, world.store.read(), name)
    old = hosts.removals(world, name)
    for operation_id in old:
        known = world.journals.read(operation_id)
        if known is None or known.header.plan != plan:
            continue
        journal = world.journals.reopen(operation_id)
        assert journal is not None  # the host's lock is held: nobody else ends it
        stack.callback(journal.close)
        ids = ids_of(world.store.read(), operation_id, 0)
        execution = Execution(world, context, journal, ids)
        execution.raise_attempt()
        return execution
    execution = _begun(world, context, name, stack)
    if old:  # of other images than are there now; a script of it may hold the host's lock still
        hosts.end_removal(world, name, f"superseded by {execution.ids.operation}")
        execution.raise_attempt()
    return execution


def _begun(world: World, context: Context, name: str, stack: ExitStack) -> Execution:
    with world.store.transaction() as tx:
        raise_all(_vms(tx.state, name))
        plan = plan_of(world, context, tx.state, name)
        operation = new_operation(world, tx, OperationKind.HOST_REMOVE)
        opening = Opening(operation=operation, target=name, plan=plan)
        execution = open_operation(world, context, tx, opening, stack)
        # Nothing is placed there any more, also where this is interrupted.
        notes = f"{hosts.BEING_REMOVED}, operation {operation.id}"
        tx.put_host(replace(tx.state.hosts[name], state=HostState.Drained, notes=notes))
    return execution


def _carry_out(world: World, execution: Execution, name: str) -> Removed:
    operation = execution.ids.operation
    plan = execution.journal.view.header.plan
    try:
        execution.forward(plan)
    except KeyboardInterrupt as error:
        raise Interrupted(
            "E-INTERRUPTED",
            f"interrupted; {name} is not removed yet",
            hint=f"tashictl op resume {operation}",
        ) from error
    except TashiError as error:
        if isinstance(error, Unreachable):
            with world.store.transaction() as tx:
                finish.missed(tx, name, operation)
        error.leftovers = (
            *error.leftovers,
            f"{name} is drained and may lack images and claim   tashictl op resume {operation}, "
            f"or tashictl host add {name} to keep it",
        )
        raise
    with world.store.transaction() as tx:
        gone = _forget(tx, name)
    world.trust.forget(name)
    said = _last_words(execution.journal.view)
    execution.journal.note(Ended(at=iso(world.clock.now()), status=Status.DONE))
    return Removed(host=name, images=gone, said=said)


def _last_words(journal: JournalView) -> str:
    messages = [getattr(entry, "message", "") for entry in journal.entries]
    return next((m for m in reversed(messages) if m), "")


def _forget(tx: Transaction, name: str) -> tuple[str, ...]:
    """Remove the record; images lose the host, and those that nobody has any more go."""
    gone = []
    for image in tuple(tx.state.images.values()):
        if name not in image.hosts:
            continue
        rest = tuple(h for h in image.hosts if h != name)
        if rest or image.shared:
            tx.put_image(replace(image, hosts=rest))
        else:
            gone.append(image.name)
            tx.remove_image(image.name)
    tx.remove_host(name)
    return tuple(gone)
