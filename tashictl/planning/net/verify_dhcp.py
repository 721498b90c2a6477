"""Whether DHCP of networks works: dhcpd.conf against ranges, dnsmasq's folders, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.leases import DhcpdConf, DhcpSubnet
from tashictl.model.naming import DnsmasqFolders
from tashictl.model.network import Network
from tashictl.model.script import Script
from tashictl.model.settings import DhcpSettings
from tashictl.planning.frames import sections
from tashictl.planning.net.standing import OK, UNKNOWN, WRONG, Row
from tashictl.planning.net.verify_names import failed, row
from tashictl.planning.shell import read_only

TIMEOUT_S = 30
Span = tuple[int, int]
_MAX_LEASE_S = 86400  # of dhcpd, where max-lease-time is not set

# What dhcpd.conf includes is read as well, but not what those files include.
_CONF = r"""
[ -r "$CONF" ] || { say B none; say Z; exit 0; }
say B conf; cat "$CONF"
sed -n 's/^[^#"]*include[ \t]*"\([^"]*\)".*/\1/p' "$CONF" \
| while read -r f; do [ ! -r "$f" ] || { echo; cat "$f"; }; done
"""


class Held(Struct, frozen=True, kw_only=True):
    """What dhcpd.conf is held against, beside the network itself.

    `kept_out` are spans of numbers that no guest gets; `ours` are (MAC, address) of VMs, which may
    stand in dhcpd.conf. `domain` is where the network's names are, "" for nowhere.
    """

    kept_out: tuple[Span, ...] = ()
    ours: frozenset[tuple[str, str]] = frozenset()
    lease_s: float = 3600.0
    domain: str = ""


def omapi_rows(network: Network, server: str, error: TashiError | None) -> Iterator[Row]:
    """What a lookup over OMAPI shows: whether dhcpd is there, and whether it takes the key."""
    if error is not None and error.code != "E-DHCP-KEY":
        yield failed(network, server, "dhcp", error)
        return
    yield row(network, server, "dhcp", OK, "answers")
    if error is not None:
        yield failed(network, server, "dhcp key", error)
    else:
        yield row(network, server, "dhcp key", OK, "is taken")


def conf_script(settings: DhcpSettings, nonce: str) -> Script:
    """Read dhcpd.conf on the server's host; it changes nothing."""
    text = read_only(nonce, _CONF, CONF=settings.conf_file)
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def conf_text(out: bytes, nonce: str) -> str | None:
    """The text of dhcpd.conf; "" where it cannot be read, None when the answer is not whole."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    return next((s.text for s in found if s.kind == "B" and s.words[:1] == ("conf",)), "")


def dnsmasq_rows(
    network: Network, host: str, settings: DhcpSettings, folders: DnsmasqFolders, held: Held
) -> Iterator[Row]:
    """What a look at dnsmasq's folders shows."""
    hosts, names = settings.dnsmasq_leases_dir, settings.dnsmasq_names_dir
    pid = (*folders.watchers, folders.by_pid_file)[0]
    if pid is not None:
        yield row(network, host, "dhcp", OK, f"dnsmasq runs, pid {pid}")
    else:
        seen = f"{'no dnsmasq that runs' if folders.running else 'no dnsmasq'} watches {hosts}"
        hint = f"dhcp-hostsdir={hosts} in its configuration, and start it"
        yield row(network, host, "dhcp", WRONG, seen, hint)
    if folders.missing:
        seen = f"{', '.join(folders.missing)}: not there"
        hint = "make it before dnsmasq starts: dhcp-hostsdir, hostsdir"
        yield row(network, host, "folders", WRONG, seen, hint)
    else:
        yield row(network, host, "folders", OK, ", ".join(filter(None, (hosts, names))))
    if network.range:
        given = _without(_span(network.range), held.kept_out)
        others = [(h.file, h.mac, h.addresses) for h in folders.hosts if not h.owner]
        yield _host_row(network, host, f"{hosts}/", _clashes(others, given, held))


def conf_rows(network: Network, server: str, conf: DhcpdConf, held: Held) -> Iterator[Row]:
    """What dhcpd.conf says against a network of IPv4 with a range."""
    if not network.range:
        return
    span = _span(network.range)
    given = _without(span, held.kept_out)
    subnet = _subnet(conf, span)
    yield _subnet_row(network, server, subnet)
    yield _pool_row(network, server, conf, given)
    others = [(host.name, host.mac, host.addresses) for host in conf.hosts]
    yield _host_row(network, server, "", _clashes(others, given, held))
    yield _lease_row(network, server, held, _longest_s(conf, subnet))
    if held.domain:
        search = (subnet.search if subnet is not None else ()) or conf.search
        yield _search_row(network, server, search, held.domain)


def _subnet_row(network: Network, server: str, subnet: DhcpSubnet | None) -> Row:
    if subnet is None:
        seen = f"no subnet of dhcpd.conf holds {network.range}"
        hint = f"subnet {(network.cidr or '').partition('/')[0] or '…'} netmask … {{ }} there"
        return row(network, server, "subnet", WRONG, seen, hint)
    return row(network, server, "subnet", OK, f"{network.range} is in {subnet.network}")


def _pool_row(network: Network, server: str, conf: DhcpdConf, given: list[Span]) -> Row:
    pools = [pool for subnet in conf.subnets for pool in subnet.ranges]
    for first, last in pools:
        low, high = int(ip_address(first)), int(ip_address(last))
        if _is_four(first) and any(a <= high and low <= b for a, b in given):
            seen = f"dhcpd gives {first}-{last} to anyone, and {network.range} is ours"
            hint = f"take it out of dhcpd.conf, or exclude: [{first}-{last}] in {network.name}"
            return row(network, server, "pools", WRONG, seen, hint)
    seen = f"none of {len(pools)} overlaps {network.range}" if pools else "dhcpd.conf has none"
    return row(network, server, "pools", OK, seen)


def _clashes(
    hosts: Iterable[tuple[str, str, tuple[str, ...]]], given: list[Span], held: Held
) -> list[tuple[str, str]]:
    """Of (name, MAC, addresses), names with an address that a VM may be given."""
    found = []
    for name, mac, addresses in hosts:
        for address in addresses:
            if (mac, address) in held.ours or not _is_four(address):
                continue
            number = int(ip_address(address))
            if any(low <= number <= high for low, high in given):
                found.append((name, address))
    return found


def _host_row(network: Network, server: str, folder: str, clashes: list[tuple[str, str]]) -> Row:
    """`folder` is dnsmasq's, "" for dhcpd.conf."""
    if not clashes:
        seen = f"none of {folder or 'dhcpd.conf'} is in {network.range}"
        return row(network, server, "hosts", OK, seen)
    name, address = clashes[0]
    more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
    name = f"{folder}{name}" if folder else f"{name} of dhcpd.conf"
    seen = f"{name} has {address}, which a VM may be given{more}"
    hint = f"exclude: [{', '.join(a for _, a in clashes)}] in {network.name}"
    return row(network, server, "hosts", WRONG, seen, hint)


def _longest_s(conf: DhcpdConf, subnet: DhcpSubnet | None) -> int | None:
    said = subnet.max_lease_s if subnet is not None else None
    return said if said is not None else conf.max_lease_s


def _lease_row(network: Network, server: str, held: Held, said_s: int | None) -> Row:
    longest_s = said_s if said_s is not None else _MAX_LEASE_S
    where = f"max-lease-time {longest_s}{'' if said_s is not None else ' (not set)'}"
    if longest_s > held.lease_s:
        seen = f"{where}: a guest may keep an address longer than it rests, {held.lease_s:g} s"
        hint = f"[DhcpDns] leaseTime = {longest_s}, or a shorter max-lease-time in dhcpd.conf"
        return row(network, server, "lease time", WRONG, seen, hint)
    return row(network, server, "lease time", OK, f"{where}, leaseTime {held.lease_s:g}")


def _search_row(network: Network, server: str, search: Iterable[str], domain: str) -> Row:
    """Hosts get their domain from us; a list of domains to search they have from dhcpd.conf."""
    plain = [one.strip(".,").lower() for one in search]
    if not plain or domain in plain:
        return row(network, server, "search", OK, domain)
    seen = f"guests search {', '.join(plain)}, and their names are in {domain}"
    return row(
        network, server, "search", WRONG, seen, f'option domain-search "{domain}" in dhcpd.conf'
    )


def unread(network: Network, server: str, why: str, hint: str = "") -> Row:
    """dhcpd.conf could not be had."""
    return row(network, server, "dhcpd.conf", UNKNOWN, why, hint)


def _subnet(conf: DhcpdConf, span: Span) -> DhcpSubnet | None:
    """The smallest subnet that holds the whole range."""
    found = []
    for subnet in conf.subnets:
        net = ip_network(subnet.network)
        if net.version == 4 and int(net[0]) <= span[0] and span[1] <= int(net[-1]):
            found.append((net.num_addresses, subnet))
    return min(found, key=lambda one: one[0])[1] if found else None


def _span(text: str) -> Span:
    first, _, last = text.partition("-")
    return int(ip_address(first)), int(ip_address(last or first))


def _without(span: Span, kept_out: Iterable[Span]) -> list[Span]:
    """What is left of a span."""
    left: list[Span] = []
    place, last = span
    for low, high in sorted(kept_out):
        if low > last:
            break
        if low > place:
            left.append((place, low - 1))
        place = max(place, high + 1)
    return [*left, (place, last)] if place <= last else left


def _is_four(address: str) -> bool:
    """Whether it is an IPv4 address; a host of dhcpd.conf may have a name there."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4
