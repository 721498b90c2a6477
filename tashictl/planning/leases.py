"""dhcpd.leases and dhcpd.conf as text: the hosts, leases and pools that dhcpd knows.

OMAPI lists nothing and tells no group, so whoever wants the whole picture reads the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tashictl.model.leases import DhcpdConf, DhcpSubnet, HostRecord, LeaseRecord, LeasesFile
from tashictl.planning.leases_text import Statement, tree

_IPV6_WORDS = 4
_MAC_BYTE = re.compile(r"[0-9a-fA-F]{1,2}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_OPTION_WORDS = ("option", "supersede", "default", "prepend", "append", "send")
_WHEN = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d)")


def read_leases(text: str) -> LeasesFile:
    """What a leases file says at its end; never raises."""
    whole = tree(text)
    hosts: dict[str, HostRecord] = {}
    groups: dict[str, None] = {}
    deleted: dict[str, None] = {}
    leases: dict[str, LeaseRecord] = {}
    faults = []
    for statement in whole.statements:
        if statement.body is None or statement.kind not in ("host", "group", "lease"):
            continue
        if len(statement.words) != 2:
            shown = " ".join(w.text for w in statement.words)
            faults.append(f"line {statement.words[0].line}: {shown}")
            continue
        name = statement.words[1].text
        gone = _has(statement.body, "deleted")
        if statement.kind == "lease":
            address = _address(name)
            # What was being written when the file was cut says less than what stood before.
            if not (whole.cut and statement is whole.statements[-1] and address in leases):
                leases[address] = _lease(address, statement.body)
        elif statement.kind == "group":
            groups.pop(name, None)
            if not gone:
                groups[name] = None
        else:
            # The last word is the last in the file too.
            hosts.pop(name, None)
            deleted.pop(name, None)
            if gone:
                deleted[name] = None
            else:
                hosts[name] = _host(name, statement.body, odd=True)
    return LeasesFile(
        hosts=tuple(hosts.values()),
        groups=tuple(groups),
        deleted=tuple(deleted),
        leases=tuple(leases.values()),
        cut=whole.cut,
        faults=tuple(faults),
    )


def read_conf(text: str) -> DhcpdConf:
    """What we need of a dhcpd.conf, but nothing of files that it includes; never raises."""
    whole = tree(text)
    every = tuple(_all(whole.statements))
    port = _number(whole.statements, "omapi-port")
    return DhcpdConf(
        hosts=tuple(
            _host(s.words[1].text, s.body, odd=False)
            for s in every
            if s.kind == "host" and len(s.words) == 2 and s.body is not None
        ),
        subnets=tuple(found for s in every if (found := _subnet(s)) is not None),
        domain=" ".join(_option(whole.statements, "domain-name")[:1]),
        search=_option(whole.statements, "domain-search"),
        default_lease_s=_number(whole.statements, "default-lease-time"),
        max_lease_s=_number(whole.statements, "max-lease-time"),
        omapi_port=port,
        omapi_key=_value(whole.statements, "omapi-key"),
        includes=tuple(s.values[0] for s in every if s.kind == "include" and s.values),
        cut=whole.cut,
    )


def _all(statements: Iterable[Statement]) -> Iterator[Statement]:
    """All statements of all blocks, as they stand in the file."""
    waiting = list(statements)[::-1]
    while waiting:
        statement = waiting.pop()
        yield statement
        waiting += (statement.body or ())[::-1]


def _host(name: str, body: tuple[Statement, ...], *, odd: bool) -> HostRecord:
    """`odd` is of leases files, where an IPv6 address stands as four IPv4 ones."""
    options = {}
    for statement in body:
        words = statement.values
        if statement.kind in _OPTION_WORDS and statement.body is None and words:
            said = [w.text for w in statement.words[2:] if w.quoted or w.text != "="]
            options[words[0].lower()] = " ".join(said).replace(" ,", ",")
    addresses = [a for s in body if s.kind == "fixed-address" for a in s.values]
    return HostRecord(
        name=name,
        mac=_mac(body),
        addresses=_odd_ipv6(addresses) if odd else tuple(map(_address, addresses)),
        uid=_value(body, "uid"),
        group=_value(body, "group"),
        dynamic=_has(body, "dynamic"),
        options=options,
    )


def _lease(address: str, body: tuple[Statement, ...]) -> LeaseRecord:
    state = next((s.values[1:] for s in body if s.kind == "binding"), ())
    ends = next((" ".join(s.values) for s in body if s.kind == "ends"), "")
    when = _WHEN.search(ends)
    return LeaseRecord(
        address=address,
        state=" ".join(state),
        mac=_mac(body),
        hostname=_value(body, "client-hostname"),
        ends=f"{when[1]}-{when[2]}-{when[3]}T{when[4]}Z" if when else ends,
    )


def _subnet(statement: Statement) -> DhcpSubnet | None:
    words = statement.values
    body = statement.body
    if body is None or statement.kind not in ("subnet", "subnet6") or not words:
        return None
    mask = words[2] if len(words) > 2 and words[1].lower() == "netmask" else ""
    try:
        network = str(ip_network(f"{words[0]}/{mask}" if mask else words[0], strict=False))
    except ValueError:
        return None
    # Pools lie in blocks of their own.
    ranges = [found for s in _all(body) if (found := _range(s)) is not None]
    return DhcpSubnet(
        network=network,
        ranges=tuple(ranges),
        domain=" ".join(_option(body, "domain-name")[:1]),
        search=_option(body, "domain-search"),
        default_lease_s=_number(body, "default-lease-time"),
        max_lease_s=_number(body, "max-lease-time"),
    )


def _range(statement: Statement) -> tuple[str, str] | None:
    """The ends of a dynamic pool; one of IPv6 may be a prefix."""
    if statement.kind not in ("range", "range6") or statement.body is not None:
        return None
    words = [w for w in statement.values if w.lower() not in ("dynamic-bootp", "temporary")]
    try:
        if words and "/" in words[0]:
            network = ip_network(words[0], strict=False)
            return str(network[0]), str(network[-1])
        first, last = str(ip_address(words[0])), str(ip_address(words[-1]))
    except (ValueError, IndexError):
        return None
    return first, last


def _option(body: tuple[Statement, ...], name: str) -> tuple[str, ...]:
    """The values of ``option NAME …`` of this block; the last one counts."""
    found: tuple[str, ...] = ()
    for statement in body:
        words = statement.values
        if statement.kind in _OPTION_WORDS and words[:1] == (name,):
            found = words[1:]
    return found


def _value(body: tuple[Statement, ...], kind: str) -> str:
    """The first value of the last such statement, "" without one."""
    values = [s.values[0] for s in body if s.kind == kind and s.body is None and s.values]
    return values[-1] if values else ""


def _number(body: tuple[Statement, ...], kind: str) -> int | None:
    text = _value(body, kind)
    return int(text) if _NUMBER.fullmatch(text) else None


def _has(body: tuple[Statement, ...], kind: str) -> bool:
    return any(s.kind == kind and len(s.words) == 1 and s.body is None for s in body)


def _mac(body: tuple[Statement, ...]) -> str:
    """In lower case, two digits a byte; "" for what is no Ethernet card."""
    values = next((s.values for s in body if s.kind == "hardware"), ())
    if len(values) != 2 or values[0].lower() != "ethernet":
        return ""
    parts = values[1].split(":")
    if len(parts) != 6 or not all(_MAC_BYTE.fullmatch(part) for part in parts):
        return ""
    return ":".join(part.lower().zfill(2) for part in parts)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _odd_ipv6(values: list[str]) -> tuple[str, ...]:
    """What OMAPI was given as 16 bytes is written as four addresses of IPv4."""
    found = tuple(map(_address, values))
    try:
        words = [IPv4Address(value) for value in found]
    except ValueError:
        return found
    # 2000::/3 and fc00::/6: so many addresses of IPv4 that begin like that one host hardly has.
    first = words[0].packed[0] if words else 0
    if len(words) != _IPV6_WORDS or not (32 <= first < 64 or first >= 252):
        return found
    return (str(IPv6Address(b"".join(word.packed for word in words))),)
