"""Steps that happen at the servers of names and addresses; what waits for one is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tashictl.errors import InvalidRequest, TashiError, Uncertain, Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry, Entry
from tashictl.model.settings import Server
from tashictl.model.steps import AddDhcp, AddDns, RemoveDhcp, RemoveDns
from tashictl.ops import naming_dnsmasq
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import Stream, World
from tashictl.ops.ports_names import Omapi
from tashictl.planning import naming

NamesStep = AddDhcp | AddDns | RemoveDns | RemoveDhcp
DEFERRED = "deferred"


def carry_out(
    world: World, context: Context, step: NamesStep, fault: Callable[[str], None]
) -> dict[str, str]:
    """Do one step; what it reports. `fault` is told of the moment ``sent``.

    Where the policy is ``deferred`` and the server cannot be had, the work is written down instead
    and the step counts as done. Raises Unreachable when nothing of it was sent, Uncertain when it
    may be done, Conflict for what is not ours, and what the server did not take.
    """
    adds = isinstance(step, AddDhcp | AddDns)
    fault("sent")
    error = change(world, context, step.entry, add=adds)
    if error is None:
        if step.entry.key in world.store.read().deferred:
            with world.store.transaction() as tx:
                tx.remove_deferred(step.entry.key)
        return {}
    if not _may_wait(context, step.entry, error, adds=adds):
        raise error
    why = line(error)
    work = Deferred(entry=step.entry, add=adds, since=iso(world.clock.now()), why=why)
    with world.store.transaction() as tx:
        tx.put_deferred(work)
    world.report.warn(f"{named(step.entry)}: {_what(adds)} waits for its server ({why})")
    return {DEFERRED: why}


def change(world: World, context: Context, entry: Entry, *, add: bool) -> TashiError | None:
    """Register or remove one entry at its server; None when it is done, else why not."""
    try:
        match entry:
            case DnsEntry():
                dns = world.names.dns(context.settings.dns)
                return (dns.add if add else dns.remove)([entry])[0]
            case DhcpEntry(driver=naming.DNSMASQ):
                return naming_dnsmasq.change(world, context, [(entry, add)])[0]
            case DhcpEntry(driver=naming.OMAPI):
                _omapi(world, context, entry, add=add)
                return None
            case _:
                return InvalidRequest(
                    "E-DHCP-DRIVER",
                    f"dhcp: {entry.driver} cannot be used yet",
                    hint="dhcp: isc-omapi, dnsmasq or none for that network in the inventory",
                )
    except TashiError as error:
        return error


def _omapi(world: World, context: Context, entry: DhcpEntry, *, add: bool) -> None:
    with omapi(world, context) as server:
        (server.add if add else server.remove)(entry)


@contextmanager
def omapi(world: World, context: Context) -> Iterator[Omapi]:
    """A connection to dhcpd, through its host where that is one of ours.

    Raises InvalidRequest E-DHCP-SERVER where none is set, Unreachable where the host is not had.
    """
    settings = context.settings.dhcp
    if settings.server is None:
        raise InvalidRequest(
            "E-DHCP-SERVER",
            "no DHCP server is known",
            cause="a network has dhcp: isc-omapi, and [DhcpDns] dhcpServer is not set",
            hint="dhcpServer, dhcpKeyName and dhcpSecretKey in the configuration",
        )
    through = _through(world, context, settings.server)
    with world.names.omapi(settings, through) as server:
        yield server


def _through(world: World, context: Context, server: Server) -> Stream | None:
    """A stream to a server that runs on one of our hosts; None for one that runs elsewhere."""
    host = server_host(context, server)
    if host is None:
        return None
    deadline_s = world.clock.monotonic_s() + context.settings.tashictl.connect_timeout_s
    try:
        return world.remote.open_tcp(host, "127.0.0.1", server.port, deadline_s)
    except Unreachable as error:
        raise Unreachable(
            "E-DHCP-DOWN",
            f"the DHCP server on {host.name} is not reached",
            cause=f"127.0.0.1 port {server.port}, through SSH: {line(error)}",
            hint=error.hint
            or f"is dhcpd running there? tashictl host run {host.name} -- "
            f"ss -tln sport = :{server.port}",
        ) from error


def server_host(context: Context, server: Server) -> HostConfig | None:
    """The host of the inventory on which a server runs, None when it is on none of them."""
    for host in context.inventory.hosts:
        if server.host in (host.name, host.address):
            return host
    return None


def named(entry: Entry) -> str:
    """An entry in a few words."""
    match entry:
        case DnsEntry(name=name):
            return f"DNS {name}"
        case DhcpEntry(name=name, mac=mac):
            return f"DHCP {name} ({mac})"


def _what(adds: bool) -> str:
    return "its registration" if adds else "its removal"


def _may_wait(context: Context, entry: Entry, error: TashiError, *, adds: bool) -> bool:
    """Whether the policy lets the VM go on without its server.

    What a server refuses is a fault of the set-up and stops a creation; a removal is never lost.
    """
    settings = context.settings
    policy = settings.dns.policy if isinstance(entry, DnsEntry) else settings.dhcp.policy
    return policy == DEFERRED and (isinstance(error, Unreachable) or not adds)


def is_unsent(error: TashiError) -> bool:
    """Whether nothing of a step left this machine."""
    return isinstance(error, Unreachable) and not isinstance(error, Uncertain)


def line(error: TashiError) -> str:
    """An error in one line: the fact and its cause."""
    return f"{error.what}: {'; '.join(error.cause.splitlines())}" if error.cause else error.what
