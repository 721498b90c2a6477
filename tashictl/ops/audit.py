"""Look at all sources of names and addresses, and hold the database against them."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import NotPermitted, OperationFailed
from tashictl.model.audit import Disagreement, HostSeen, Seen, Unseen
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script
from tashictl.model.state import State
from tashictl.ops import answers, audit_dhcp, audit_dns
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.planning.audit import ask
from tashictl.planning.audit.compare import compare


class Audit(Struct, frozen=True, kw_only=True):
    """What one look found; of VMs that changed meanwhile (`busy`, by uuid) nothing is said.

    `ended_s` is when it was over, monotonic.
    """

    seen: Seen
    rows: tuple[Disagreement, ...]
    busy: frozenset[str]
    ended_s: float

    @property
    def lacking(self) -> tuple[Unseen, ...]:
        """The sources that were not had at all."""
        return tuple(one for one in self.seen.unseen if not one.lacks)


def audit(world: World, context: Context) -> Audit:
    """Look around and compare; changes nothing."""
    before = world.store.read()
    seen = look(world, context, before)
    # The state after the look: what was registered meanwhile belongs to a VM that is in it.
    state = world.store.read()
    busy = frozenset(vm.uuid for vm in state.vms.values() if not _is_same(before, vm.id, state))
    return Audit(
        seen=seen,
        rows=compare(state, context.inventory.networks, context.settings, seen, busy),
        busy=busy,
        ended_s=world.clock.monotonic_s(),
    )


def _is_same(before: State, vm_id: int, state: State) -> bool:
    """Whether what a VM should have was the same before; that it was looked at changes nothing."""
    old, new = before.vms.get(vm_id), state.vms[vm_id]
    return old is not None and (old.spec, old.host, old.wanted, old.operation) == (
        *(new.spec, new.host, new.wanted, new.operation),
    )


def look(world: World, context: Context, state: State) -> Seen:
    """All that can be seen now of zones, DHCP servers and hosts."""
    seen = servers(world, context, state)
    hosts, lost = _hosts(world, context, state)
    return replace(seen, hosts=tuple(hosts), unseen=(*seen.unseen, *lost))


def servers(world: World, context: Context, state: State) -> Seen:
    """The same of zones and DHCP servers alone."""
    at = iso(world.clock.now())
    zones, lost_zones = audit_dns.look(world, context, state)
    dhcp, lost_dhcp = audit_dhcp.look(world, context, state)
    return Seen(at=at, zones=tuple(zones), dhcp=tuple(dhcp), unseen=(*lost_zones, *lost_dhcp))


def _hosts(world: World, context: Context, state: State) -> tuple[list[HostSeen], list[Unseen]]:
    """All hosts that were added, at once; each has its own deadline."""
    nonces: dict[str, str] = {}
    seen: dict[str, HostSeen] = {}
    unseen: dict[str, Unseen] = {}
    asked = [h for h in context.inventory.hosts if h.name in state.hosts]

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        here = [vm.uuid for vm in state.vms.values() if vm.host == host.name]
        return ask.script(context.settings, here, nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        nonce = nonces.get(host.name)
        found = ask.read(reply.out, nonce, host.name) if nonce is not None else None
        if found is None:
            unseen[host.name] = _unseen(host, reply)
            return
        seen[host.name] = found
        if found.hidden:
            unseen[host.name] = _half_seen(host)

    timeout_s = context.settings.tashictl.connect_timeout_s + ask.TIMEOUT_S
    if asked:
        world.remote.sweep(asked, script_for, timeout_s, result)
    names = [h.name for h in asked]
    return [seen[n] for n in names if n in seen], [unseen[n] for n in names if n in unseen]


def _half_seen(host: HostConfig) -> Unseen:
    error = NotPermitted(
        "E-AUDIT-HIDDEN",
        f"the login on {host.name} may not see every process",
        hint="root there, or a login with become",
        host=host.name,
    )
    return Unseen(
        source=f"host {host.name}", error=error, lacks="MACs of QEMUs of other users are not seen"
    )


def _unseen(host: HostConfig, reply: Reply) -> Unseen:
    source = f"host {host.name}"
    if reply.fault is not None:
        return Unseen(source=source, error=answers.unreachable(host.name, reply))
    said = reply.err.decode("utf-8", "replace").strip()[-300:]
    error = OperationFailed(
        "E-AUDIT-LOOK",
        f"{host.name} gave no full answer about its neighbours and QEMUs",
        cause=said or f"exit {reply.rc}",
        hint=f"tashictl host check {host.name}",
        host=host.name,
    )
    return Unseen(source=source, error=error)
