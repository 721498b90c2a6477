"""What was seen on hosts is written down for the VMs that are recorded there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tashictl.model.host import HostFacts
from tashictl.model.vm import Vm
from tashictl.ops.ports import Transaction, World
from tashictl.planning import drift


def record(
    tx: Transaction, host: str, facts: HostFacts | None, known: Mapping[int, Vm], now: str
) -> tuple[Vm, ...]:
    """Record what a look at `host` says of its VMs; those of which something else is true now.

    `known` are the records from before the look: what was changed meanwhile is newer than it. A
    host that another cluster has taken over says nothing of our VMs.
    """
    if facts is not None and facts.claimed_by not in (None, tx.state.meta.cluster):
        return ()
    same = [vm for vm in tx.state.vms.values() if vm.host == host and known.get(vm.id) == vm]
    changed = drift.seen(same, drift.look_of(facts) if facts is not None else None, now)
    for vm in changed:
        tx.put_vm(vm)
    return tuple(vm for vm in changed if vm.state is not known[vm.id].state)


def tell(world: World, changed: Iterable[Vm]) -> None:
    """Tell people which VMs are not what they were."""
    for vm in changed:
        world.report.note(
            f"{vm.name} on {vm.host} is {vm.state.name}" + (f": {vm.reason}" if vm.reason else "")
        )
