"""What a round has done by operations: each repair is one that people could have asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tashictl.model.event import Problem, Severity
from tashictl.model.vm import OperationKind, Seen, Vm, Wanted
from tashictl.planning import drift
from tashictl.planning.verdict import Interrupted, Repair, RepairKind, Scene

_AT_WORK = (Wanted.RUNNING, Wanted.PAUSED)


def of(scene: Scene, after: Mapping[int, Vm]) -> tuple[Repair, ...]:
    """All repairs: what was interrupted first, then what ended with its host, then what waits."""
    return (
        *_interrupted(scene, after),
        *_tombstones(scene, after),
        *_rebooted(scene, after),
        *_waiting(scene, after),
    )


def problems(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Problem]:
    """What cannot be put right in this round, since its host does not answer."""
    open_ = {one.id: one for one in scene.interrupted}
    for vm in after.values():
        one = open_.get(vm.operation.id) if vm.operation is not None else None
        if one is None or vm.host not in scene.lost:
            continue
        yield Problem(
            id=f"operation:{one.id}",
            severity=Severity.WARNING,
            text=f"op {one.id} {one.kind.value} {one.target} on {vm.host}: interrupted, and its "
            "host does not answer",
            hint=f"tashictl op show {one.id}",
            vm=vm.name,
            host=vm.host,
            scope=vm.host,
        )


def _interrupted(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Repair]:
    open_: dict[int, Interrupted] = {one.id: one for one in scene.interrupted}
    for vm in after.values():
        one = open_.get(vm.operation.id) if vm.operation is not None else None
        if one is not None and (vm.host is None or scene.looked_at(vm.host) is not None):
            why = f"{one.kind.value} was interrupted"
            yield Repair(kind=RepairKind.SETTLE, why=why, vm=vm, host=vm.host, operation=one.id)
    for one in scene.interrupted:
        if one.kind is OperationKind.HOST_REMOVE and scene.looked_at(one.target) is not None:
            why = "its removal was interrupted"
            yield Repair(kind=RepairKind.REMOVE_HOST, why=why, host=one.target, operation=one.id)


def _tombstones(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Repair]:
    for vm in after.values():
        if vm.wanted is not Wanted.ABSENT or vm.operation is not None:
            continue
        if (scene.leads and vm.host is None) or scene.looked_at(vm.host) is not None:
            yield Repair(kind=RepairKind.CLEAR, why="it is wanted absent", vm=vm, host=vm.host)


def _rebooted(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Repair]:
    policy = scene.settings.cluster.on_host_reboot
    if policy == "hold":
        return
    for vm in after.values():
        if not _ended_with_host(vm) or scene.looked_at(vm.host) is None:
            continue
        kind = RepairKind.RESTART if policy == "restart" else RepairKind.FORGET
        why = f"{vm.reason}; onHostReboot = {policy}"
        yield Repair(kind=kind, why=why, vm=vm, host=vm.host)


def _ended_with_host(vm: Vm) -> bool:
    """One whose start fails has another reason then, and is not tried again."""
    return (
        vm.operation is None
        and vm.wanted in _AT_WORK
        and vm.observed.what is Seen.STOPPED
        and (vm.reason or "").startswith(drift.REBOOTED)
    )


def _waiting(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Repair]:
    if not scene.leads:
        return
    waits = [
        vm
        for vm in after.values()
        if vm.host is None and vm.operation is None and vm.wanted is Wanted.RUNNING
    ]
    for vm in sorted(waits, key=lambda vm: (vm.held, vm.id)):
        state = vm.state.name
        yield Repair(kind=RepairKind.SCHEDULE, why=f"it is {state}", vm=vm)
