"""From a VM to the steps that leave nothing of it; they only go on."""

from __future__ import annotations

from tashictl.model.settings import Settings
from tashictl.model.steps import KillQemu, Plan, RemoveDir, RemoveTap
from tashictl.model.vm import Vm
from tashictl.planning import paths


def plan(vm: Vm, settings: Settings) -> Plan:
    """The steps that remove `vm` from its host: the QEMU, its TAPs, its folders."""
    if vm.host is None:
        return ()
    at = paths.at(vm.host, vm.uuid, settings)
    return (
        KillQemu(**at),
        *(RemoveTap(**at, tap=tap) for tap in paths.taps(vm)),
        RemoveDir(**at),
    )
