"""How a guest on a network of mode user is reached: by a port of its host's 127.0.0.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tashictl.errors import StepFailed
from tashictl.model.inventory import Inventory
from tashictl.model.vm import Vm
from tashictl.ops import host
from tashictl.ops.context import Context
from tashictl.ops.ports import World

_T = TypeVar("_T")
TAKEN = "E-CHECKPORT"


def past_taken_ports(world: World, context: Context, create: Callable[[], _T]) -> _T:
    """Carry out a creation; once more where a port was taken by what no probe had seen.

    The first try was undone; a look at the host then tells the placement of the port.
    """
    try:
        return create()
    except StepFailed as error:
        if error.code != TAKEN or error.host is None or error.leftovers:
            raise
        world.report.note(f"a port is taken on {error.host}: looking at it again")
        host.check(world, context, [context.config(error.host)])
    return create()


def ways_in(vm: Vm, inventory: Inventory) -> list[str]:
    """How to log into a VM that has a forwarded port, one line each."""
    config = inventory.host(vm.host) if vm.host is not None else None
    if config is None:
        return []
    where = "" if config.transport == "local" else f"on {config.name}: "
    ports = (nic.ssh_port for nic in vm.spec.nics)
    return [f"{where}ssh -p {port} root@127.0.0.1" for port in ports if port is not None]
