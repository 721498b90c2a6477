"""Put right what an audit found: additions at once, removals only after a second look.

What is removed carries our mark, was seen twice with more time between than anything that was sent
before can take, and is looked up in the database once more, with its VM held where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from msgspec import Struct

from tashictl.errors import Conflict, TashiError
from tashictl.model.audit import Change
from tashictl.model.state import State
from tashictl.ops import deferred, naming_many, recover
from tashictl.ops.audit import Audit, audit
from tashictl.ops.begin import refuse_stale
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning.audit import repairs
from tashictl.planning.audit.compare import compare

_AT_ONCE = 200
_SLICE_S = 5.0


class Repaired(Struct, frozen=True, kw_only=True):
    """What was done, what was refused, and what a last look still finds."""

    done: tuple[Change, ...]
    refused: tuple[tuple[Change, TashiError], ...]
    after: Audit


def repair(world: World, context: Context, first: Audit) -> Repaired:
    """Do what `first` says, and look again; raises NotPermitted where the database is old."""
    refuse_stale(world.store.read())
    if settle(world, context) | _work(world, context, first):
        first = audit(world, context)
    work = _Work(world, context)
    work.carry_out(first, repairs.at_once(first.rows))
    wanted = repairs.removals(first.rows)
    if wanted:
        _wait(world, context, first, len(wanted))
        second = audit(world, context)
        # Once seen is not enough: a registration may have been on its way.
        both = [c for c in repairs.removals(second.rows) if c in set(wanted)]
        work.carry_out(second, both)
    after = audit(world, context) if work.tried else first
    added = repairs.at_once(after.rows)
    if added:  # what stood in the way is gone
        work.carry_out(after, added)
        after = audit(world, context)
    return Repaired(done=tuple(work.done), refused=tuple(work.refused), after=after)


def settle(world: World, context: Context) -> bool:
    """Finish or take back operations that were interrupted; whether there was any.

    One that cannot be had now is left to the sweep.
    """
    found = False
    for vm in world.store.read().vms.values():
        if vm.operation is None:
            continue
        try:
            recover.settle_first(world, context, vm)
        except TashiError as error:
            world.report.warn(f"{vm.name}: {error.what}")
            continue
        found = True
    return found


def _work(world: World, context: Context, first: Audit) -> bool:
    """Do what waits for a server; whether anything did."""
    if not any(row.waits for row in first.rows):
        return False
    until_s = world.clock.monotonic_s() + context.settings.tashictl.sweep_timeout_s
    deferred.work(world, context, until_s)
    return True


def _wait(world: World, context: Context, first: Audit, many: int) -> None:
    """Until nothing that was sent before the first look can still be done."""
    until_s = first.ended_s + repairs.longest_s(context.settings)
    left_s = max(until_s - world.clock.monotonic_s(), 0.0)
    world.report.note(f"{many} to remove, if it is seen once more in {left_s:.0f} s")
    while (left_s := until_s - world.clock.monotonic_s()) > 0:
        world.report.waits(f"looking again in {left_s:.0f} s")
        world.clock.sleep(min(left_s, _SLICE_S))
    world.report.waits("")


class _Work:
    """Changes, carried out in parts; what became of them."""

    def __init__(self, world: World, context: Context) -> None:
        self._world = world
        self._context = context
        self.done: list[Change] = []
        self.refused: list[tuple[Change, TashiError]] = []

    @property
    def tried(self) -> bool:
        """Whether anything was sent."""
        return bool(self.done or self.refused)

    def carry_out(self, found: Audit, changes: Sequence[Change]) -> None:
        """Do changes that a look gave, as far as the database still says so."""
        for first in range(0, len(changes), _AT_ONCE):
            self._some(found, changes[first : first + _AT_ONCE])

    def _some(self, found: Audit, changes: Sequence[Change]) -> None:
        world = self._world
        with ExitStack() as stack:
            held = self._hold(changes, stack)
            # In a transaction: no operation begins between its decision and this.
            with world.store.transaction() as tx:
                still = self._still(found, tx.state, held)
            for change, error in naming_many.change_all(world, self._context, still).items():
                if error is None:
                    self.done.append(change)
                else:
                    self.refused.append((change, error))

    def _hold(self, changes: Iterable[Change], stack: ExitStack) -> list[Change]:
        """Hold the VMs that the changes are about; those of one that is at work are left."""
        ids = {vm.uuid: vm for vm in self._world.store.read().vms.values()}
        held = dict.fromkeys((repairs.uuid_of(change) for change in changes), True)
        for vm in sorted((ids[uuid] for uuid in held if uuid in ids), key=lambda vm: vm.id):
            held[vm.uuid] = vm.operation is None and self._take(vm.id, stack)
        return [change for change in changes if held[repairs.uuid_of(change)]]

    def _take(self, vm_id: int, stack: ExitStack) -> bool:
        try:
            stack.enter_context(self._world.locks.vm(vm_id))
        except Conflict:
            return False
        return True

    def _still(self, found: Audit, state: State, changes: Sequence[Change]) -> list[Change]:
        """Those that the database of this moment asks for, given what was seen."""
        context = self._context
        rows = compare(state, context.inventory.networks, context.settings, found.seen, found.busy)
        asked = set(repairs.all_of(rows))
        return [change for change in changes if change in asked]
