"""`vm create --count N`: one decision over a growing picture, one transaction, then N starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Interrupted, Problems, TashiError, raise_all
from tashictl.model.state import State
from tashictl.model.vm import Vm
from tashictl.ops import finish
from tashictl.ops.begin import refuse_stale
from tashictl.ops.context import Context
from tashictl.ops.execute import Execution
from tashictl.ops.many import Result, Watcher, run_each
from tashictl.ops.ports import Transaction, World
from tashictl.ops.vm import Draft, NewIds, claim, draft, settle_names, start
from tashictl.planning import count, qemu_hints
from tashictl.planning.request import RawVm


class _Claim(Struct, frozen=True, kw_only=True):
    """One VM that is written down and not begun: its lock and journal are in `stack`."""

    decided: Draft
    execution: Execution
    stack: ExitStack


def drafts(
    world: World, context: Context, state: State, raw: RawVm, ids: Callable[[], NewIds]
) -> list[Draft]:
    """Decide all N, each over the claims of those before it; raises all problems at once.

    Raises NoCapacity for what fits nowhere even when empty.
    """
    names, problems = count.names_of(raw)
    problems += count.taken(names, (vm.name for vm in state.vms.values()))
    found: list[Draft] = []
    try:  # what is wrong with the first is wrong with all, but for the names that are taken
        first = replace(raw, name=names[0] if names else raw.name)
        found.append(draft(world, context, state, first, ids()))
    except TashiError as error:
        several = error.problems if isinstance(error, Problems) else (error,)
        problems += [e for e in several if e.code != "E-EXISTS"]
    raise_all(problems)
    for name in names[1:]:
        state = replace(state, vms={**state.vms, found[-1].vm.id: found[-1].vm})
        found.append(draft(world, context, state, replace(raw, name=name), ids()))
    return found


def create_many(world: World, context: Context, raw: RawVm, watcher: Watcher) -> list[Result]:
    """Create and start N VMs; one result each, in the order of their names.

    Those for which no host has room stay Pending; a start that fails is undone and leaves no
    record. Raises all problems of the request at once, before anything.
    """
    settle_names(world, context, count.names_of(raw)[0])
    claims: dict[int, _Claim] = {}
    try:
        with world.store.transaction() as tx:
            refuse_stale(tx.state)
            decided = drafts(world, context, tx.state, raw, lambda: _ids(world, tx))
            for one in decided:
                _claim(world, context, tx, one, claims)
        _tell(world, decided)
        started = _start(world, context, claims, watcher)
    except KeyboardInterrupt as error:
        recorded = {vm.uuid for vm in world.store.read().vms.values()}
        for left in tuple(claims.values()):
            # One that was not recorded yet has a journal that makes room for the next one.
            if left.decided.vm.uuid in recorded:
                _take_back(Result(before=left.decided.vm, begun=False), claims)
        raise Interrupted(
            "E-INTERRUPTED",
            "interrupted; what was not begun was taken back",
            hint="tashictl op list",
        ) from error
    finally:
        for left in tuple(claims.values()):
            left.stack.close()
    return [started.get(one.vm.id) or Result(before=one.vm, after=one.vm) for one in decided]


def _ids(world: World, tx: Transaction) -> NewIds:
    return NewIds(vm=tx.next_vm_id(), operation=tx.next_operation_id(), uuid=world.dice.uuid())


def _claim(
    world: World, context: Context, tx: Transaction, one: Draft, claims: dict[int, _Claim]
) -> None:
    with ExitStack() as stack:
        execution = claim(world, context, tx, one, stack)
        if execution is not None:
            claims[one.vm.id] = _Claim(decided=one, execution=execution, stack=stack.pop_all())


def _tell(world: World, decided: Sequence[Draft]) -> None:
    for note in qemu_hints.notes(decided[0].vm.spec):
        world.report.note(note)
    hosts = Counter(one.vm.host for one in decided if one.vm.host)
    parts = [f"{number} on {host}" for host, number in hosts.items()]
    waiting = len(decided) - hosts.total()
    if waiting:
        parts.append(f"{waiting} Pending")
    world.report.note(f"{decided[0].vm.name} … {decided[-1].vm.name}: {', '.join(parts)}")


def _start(
    world: World, context: Context, claims: dict[int, _Claim], watcher: Watcher
) -> dict[int, Result]:
    """Start all claims; takes out of `claims` what was begun."""

    def do(own: World, vm: Vm) -> Vm:
        begun = claims.pop(vm.id)
        with begun.stack:
            begun.execution.world = own
            return start(own, begun.execution, begun.decided, begun.stack)

    placed = [c.decided.vm for c in claims.values()]
    results = run_each(world, context, placed, do, watcher)
    return {r.before.id: r if r.begun else _take_back(r, claims) for r in results}


def _take_back(result: Result, claims: dict[int, _Claim]) -> Result:
    """One that Ctrl-C kept from being begun leaves no record."""
    left = claims.pop(result.before.id)
    with left.stack:
        try:
            finish.go_back(left.execution, left.decided.vm, left.decided.plan, KeyboardInterrupt())
        except TashiError as error:
            return replace(result, error=error if error.leftovers else result.error)
