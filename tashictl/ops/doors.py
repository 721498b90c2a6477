"""How a guest on a network of mode user is reached: by a port of its host's 127.0.0.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tashictl.errors import StepFailed
from tashictl.model.inventory import Inventory
from tashictl.model.vm import Vm
from tashictl.ops.finish import PORT_TAKEN
from tashictl.ops.ports import World

_T = TypeVar("_T")
_TRIES = 4


def past_taken_ports(world: World, create: Callable[[], _T]) -> _T:
    """Carry out a creation; again, a few times, where a port was taken by what no probe had seen.

    Each try that failed was undone, and its port is known as taken.
    """
    for _ in range(_TRIES - 1):
        try:
            return create()
        except StepFailed as error:
            if error.code != PORT_TAKEN or error.leftovers:
                raise
            world.report.note(f"{error.host}: {error.cause}")
    return create()


def ways_in(vm: Vm, inventory: Inventory) -> list[str]:
    """How to log into a VM that has a forwarded port, one line each."""
    config = inventory.host(vm.host) if vm.host is not None else None
    if config is None:
        return []
    where = "" if config.transport == "local" else f"on {config.name}: "
    ports = (nic.ssh_port for nic in vm.spec.nics)
    return [f"{where}ssh -p {port} root@127.0.0.1" for port in ports if port is not None]
