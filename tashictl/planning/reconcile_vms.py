"""What a round tells of VMs that the database knows: ended, lost, found again, stuck, upgraded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tashictl.model.event import Event, Problem, Severity
from tashictl.model.sighting import VmSample
from tashictl.model.vm import Seen, TashiState, Vm, Wanted
from tashictl.planning import drift, rates
from tashictl.planning.qemu_states import TROUBLE
from tashictl.planning.verdict import Dialogue, Scene


def events(scene: Scene, changed: Iterable[Vm]) -> Iterator[Event]:
    """What became of the VMs whose record changes."""
    for vm in changed:
        before = scene.state.vms[vm.id]
        if before.state is vm.state:
            continue
        state = vm.state
        if state is TashiState.Exited:
            yield Event(
                at=scene.now,
                kind="vm-exited",
                severity=Severity.WARNING,
                host=vm.host,
                vm=vm.name,
                text=f"{vm.name} on {vm.host} is Exited, unasked",
                reason=_with_console(vm, _sample(scene, vm)),
                problem=f"vm-exited:{vm.name}",
            )
        elif state is TashiState.Orphaned:
            yield Event(
                at=scene.now,
                kind="vm-orphaned",
                severity=Severity.WARNING,
                host=vm.host,
                vm=vm.name,
                text=f"{vm.name} on {vm.host} is Orphaned",
                reason=f"{vm.reason}; last seen {vm.observed.at}",
                problem=f"host-down:{vm.host}",
            )
        else:
            again = " again" if before.state in (TashiState.Orphaned, TashiState.Exited) else ""
            yield Event(
                at=scene.now,
                kind="vm-found",
                host=vm.host,
                vm=vm.name,
                text=f"{vm.name} on {vm.host} is {state.name}{again}",
                reason=f"it was {before.state.name}",
            )


def problems(scene: Scene, after: Mapping[int, Vm]) -> Iterator[Problem]:
    """What is wrong with VMs on the hosts that answered."""
    for vm in after.values():
        sample = _sample(scene, vm)
        if scene.looked_at(vm.host) is None or vm.operation is not None:
            continue
        if vm.state is TashiState.Exited and vm.wanted in (Wanted.RUNNING, Wanted.PAUSED):
            again = f"tashictl vm start {vm.name}, or tashictl vm destroy {vm.name}"
            yield Problem(
                id=f"vm-exited:{vm.name}",
                text=f"{vm.name} on {vm.host} is not running: {vm.reason or 'it ended'}",
                hint=again,
                vm=vm.name,
                host=vm.host,
                scope=vm.host,
            )
        if sample is not None and sample.alive:
            yield from _alive(scene, vm, sample)


def _alive(scene: Scene, vm: Vm, sample: VmSample) -> Iterator[Problem]:
    if _is_stuck(scene, vm, sample):
        yield Problem(
            id=f"vm-stuck:{vm.name}",
            severity=Severity.ERROR,
            text=f"{vm.name} on {vm.host} hangs: its QEMU (pid {sample.pid}) waits for a disk and "
            "cannot be ended (state D)",
            hint=f"look at the storage of {vm.host}; the VM ends or goes on when that answers",
            vm=vm.name,
            host=vm.host,
            scope=vm.host,
        )
    said = scene.dialogues.get(vm.uuid)
    if said is not None:
        yield from _said(vm, said)
    if sample.upgraded:
        yield Problem(
            id=f"vm-upgraded:{vm.name}",
            severity=Severity.NOTE,
            text=f"{vm.name} on {vm.host} still runs the QEMU from before an upgrade",
            hint=f"when it suits: tashictl vm shutdown {vm.name}, then start it again",
            vm=vm.name,
            host=vm.host,
            scope=vm.host,
        )


def _said(vm: Vm, said: Dialogue) -> Iterator[Problem]:
    """What its QEMU says of itself: stopped by trouble, stopped unasked, or nothing."""
    where = f"{vm.name} on {vm.host}"
    if said.status is None:
        kind, text = "vm-silent", f"{where} runs, but its QEMU does not answer: {said.cause}"
        hint = f"look again: tashictl vm console --log {vm.name}; if it hangs: vm destroy"
    elif said.status in TROUBLE:
        kind, text = "vm-stopped", f"{where} stands still: {TROUBLE[said.status]} ({said.status})"
        hint = f"put that right, then tashictl vm unpause {vm.name}"
    elif vm.observed.what is Seen.PAUSED and vm.wanted is Wanted.RUNNING:
        kind, text = "vm-paused", f"{where} is paused, and nobody asked for that ({said.status})"
        hint = f"tashictl vm unpause {vm.name}"
    else:
        return
    yield Problem(
        id=f"{kind}:{vm.name}", text=text, hint=hint, vm=vm.name, host=vm.host, scope=vm.host
    )


def _is_stuck(scene: Scene, vm: Vm, sample: VmSample) -> bool:
    """In uninterruptible sleep now, and not a tick since the last round."""
    last = scene.counters.get(f"vm:{vm.uuid}")
    sighting = scene.looked_at(vm.host)
    if sample.process_state != "D" or last is None or sample.cpu_ticks is None:
        return False
    host = sighting.host if sighting is not None else None
    same = last.incarnation.endswith(f"/{sample.pid}/{sample.starttime}")
    spent_s = sample.cpu_ticks / (host.ticks_per_s if host is not None else 100)
    return same and last.values.get(rates.CPU) == spent_s


def _sample(scene: Scene, vm: Vm) -> VmSample | None:
    sighting = scene.looked_at(vm.host)
    if sighting is None:
        return None
    return next((seen for seen in sighting.vms if seen.uuid == vm.uuid), None)


def _with_console(vm: Vm, sample: VmSample | None) -> str:
    reason = vm.reason or drift.NO_FOLDER
    if sample is None or not sample.console_end:
        return reason
    return f"{reason}; its console ends: {' / '.join(sample.console_end)}"
