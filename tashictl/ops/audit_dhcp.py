"""What DHCP servers have, as far as they can be asked."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.errors import InvalidRequest, NotPermitted, OperationFailed, TashiError
from tashictl.model.audit import DhcpHost, DhcpSeen, Unseen
from tashictl.model.host import HostConfig
from tashictl.model.naming import DhcpEntry
from tashictl.model.script import Reply, Script
from tashictl.model.state import State
from tashictl.ops import answers, audit_dns, naming_dnsmasq
from tashictl.ops import naming as ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import dnsmasq_look, naming
from tashictl.planning.audit import leased, places

_SLACK_S = 15.0


def look(world: World, context: Context, state: State) -> tuple[list[DhcpSeen], list[Unseen]]:
    """The hosts of every DHCP server that is used, and what could not be had."""
    seen: list[DhcpSeen] = []
    unseen: list[Unseen] = []
    for driver in places.drivers(context.inventory.networks, state):
        try:
            if driver == naming.DNSMASQ:
                seen.append(_dnsmasq(world, context))
            elif driver == naming.OMAPI:
                found, partly = _dhcpd(world, context, state)
                seen.append(found)
                unseen += partly
            else:
                raise InvalidRequest("E-DHCP-DRIVER", f"dhcp: {driver} cannot be looked at yet")
        except TashiError as error:
            unseen.append(Unseen(source=f"dhcp {driver}", error=error))
    return seen, unseen


def _dnsmasq(world: World, context: Context) -> DhcpSeen:
    host = naming_dnsmasq.server(context)
    script = dnsmasq_look.listing(context.settings, world.dice.nonce())
    reply = _run(world, context, host, script)
    folders = dnsmasq_look.read(reply.out, script.nonce)
    if folders is None:
        raise answers.no_answer(host.name, reply)
    named = bool(context.settings.dhcp.dnsmasq_names_dir)
    return DhcpSeen(
        driver=naming.DNSMASQ,
        server=f"dnsmasq on {host.name}",
        hosts=places.dnsmasq_hosts(folders, named=named),
    )


def _dhcpd(world: World, context: Context, state: State) -> tuple[DhcpSeen, list[Unseen]]:
    """By its files where it runs on a host of ours, else name by name."""
    server = context.settings.dhcp.server
    host = ops.server_host(context, server) if server is not None else None
    if host is None or server is None:
        return _by_name(world, context, state)
    script = leased.script(context.settings, world.dice.nonce())
    reply = _run(world, context, host, script)
    hosts = leased.read(reply.out, script.nonce)
    if hosts is None:
        raise _unread(host, reply)
    return DhcpSeen(driver=naming.OMAPI, server=f"dhcpd on {host.name}", hosts=hosts), []


def _by_name(world: World, context: Context, state: State) -> tuple[DhcpSeen, list[Unseen]]:
    """Each host that ought to be there; of others nothing is known."""
    names = dict.fromkeys(
        entry.name for entry in _entries(context, state) if entry.driver == naming.OMAPI
    )
    found = []
    with ops.omapi(world, context) as omapi:
        for name in names:
            host = omapi.lookup(name)
            if host is not None:
                found.append(
                    DhcpHost(
                        driver=naming.OMAPI,
                        name=host.name,
                        mac=host.mac,
                        addresses=host.addresses,
                        owner=host.owner,
                    )
                )
    server = context.settings.dhcp.server
    why = NotPermitted(
        "E-DHCP-LEASES",
        f"the leases file of dhcpd at {server} cannot be read",
        cause="OMAPI lists no hosts, and the server is no host of the inventory, whose leases file "
        "could be read",
        hint="put the server into the inventory",
    )
    seen = DhcpSeen(
        driver=naming.OMAPI, server=f"dhcpd at {server}", hosts=tuple(found), whole=False
    )
    return seen, [Unseen(source=f"dhcp {server}", error=why, lacks=audit_dns.LACKS)]


def _entries(context: Context, state: State) -> Iterable[DhcpEntry]:
    networks = context.inventory.networks
    for vm in state.vms.values():
        yield from naming.dhcp_entries(vm, networks, context.settings)
    for work in state.deferred.values():
        if isinstance(work.entry, DhcpEntry):
            yield work.entry


def _run(world: World, context: Context, host: HostConfig, script: Script) -> Reply:
    ours = context.settings.tashictl
    allowance_s = ours.connect_timeout_s + script.timeout_s + _SLACK_S
    reply = world.remote.run(host, script, world.clock.monotonic_s() + allowance_s)
    if reply.fault is not None:
        raise answers.unreachable(host.name, reply)
    return reply


def _unread(host: HostConfig, reply: Reply) -> TashiError:
    said = reply.err.decode("utf-8", "replace").strip()[-300:]
    return OperationFailed(
        "E-DHCP-LEASES",
        f"{host.name} gave no full answer about dhcpd's files",
        cause=said or f"exit {reply.rc}",
        hint="dhcpLeases and dhcpConf in [DhcpDns] are their paths there",
        host=host.name,
    )
