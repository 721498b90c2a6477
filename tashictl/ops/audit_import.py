"""Reserve the addresses that existing servers have, so that no VM gets one of them."""

from __future__ import annotations

from tashictl.model.audit import Seen
from tashictl.ops.begin import refuse_stale
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning.audit.reserve import Reservations, reservations


def plan(world: World, context: Context, seen: Seen) -> Reservations:
    """What would be reserved and released."""
    return reservations(world.store.read(), context.inventory.networks, seen)


def carry_out(world: World, context: Context, seen: Seen) -> Reservations:
    """Reserve and release in one transaction; what was done, given the state of that moment."""
    with world.store.transaction() as tx:
        refuse_stale(tx.state)
        found = reservations(tx.state, context.inventory.networks, seen)
        for kept in found.new:
            tx.put_quarantine(kept)
        for kept in found.released:
            tx.remove_quarantine(kept.key)
    return found
