"""Whether names and addresses of networks work: what servers answered, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.naming import DnsEntry, Owner
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.planning.net.standing import OK, UNKNOWN, WRONG, Row

# Of no machine, ever (RFC 5737): the probe's name leads nowhere while it is there.
NOWHERE = "192.0.2.1"
CLOCK_S = 300
# What a server says of itself by an answer, in the order in which it finds out.
_ORDER = ("dns", "dns key", "clock", "zone", "update")
_DISPROVES = {
    "E-DNS-DOWN": "dns",
    "E-DNS-TIMEOUT": "dns",
    "E-DNS-SERVER": "dns",
    "E-DNS-KEY": "dns key",
    "E-DNS-CLOCK": "clock",
    "E-DNS-ZONE": "zone",
}


class Tried(Struct, frozen=True, kw_only=True):
    """A probe of DNS: the zone where the name was put, and what became of it.

    `failed` is why it was not registered, `stays` why it was not removed; `dry`: nothing was put.
    """

    server: str
    entry: DnsEntry
    zone: str = ""
    failed: TashiError | None = None
    stays: TashiError | None = None
    dry: bool = False


def probe(
    domain: str, settings: Settings, nonce: str, address: str = NOWHERE, *, reverse: bool = False
) -> DnsEntry:
    """An entry like that of a VM, whose uuid is `nonce`.

    Its label begins with no underscore: BIND refuses an address at such a name (check-names).
    """
    owner = Owner(cluster=settings.tashictl.cluster_id, uuid=nonce)
    return DnsEntry(
        name=f"tashictl-probe-{nonce}.{domain}",
        addresses=(address,),
        owner=str(owner),
        ttl_s=settings.dns.expire_s,
        reverse=reverse,
    )


def dns_rows(network: Network, tried: Tried) -> Iterator[Row]:
    """What a probe of the zone of a network's names shows: all up to what failed."""
    name, error = tried.entry.name, tried.failed
    wrong = _DISPROVES.get(error.code, "update") if error is not None else ""
    seen = {
        "dns": "answers",
        "dns key": "is taken",
        "clock": f"differs by less than {CLOCK_S} s",
        "zone": tried.zone,
        "update": "registers and removes a name",
    }
    for check in _ORDER:
        if error is not None and check == wrong:
            yield failed(network, tried.server, check, error)
            return
        if check == "update":
            break
        yield row(network, tried.server, check, OK, seen[check])
    if tried.dry:
        yield row(network, tried.server, "update", UNKNOWN, "not tried in a dry run")
    elif tried.stays is not None:
        yield _left(network, tried, name)
    else:
        yield row(network, tried.server, "update", OK, seen["update"])


def reverse_rows(network: Network, tried: Tried) -> Iterator[Row]:
    """What a probe of a reverse zone shows, where the one of the names is in order."""
    address, error = tried.entry.addresses[0], tried.failed
    if error is not None:
        yield failed(network, tried.server, "reverse", error)
    elif tried.dry:
        yield row(
            network, tried.server, "reverse", UNKNOWN, f"{tried.zone}: not tried in a dry run"
        )
    elif tried.stays is not None:
        yield _left(network, tried, f"the PTR record of {address}")
    else:
        seen = f"{tried.zone} takes the PTR record of {address}, and lets it go"
        yield row(network, tried.server, "reverse", OK, seen)


def _left(network: Network, tried: Tried, what: str) -> Row:
    assert tried.stays is not None
    seen = f"{what} was not removed: {fact(tried.stays)}"
    return row(network, tried.server, "removal", WRONG, seen, "tashictl sweep removes it later")


def no_address(network: Network, server: str) -> Row:
    """A reverse zone that could not be tried."""
    seen = f"no address of {network.range or network.range6} is free to try it with"
    return row(network, server, "reverse", UNKNOWN, seen)


def range_rows(network: Network) -> Iterator[Row]:
    """Whether the ranges lie in the subnets, and the gateways too."""
    for span, cidr, gateway in (
        (network.range, network.cidr, network.gateway),
        (network.range6, network.cidr6, network.gateway6),
    ):
        if not span:
            continue
        if not cidr:
            hint = f"cidr: of {network.name} in the inventory"
            yield row(network, "", "range", UNKNOWN, f"{span}: the subnet is not known", hint)
            continue
        first, last = ends(span)
        subnet = ip_network(cidr)
        inside = first in subnet and last in subnet
        seen = f"{span} is {'' if inside else 'not '}in {cidr}"
        hint = "" if inside else f"range: or cidr: of {network.name} in the inventory"
        if inside and gateway and ip_address(gateway) not in subnet:
            inside, seen = False, f"the gateway {gateway} is not in {cidr}"
            hint = f"gateway: of {network.name} in the inventory"
        yield row(network, "", "range", OK if inside else WRONG, seen, hint)


def ends(span: str) -> tuple[object, object]:
    """First and last address of ``first-last``, or of one alone."""
    first, _, last = span.partition("-")
    return ip_address(first), ip_address(last or first)


def row(
    network: Network, server: str, check: str, verdict: str, seen: str, remedy: str = ""
) -> Row:
    """A row about a server of a network."""
    return Row(
        number=network.id, network=network.name, host=server,
        check=check, verdict=verdict, seen=seen, remedy=remedy,
    )  # fmt: skip


def failed(network: Network, server: str, check: str, error: TashiError) -> Row:
    """A row that says what a server, or the way to it, answered."""
    return row(network, server, check, WRONG, fact(error), error.hint or "")


def fact(error: TashiError) -> str:
    """An error in one line."""
    return f"{error.what}: {'; '.join(error.cause.splitlines())}" if error.cause else error.what
