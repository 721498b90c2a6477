"""Where an audit has to look: names whose zones are asked for, and who serves the networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from msgspec import Struct

from tashictl.model.audit import DhcpHost, ZoneSeen
from tashictl.model.naming import DnsEntry, DnsmasqFolders
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.state import State
from tashictl.planning import naming
from tashictl.planning.audit.zones import MARK, is_below, reverse_name


class Asked(Struct, frozen=True, kw_only=True):
    """The names that must lie in a zone of the server, and those that only may (`maybe`)."""

    names: tuple[str, ...]
    maybe: tuple[str, ...]


def names(state: State, networks: Iterable[Network], settings: Settings) -> Asked:
    """The names of all VMs and of what waits; and where else something of ours may have been."""
    must: dict[str, None] = {}
    entries = [e for vm in state.vms.values() for e in naming.dns_entries(vm, settings)]
    entries += [w.entry for w in state.deferred.values() if isinstance(w.entry, DnsEntry)]
    for entry in entries:
        must[entry.name] = None
        if entry.reverse:
            must.update((reverse_name(address), None) for address in entry.addresses)
    return Asked(names=tuple(must), maybe=tuple(dict.fromkeys(_elsewhere(networks, settings))))


def _elsewhere(networks: Iterable[Network], settings: Settings) -> Iterator[str]:
    yield from (zone.rstrip(".").lower() for zone in settings.dns.zones)
    domains = [settings.dns.domain]
    for network in networks:
        domains.append(network.domain)
        if settings.dns.reverse:
            for span in (network.range, network.range6):
                if span:
                    yield from (reverse_name(end) for end in span.split("-"))
            for cidr in (network.cidr, network.cidr6):
                if cidr:
                    yield reverse_name(str(ip_network(cidr, strict=False).network_address))
    # Of a name in the domain: the zone's own name may lie in the zone above, too.
    yield from (f"{MARK}{d.rstrip('.').lower()}" for d in domains if d)


def is_covered(name: str, zones: Iterable[ZoneSeen]) -> bool:
    """Whether a name lies in a zone that was seen, and not in one that is delegated from it."""
    fit = [zone for zone in zones if is_below(name, zone.zone)]
    zone = max(fit, key=lambda z: len(z.zone), default=None)
    if zone is None:
        return False
    return not any(
        record.kind == "NS" and record.name != zone.zone and is_below(name, record.name)
        for record in zone.records
    )


def above(name: str) -> str:
    """The part of a name that others next to it share."""
    return name.partition(".")[2]


def with_marks(known: Iterable[str]) -> tuple[str, ...]:
    """Names, and where their marks stand."""
    return tuple(word for name in known for word in (name, f"{MARK}{name}"))


def drivers(networks: Iterable[Network], state: State) -> tuple[str, ...]:
    """The DHCP drivers that are used, or of which something waits."""
    found = {n.dhcp: None for n in networks if n.dhcp not in ("", "none")}
    for work in state.deferred.values():
        if not isinstance(work.entry, DnsEntry):
            found[work.entry.driver] = None
    return tuple(found)


def dnsmasq_hosts(folders: DnsmasqFolders, *, named: bool) -> tuple[DhcpHost, ...]:
    """The hosts of dnsmasq's folders, by file; `named`: it has a folder of names."""
    found: dict[str, DhcpHost] = {}
    for line in folders.hosts:
        key = line.file if line.owner else f"{line.file}:{line.mac}:{line.name}"
        before = found.get(key)
        found[key] = DhcpHost(
            driver=naming.DNSMASQ,
            name=line.file if line.owner else line.name or line.file,
            mac=line.mac,
            # A second line in a file of ours is none of ours: it makes the host a wrong one.
            addresses=line.addresses if before is None else (*before.addresses, *line.addresses),
            owner=line.owner,
            names=() if named else None,
        )
    for name in folders.names if named else ():
        if name.owner:
            host = found.get(name.file) or DhcpHost(
                driver=naming.DNSMASQ, name=name.file, mac="", owner=name.owner, names=()
            )
            names_ = (*(host.names or ()), (name.address, name.name))
            found[name.file] = DhcpHost(
                driver=host.driver,
                name=host.name,
                mac=host.mac,
                addresses=host.addresses,
                owner=host.owner,
                names=names_,
            )
    return tuple(found.values())
