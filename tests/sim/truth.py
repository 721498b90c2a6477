"""What the database says of VMs, held against what runs on the simulated hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tashictl.adapters.sim.host import SimHost
from tashictl.model.event import Problem
from tashictl.model.state import State
from tashictl.model.vm import Seen, TashiState, Vm, Wanted
from tests.sim.things import SETTINGS

_RUN = f"{SETTINGS.tashictl.run_dir}/{SETTINGS.tashictl.cluster_id}"
_LIB = f"{SETTINGS.tashictl.lib_dir}/{SETTINGS.tashictl.cluster_id}"


def lies(state: State, hosts: Iterable[SimHost]) -> Iterator[str]:
    """What is not as the database has it, when every host is well and nothing is under way."""
    by_name = {host.name: host for host in hosts}
    by_uuid = {vm.uuid: vm for vm in state.vms.values()}
    for vm in state.vms.values():
        if vm.operation is not None:
            yield f"{vm.name}: op {vm.operation.id} stands"
        elif vm.wanted is Wanted.ABSENT:
            yield f"{vm.name}: wanted absent, and still there"
        elif vm.host is not None:
            yield from _of(vm, by_name[vm.host])
    for host in by_name.values():
        for process in host.processes.values():
            vm_there = by_uuid.get(process.uuid)
            if not process.foreign and (vm_there is None or vm_there.host != host.name):
                yield f"{host.name} has a QEMU of {process.uuid}, which is not recorded there"


def _of(vm: Vm, host: SimHost) -> Iterator[str]:
    process = host.qemu_of(vm.uuid) if host.is_locked(f"{_RUN}/{vm.uuid}/run.lock") else None
    seen = vm.observed.what
    if process is None:
        if seen is not Seen.STOPPED:
            yield f"{vm.name} on {host.name} is {seen.value}, and has no QEMU"
        return
    if seen not in (Seen.RUNNING, Seen.PAUSED):
        yield f"{vm.name} on {host.name} is {seen.value}, and runs"
    elif vm.observed.boot_id != host.boot_id:
        yield f"{vm.name} on {host.name} was seen in another boot"
    elif vm.pid != process.pid:
        yield f"{vm.name} on {host.name} is pid {process.pid}, not {vm.pid}"


def untold(state: State, problems: Iterable[Problem]) -> Iterator[str]:
    """VMs that ought to run and do not, and of which no problem tells."""
    told = {problem.id for problem in problems}
    for vm in state.vms.values():
        ended = vm.state is TashiState.Exited and vm.wanted in (Wanted.RUNNING, Wanted.PAUSED)
        if ended and f"vm-exited:{vm.name}" not in told:
            yield f"nobody is told that {vm.name} has exited"


def strays(state: State, hosts: Iterable[SimHost]) -> Iterator[str]:
    """Folders, run folders and TAPs of ours on hosts that no record places there."""
    placed: dict[str, dict[str, int]] = {}
    for vm in state.vms.values():
        placed.setdefault(vm.host or "", {})[vm.uuid] = vm.id
    for host in hosts:
        here = placed.get(host.name, {})
        ids = {str(number) for number in here.values()}
        for folder in host.folders:
            home, _, name = folder.rpartition("/")
            if home in (_RUN, _LIB) and "-" in name and name not in here:
                yield f"{host.name} has {folder}, and no record of it"
        for path in host.files:
            home, _, name = path.rpartition("/")[0].rpartition("/")
            if home in (_RUN, _LIB) and "-" in name and name not in here:
                yield f"{host.name} has {path}, and no record of it"
        for tap, whose in host.taps.items():
            if whose != "foreign" and tap.removeprefix("tashi").partition(".")[0] not in ids:
                yield f"{host.name} has TAP {tap}, and no record of it"
