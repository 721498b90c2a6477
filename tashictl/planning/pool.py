"""Which address of a range is next: free, not kept out, and not one that was just given back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network

from msgspec import Struct

from tashictl.model.cluster import Cluster
from tashictl.model.inventory import Inventory
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry
from tashictl.model.network import Network
from tashictl.model.state import Quarantined
from tashictl.planning.net import usage


class Held(Struct, frozen=True, kw_only=True):
    """The addresses of one network that nobody else may get.

    `vms` is by address the name of who has it. `resting` is by address until when it rests
    (ISO-8601 UTC). `waiting` are addresses whose old entries a server has still to remove.
    """

    vms: dict[str, str] = {}
    resting: dict[str, Quarantined] = {}
    waiting: frozenset[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        return address in self.vms or address in self.resting or address in self.waiting


def held(
    network: Network,
    cluster: Cluster,
    quarantine: Iterable[Quarantined],
    deferred: Iterable[Deferred],
) -> Held:
    """What is held on a network, or on another one with the same addresses."""
    ids = {network.id, *(n.id for n in cluster.networks if _share(n, network))}
    return Held(
        vms={
            address: vm.name
            for vm in cluster.vms
            for nic in vm.spec.nics
            if nic.network in ids
            for address in nic.addresses
        },
        resting={kept.ip: kept for kept in quarantine if kept.network in ids},
        waiting=frozenset(
            address
            for work in deferred
            if not work.add
            for address in work.entry.addresses
            if _concerns(work.entry, ids)
        ),
    )


def _share(one: Network, other: Network) -> bool:
    same4 = one.cidr is not None and one.cidr == other.cidr
    return same4 or (one.cidr6 is not None and one.cidr6 == other.cidr6)


def _concerns(entry: DnsEntry | DhcpEntry, networks: Collection[int]) -> bool:
    return isinstance(entry, DnsEntry) or entry.network in networks


def choose(network: Network, inventory: Inventory, taken: Held, *, v6: bool, turn: int) -> str:
    """The next address of the network's range; "" when it has none left.

    `turn` moves the start from VM to VM, so that an address that was given back comes last. The
    addresses of the network itself, its gateway, name servers and hosts are never given out.
    """
    text = network.range6 if v6 else network.range
    if not text:
        return ""
    first, last = usage.ends(text)
    spans = sorted(shut(network, inventory, v6=v6))
    place = first + turn % (last - first + 1)
    wrapped = False
    while True:
        if place > last:
            if wrapped:
                return ""
            place, wrapped = first, True
        end = next((high for low, high in spans if low <= place <= high), None)
        if end is not None:
            place = end + 1
        elif (address := _text(place, v6=v6)) in taken:
            place += 1
        else:
            return address
        if wrapped and place > first + turn % (last - first + 1):
            return ""


def shut(network: Network, inventory: Inventory, *, v6: bool) -> Iterator[tuple[int, int]]:
    """Spans of addresses, as numbers with both ends, that no guest gets on the network."""
    for span in network.exclude:
        if (":" in span) == v6:
            yield usage.ends(span)
    single = [network.gateway, network.gateway6, *network.dns]
    single += [network.host_address, network.host_address6]
    for host in inventory.hosts:
        single.append(host.address)
        single += [a.partition("=")[2] for a in host.host_addresses if _names(a, network)]
    for text in single:
        number = _number(text, v6=v6)
        if number is not None:
            yield number, number
    cidr = network.cidr6 if v6 else network.cidr
    if cidr is not None:
        net = ip_network(cidr)
        yield int(net.network_address), int(net.network_address)
        if not v6:
            yield int(net.broadcast_address), int(net.broadcast_address)


def _names(placed: str, network: Network) -> bool:
    return placed.partition("=")[0] == network.name


def _number(text: str | None, *, v6: bool) -> int | None:
    """An address, with or without a length, as a number; None for other texts and versions."""
    try:
        address = ip_interface(text or "").ip
    except ValueError:
        return None
    return int(address) if (address.version == 6) == v6 else None


def _text(number: int, *, v6: bool) -> str:
    if v6:
        return str(ip_address(number.to_bytes(16, "big")))
    return str(ip_address(number.to_bytes(4, "big")))


def count(network: Network, inventory: Inventory, taken: Held, *, v6: bool) -> str:
    """The numbers of a range of which nothing is left, in words."""
    text = (network.range6 if v6 else network.range) or ""
    first, last = usage.ends(text)
    spans = shut(network, inventory, v6=v6)
    out = usage.size((max(low, first), min(high, last)) for low, high in spans)
    known = (*taken.vms, *taken.resting, *taken.waiting)
    numbers = {a: _number(a, v6=v6) for a in known}
    inside = {a for a, n in numbers.items() if n is not None and first <= n <= last}
    resting = [k for a, k in taken.resting.items() if a in inside and a not in taken.vms]
    parts = [f"{last - first + 1} addresses", f"{len(inside & taken.vms.keys())} of VMs"]
    if out:
        parts.append(f"{out} kept out")
    if resting:
        parts.append(f"{len(resting)} resting, the first until {min(k.until for k in resting)}")
    waiting = len(inside - taken.vms.keys() - taken.resting.keys())
    if waiting:
        parts.append(f"{waiting} not yet removed at a server")
    return ", ".join(parts)
