"""From a VM whose QEMU has ended to the steps that start it again, with the disks that it has.

What takes them back is `create.undo`: a plan that begins with the phase ``starting`` never removes
a folder or a disk.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from tashictl.errors import Conflict, TashiError
from tashictl.model.cluster import Host
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import CheckDisk, CheckImage, Plan, Step, WriteManifest
from tashictl.model.vm import OperationKind, OperationRef, Seen, TashiState, Vm
from tashictl.planning import create, manifest, paths, power


def refusal(vm: Vm) -> TashiError | None:
    """Why the VM's state does not allow a start, or None when it does."""
    if vm.spec.machine is None and vm.observed.what is not Seen.UNKNOWN:
        return Conflict(
            "E-ADOPTED",
            f"{vm.name} was started by hand: only the same hand can start it again",
            cause="its machine is not known, and its disks are not ours",
            hint=f"tashictl vm destroy {vm.name}, start its QEMU, "
            f"then tashictl state adopt {vm.host}",
        )
    if vm.host is not None and vm.state is TashiState.Exited:
        return None
    return power.wrong_state(vm, OperationKind.START)


def is_done(vm: Vm) -> bool:
    """Whether the record says that the VM runs already."""
    return vm.operation is None and vm.state is TashiState.Running


def begun(vm: Vm, operation: OperationRef) -> Vm:
    """The record while it is started: of a generation of its own, which an old database lacks."""
    return replace(vm, operation=operation, generation=vm.generation + 1)


def plan(
    vm: Vm, host: Host, networks: Iterable[Network], settings: Settings, ifup_template: str
) -> Plan:
    """The steps that start `vm` on `host`, where its disks lie; its operation must be set.

    Nothing is made or changed before all of its disks are known to be there. The frozen machine
    stays: only the words for this host's QEMU are found anew.
    """
    where = paths.of(vm.uuid, settings)
    at = paths.at(host.name, vm.uuid, settings)
    operation = vm.operation.id if vm.operation else 0
    steps: list[Step] = [
        CheckImage(**at, path=where.disk(disk), image_folder=where.image_folder)
        if disk.persistent
        else CheckDisk(**at, path=where.disk(disk))
        for disk in vm.spec.disks
    ]
    if vm.spec.seed is not None:
        steps.append(CheckDisk(**at, path=where.seed))
    text = manifest.text(vm, settings.tashictl.cluster_id, "starting", operation)
    steps.append(WriteManifest(**at, phase="starting", manifest=text))
    return (*steps, *create.to_running(vm, host, networks, settings, ifup_template))
