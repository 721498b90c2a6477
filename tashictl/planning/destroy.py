"""From a VM to the steps that leave nothing of it; they only go on."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import KillQemu, Plan, RemoveDir, RemoveTap
from tashictl.model.vm import Vm
from tashictl.planning import paths, register


def plan(vm: Vm, settings: Settings, networks: Iterable[Network]) -> Plan:
    """The steps that remove `vm`: the QEMU, its TAPs, its folders, then names and addresses.

    Its names go last: nobody may get them while it may still run.
    """
    if vm.host is None:
        return ()
    at = paths.at(vm.host, vm.uuid, settings)
    return (
        KillQemu(**at),
        *(RemoveTap(**at, tap=tap) for tap in paths.taps(vm)),
        RemoveDir(**at),
        *register.removal(vm, vm.host, networks, settings),
    )
