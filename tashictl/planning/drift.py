"""Wanted against observed: what a look at a host says of the VMs that are recorded there.

A host that cannot be asked makes its VMs unknown since they were last seen, never stopped. Alive is
what holds its run.lock; whether such a VM is paused only QEMU could say, so that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from tashictl.model.host import HostFacts, VmFact
from tashictl.model.vm import Observed, Seen, Vm, Wanted

ENDED = "its QEMU ended"
NO_FOLDER = "nothing of it is on the host any more"
NO_ANSWER = "its host does not answer"
_ALIVE = (Seen.RUNNING, Seen.PAUSED)


def seen(vms: Iterable[Vm], facts: HostFacts | None, now: str) -> tuple[Vm, ...]:
    """The records that change, of VMs on one host; `facts` None: it did not answer at `now`.

    A VM with an operation on it, or one that is being removed, is left to that operation.
    """
    there = {fact.uuid: fact for fact in facts.vms} if facts is not None else {}
    found = []
    for vm in vms:
        if vm.operation is not None or vm.wanted is Wanted.ABSENT or vm.host is None:
            continue
        after = _lost(vm, now) if facts is None else _met(vm, there.get(vm.uuid), facts)
        if after != vm:
            found.append(after)
    return tuple(found)


def _lost(vm: Vm, now: str) -> Vm:
    """Its host did not answer: unknown, but for what cannot have changed by itself."""
    if vm.observed.what not in _ALIVE:
        return vm
    since = vm.observed.at or now
    return replace(vm, observed=_of(vm, Seen.UNKNOWN, since, vm.observed.boot_id), reason=NO_ANSWER)


def _met(vm: Vm, fact: VmFact | None, facts: HostFacts) -> Vm:
    before = vm.observed.what
    if fact is not None and fact.alive:
        what = before if before in _ALIVE else _at_work(vm)
        observed = _of(vm, what, facts.at, facts.boot_id)
        reason = vm.reason if what is before else None
        return replace(vm, observed=observed, pid=fact.pid or vm.pid, reason=reason)
    if before in (Seen.STOPPED, Seen.SUSPENDED):
        return vm
    observed = _of(vm, Seen.STOPPED, facts.at, facts.boot_id)
    return replace(vm, observed=observed, pid=None, reason=_why(vm, fact, facts))


def _at_work(vm: Vm) -> Seen:
    return Seen.PAUSED if vm.wanted is Wanted.PAUSED else Seen.RUNNING


def _of(vm: Vm, what: Seen, at: str, boot_id: str | None) -> Observed:
    return Observed(what=what, at=at, boot_id=boot_id, generation=vm.observed.generation)


def _why(vm: Vm, fact: VmFact | None, facts: HostFacts) -> str:
    if fact is None:
        return NO_FOLDER
    if vm.observed.boot_id in (None, facts.boot_id):
        return ENDED
    booted = facts.booted or ""
    # Hosts of containers tell the uptime of the machine below them.
    if booted <= (vm.observed.at or ""):
        return "host rebooted"
    return f"host rebooted {booted[:10]} {booted[11:16]} UTC"
