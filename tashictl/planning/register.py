"""The steps that give a VM its names and addresses at the servers, and those that take them."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import AddDhcp, AddDns, Plan, RemoveDhcp, RemoveDns, Step
from tashictl.model.vm import Vm
from tashictl.planning import naming, paths


def steps(vm: Vm, host: str, networks: Iterable[Network], settings: Settings) -> Plan:
    """Register: DHCP first, whose conflicts cost nothing to take back, then DNS."""
    at = paths.at(host, vm.uuid, settings)
    return (
        *(AddDhcp(**at, entry=e) for e in naming.dhcp_entries(vm, networks, settings)),
        *(AddDns(**at, entry=e) for e in naming.dns_entries(vm, settings)),
    )


def removal(vm: Vm, host: str, networks: Iterable[Network], settings: Settings) -> Plan:
    """Take back, in the other order."""
    back = (reverse(step) for step in reversed(steps(vm, host, networks, settings)))
    return tuple(step for step in back if step is not None)


def reverse(step: Step) -> Step | None:
    """What takes one step of registration back; None for any other step."""
    at = paths.at_step(step)
    match step:
        case AddDhcp(entry=dhcp):
            return RemoveDhcp(**at, entry=dhcp)
        case AddDns(entry=dns):
            return RemoveDns(**at, entry=dns)
        case _:
            return None
