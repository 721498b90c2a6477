"""Interfaces against the hosts of a DHCP server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

from msgspec import Struct

from tashictl.model.audit import Change, DhcpHost, DhcpSeen, Disagreement
from tashictl.model.naming import DhcpEntry
from tashictl.model.network import Network
from tashictl.planning import naming
from tashictl.planning.audit.claims import Claims


class _Server(Struct, frozen=True, kw_only=True):
    """A server's hosts, by what a registration must not share with another."""

    seen: DhcpSeen
    claims: Claims
    networks: tuple[Network, ...]
    by_key: dict[str, list[DhcpHost]]

    def is_ours(self, host: DhcpHost) -> bool:
        """Whether it carries the cluster's mark; what the configuration has is never ours."""
        return not host.fixed and self.claims.is_ours(host.owner)

    def is_open(self, host: DhcpHost) -> bool:
        """Whether it may belong to a VM that an operation is to settle."""
        keys = self.claims.open_dhcp
        return self.claims.is_open(host.owner) or host.name in keys or host.mac in keys

    def like(self, entry: DhcpEntry) -> list[DhcpHost]:
        """The hosts with an entry's name or MAC."""
        found = [*self.by_key.get(entry.mac, ()), *self.by_key.get(entry.name, ())]
        return list(dict.fromkeys(found))


def compare(claims: Claims, seen: DhcpSeen, networks: Iterable[Network]) -> Iterator[Disagreement]:
    """What is missing, wrong, foreign or too much at one server."""
    by_key: dict[str, list[DhcpHost]] = {}
    for host in seen.hosts:
        for key in dict.fromkeys((host.name, host.mac, *host.addresses)):
            by_key.setdefault(key, []).append(host)
    server = _Server(seen=seen, claims=claims, networks=tuple(networks), by_key=by_key)
    met: set[DhcpHost] = set()
    for entry in claims.dhcp:
        if entry.driver == seen.driver:
            there = server.like(entry)
            right = [host for host in there if _is_right(entry, host)]
            stale = [host for host in there if host not in right]
            met.update(right)
            if not any(server.is_open(host) for host in there):
                met.update(stale if all(server.is_ours(host) for host in stale) else ())
                yield from _entry(server, entry, right, stale)
            yield from _at_address(server, entry)
    for host in seen.hosts:
        if host not in met and server.is_ours(host) and not server.is_open(host):
            yield from _orphan(server, host)


def _entry(
    server: _Server, entry: DhcpEntry, right: list[DhcpHost], stale: list[DhcpHost]
) -> Iterator[Disagreement]:
    """One entry against the hosts that have its name or its MAC."""
    foreign = [host for host in stale if not server.is_ours(host)]
    add = () if right else (Change(entry=entry, add=True),)
    if foreign:
        yield _row(server, entry, "dhcp-foreign", foreign, "rename the VM, or remove it there")
    elif stale:
        yield from _stale(server, entry, stale, add)
    elif add and not server.claims.waits(entry, add=True):
        yield _row(server, entry, "dhcp-missing", (), "add it", add)


def _stale(
    server: _Server, entry: DhcpEntry, stale: list[DhcpHost], add: tuple[Change, ...]
) -> Iterator[Disagreement]:
    """Hosts of ours that have its name or MAC, and are not it."""
    if add and all(_is_replaced(entry, host) for host in stale):
        yield _row(server, entry, "dhcp-wrong", stale, "put the right one there", add)
        return
    removals = [_removal(server, host) for host in stale]
    if any(server.claims.waits(r, add=False) for r in removals):
        return
    changes = (*(Change(entry=r, add=False) for r in removals), *add)
    repair = "remove it, then add ours" if add else "remove it"
    yield _row(server, entry, "dhcp-orphan", stale, repair, changes)


def _is_replaced(entry: DhcpEntry, host: DhcpHost) -> bool:
    """Whether the server puts the entry in place of a host of the same VM."""
    same = entry.driver == naming.OMAPI or host.name == entry.name
    return same and host.owner == entry.owner


def _at_address(server: _Server, entry: DhcpEntry) -> Iterator[Disagreement]:
    """Hosts that are not ours with an address of a VM."""
    like = server.like(entry)
    found = [
        host
        for address in entry.addresses
        for host in server.by_key.get(address, ())
        if not server.is_ours(host) and host not in like
    ]
    if found:
        yield _row(server, entry, "dhcp-foreign", found, "remove it there, or move the VM")


def _orphan(server: _Server, host: DhcpHost) -> Iterator[Disagreement]:
    remove = _removal(server, host)
    if server.claims.waits(remove, add=False):
        return
    yield Disagreement(
        kind="dhcp-orphan",
        subject=host.name,
        source=server.seen.server,
        database="nothing",
        found=_text(server, host),
        repair="remove it",
        changes=(Change(entry=remove, add=False),),
    )


def _is_right(entry: DhcpEntry, host: DhcpHost) -> bool:
    """Whether it says what it should; one of the same content that is nobody's is right, too."""
    same = (host.name, host.mac) == (entry.name, entry.mac) and host.owner in ("", entry.owner)
    if not same or set(host.addresses) != set(carried(entry)):
        return False
    named = {(address, entry.fqdn) for address in entry.addresses if entry.fqdn}
    return host.names is None or not host.owner or set(host.names) == named


def carried(entry: DhcpEntry) -> tuple[str, ...]:
    """The addresses of an entry that its server takes: dhcpd has one for each kind of IP."""
    if entry.driver == naming.DNSMASQ:
        return entry.addresses
    return tuple(a for a in entry.addresses if ip_address(a).version == 4)


def _removal(server: _Server, host: DhcpHost) -> DhcpEntry:
    """The entry of a host that goes, by name and mark; what it lacks after a crash is all zeros."""
    return DhcpEntry(
        driver=host.driver,
        network=_network(server, host),
        name=host.name,
        mac=host.mac or "00:00:00:00:00:00",
        addresses=host.addresses[:1] or ("0.0.0.0",),
        owner=host.owner,
    )


def _network(server: _Server, host: DhcpHost) -> int:
    """The network that an address is of, 0 for none."""
    for network in server.networks:
        for cidr in (network.cidr, network.cidr6):
            if cidr is not None and any(
                ip_address(a) in ip_network(cidr, strict=False) for a in host.addresses
            ):
                return network.id
    return 0


def _text(server: _Server, host: DhcpHost) -> str:
    addresses = ", ".join(host.addresses) or "no address"
    if host.owner:
        whose = f"of {server.claims.who(host.owner)}"
    else:
        whose = "in its configuration" if host.fixed else "without our mark"
    names = sorted({name for _, name in host.names or ()})
    called = f" as {', '.join(names)}" if names else ""
    return f"{host.name} ({host.mac or 'no MAC'}) {addresses}{called}, {whose}"


def _row(
    server: _Server,
    entry: DhcpEntry,
    kind: str,
    found: Iterable[DhcpHost],
    repair: str,
    changes: tuple[Change, ...] = (),
) -> Disagreement:
    who = server.claims.who(entry.owner)
    said = f"{entry.mac} {', '.join(carried(entry))}"
    return Disagreement(
        kind=kind,
        subject=entry.name,
        source=server.seen.server,
        database=said if entry.name == who else f"{said} of {who}",
        found="; ".join(_text(server, host) for host in found) or "nothing",
        repair=repair,
        changes=changes,
    )
