"""Wanted against observed: what a look at a host says of the VMs that are recorded there.

A host that cannot be asked makes its VMs unknown since they were last seen, never stopped. Alive is
what holds its run.lock; whether such a VM is paused only QEMU could say, so that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.host import HostFacts
from tashictl.model.sighting import Sighting
from tashictl.model.vm import Observed, Seen, Vm, Wanted
from tashictl.planning import endings

NO_FOLDER = "nothing of it is on the host any more"
NO_ANSWER = "its host does not answer"
REBOOTED = "host rebooted"  # how the reason of a VM begins that ended with its host
_ALIVE = (Seen.RUNNING, Seen.PAUSED)


class There(Struct, frozen=True, kw_only=True):
    """A VM as a look found it; `ended` says in words how it ended, if it is not alive.

    `said` is what its QEMU says of itself, where it was asked.
    """

    alive: bool
    pid: int | None = None
    said: Seen | None = None
    ended: str = endings.ENDED


class Look(Struct, frozen=True, kw_only=True):
    """What was seen of the VMs of one host, by uuid; `booted` is ISO-8601 UTC, None if unknown.

    `dim`: their folders lie on a mount that hangs, so that one which is not there is not gone.
    `hidden`: the login may not see everything, so that one which is not seen alive may be.
    `neighbours` are (MAC, address) of the host's neighbour table.
    """

    at: str
    boot_id: str
    booted: str | None
    vms: Mapping[str, There]
    dim: bool = False
    hidden: bool = False
    neighbours: tuple[tuple[str, str], ...] = ()

    def tells_of(self, uuid: str) -> bool:
        """Whether it says anything of a VM."""
        there = self.vms.get(uuid)
        if there is not None and there.alive:
            return True
        return not self.hidden and not (self.dim and there is None)


def look_of(facts: HostFacts) -> Look:
    """The look that a host's facts are."""
    vms = {fact.uuid: There(alive=fact.alive, pid=fact.pid) for fact in facts.vms}
    return Look(
        at=facts.at,
        boot_id=facts.boot_id,
        booted=facts.booted,
        vms=vms,
        hidden=facts.hidden,
    )


def look_at(sighting: Sighting, booted: str | None, said: Mapping[str, Seen]) -> Look:
    """The look that a sweep's sighting is; `said` is by uuid, of those that were talked to."""
    return Look(
        at=sighting.at,
        boot_id=sighting.boot_id,
        booted=booted,
        vms={
            vm.uuid: There(
                alive=vm.alive, pid=vm.pid, said=said.get(vm.uuid), ended=endings.words(vm)
            )
            for vm in sighting.vms
            if vm.alive or vm.folder
        },
        dim=is_dim(sighting),
        hidden=sighting.hidden,
        neighbours=sighting.neighbours,
    )


def is_dim(sighting: Sighting) -> bool:
    """Whether the folders of VMs lie on a mount that hangs."""
    mounts = sighting.host.mounts if sighting.host is not None else ()
    return any(mount.role == "lib" and mount.stuck_since is not None for mount in mounts)


def seen(vms: Iterable[Vm], look: Look | None, now: str) -> tuple[Vm, ...]:
    """The records that change, of VMs on one host; `look` None: it did not answer at `now`.

    A VM with an operation on it, or one that is being removed, is left to that operation.
    """
    found = []
    for vm in vms:
        if vm.operation is not None or vm.wanted is Wanted.ABSENT or vm.host is None:
            continue
        if look is not None and not look.tells_of(vm.uuid):
            continue
        after = _lost(vm, now) if look is None else _met(vm, look.vms.get(vm.uuid), look)
        if after != vm:
            found.append(after)
    return tuple(found)


def _lost(vm: Vm, now: str) -> Vm:
    """Its host did not answer: unknown, but for what cannot have changed by itself."""
    if vm.observed.what not in _ALIVE:
        return vm
    since = vm.observed.at or now
    unknown = replace(vm.observed, what=Seen.UNKNOWN, at=since)
    return replace(vm, observed=unknown, reason=NO_ANSWER)


def _met(vm: Vm, there: There | None, look: Look) -> Vm:
    before = vm.observed.what
    if there is not None and there.alive:
        what = there.said or (before if before in _ALIVE else _at_work(vm))
        observed = replace(_of(vm, what, look.at, look.boot_id), learnt=_learnt(vm, look))
        reason = vm.reason if what is before else None
        return replace(vm, observed=observed, pid=there.pid or vm.pid, reason=reason)
    if before in (Seen.STOPPED, Seen.SUSPENDED):
        return vm
    observed = _of(vm, Seen.STOPPED, look.at, look.boot_id)
    return replace(vm, observed=observed, pid=None, reason=_why(vm, there, look))


def _learnt(vm: Vm, look: Look) -> tuple[tuple[str, str], ...]:
    """What the host knows of its MACs, but for addresses that it has from us.

    A MAC of which the host knows nothing now keeps what it had: entries age.
    """
    found: list[tuple[str, str]] = []
    for nic in vm.spec.nics:
        now = [pair for pair in look.neighbours if pair[0] == nic.mac]
        now = now or [pair for pair in vm.observed.learnt if pair[0] == nic.mac]
        found += [pair for pair in now if pair[1] not in nic.addresses]
    return tuple(found)


def _at_work(vm: Vm) -> Seen:
    return Seen.PAUSED if vm.wanted is Wanted.PAUSED else Seen.RUNNING


def _of(vm: Vm, what: Seen, at: str, boot_id: str | None) -> Observed:
    return Observed(what=what, at=at, boot_id=boot_id, generation=vm.observed.generation)


def _why(vm: Vm, there: There | None, look: Look) -> str:
    if there is None:
        return NO_FOLDER
    if vm.observed.boot_id in (None, look.boot_id):
        return there.ended
    booted = look.booted or ""
    # Hosts of containers tell the uptime of the machine below them.
    if booted <= (vm.observed.at or ""):
        return REBOOTED
    return f"{REBOOTED} {booted[:10]} {booted[11:16]} UTC"
