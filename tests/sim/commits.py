"""What must hold from one committed state to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tashictl.adapters.sim.host import SimHost
from tashictl.adapters.sim.watch import Watch
from tashictl.model.state import State
from tashictl.model.vm import TashiState, Vm, may_follow
from tests.sim.things import traces_on


class Commits:
    """Watches every commit of every controller; `seen_ids` are all ids that were ever given out."""

    def __init__(self, watch: Watch, hosts: Mapping[str, SimHost]) -> None:
        self.seen_ids: dict[int, str] = {}
        self._watch = watch
        self._hosts = hosts

    def traces(self, uuid: str, vm_id: int) -> list[str]:
        """What there is of a VM on all hosts."""
        hosts = self._hosts.values()
        return [f"{h.name}: {what}" for h in hosts for what in traces_on(h, uuid, vm_id)]

    def look(self, before: State, after: State) -> None:
        """Hold a commit against the state before it."""
        names = [vm.name for vm in after.vms.values()]
        if len(names) != len(set(names)):
            self._watch.problem(f"two records of one name: {names}")
        for vm_id, vm in after.vms.items():
            old = before.vms.get(vm_id)
            if old is None:
                self._new(vm)
            elif old is not vm:
                self._changed(old, vm)
        for vm_id, vm in before.vms.items():
            if vm_id not in after.vms:
                left = self.traces(vm.uuid, vm_id)
                if left:
                    self._watch.problem(f"record of {vm.uuid} removed while there is {left}")
                self._watch.gone.add(vm.uuid)
        claims: Counter[str] = Counter()
        for vm in after.vms.values():
            claims[vm.host or ""] += vm.spec.cores
        for name, host in self._hosts.items():
            if claims[name] > host.cores:
                self._watch.problem(f"{claims[name]} cores are claimed on {name}")

    def _new(self, vm: Vm) -> None:
        if vm.id in self.seen_ids:
            self._watch.problem(f"id {vm.id} was given out twice")
        self.seen_ids[vm.id] = vm.uuid

    def _changed(self, old: Vm, vm: Vm) -> None:
        if old.uuid != vm.uuid:
            self._watch.problem(f"id {vm.id} changed its uuid")
        if not may_follow(old.state, vm.state):
            self._watch.problem(f"illegal change {old.state.name} -> {vm.state.name}")
        if vm.state is TashiState.Running and old.state is not TashiState.Running:
            self.check_running(vm)
        if vm.state is TashiState.Exited and old.state is not TashiState.Exited:
            self._check_ended(vm)
        if old.host is not None and vm.host != old.host:
            left = [
                what for what in self.traces(vm.uuid, vm.id) if not what.startswith(f"{vm.host}:")
            ]
            if left:
                self._watch.problem(f"claim on {old.host} lost while {left}")

    def _check_ended(self, vm: Vm) -> None:
        host = self._hosts[vm.host or ""]
        if host.qemu_of(vm.uuid) is not None:
            self._watch.problem(f"recorded as ended on {vm.host}, but runs: {vm.uuid}")

    def check_running(self, vm: Vm) -> None:
        """A VM that is recorded as running runs there, unless a fault has ended it."""
        if vm.uuid in self._watch.excused:
            return
        if vm.host is None or self._hosts[vm.host].qemu_of(vm.uuid) is None:
            self._watch.problem(f"recorded as running on {vm.host}, but is not: {vm.uuid}")
