"""Addresses that are in use elsewhere become reservations: no range gives them out.

A reservation is a quarantine without an end. Those of addresses that are in use no more are taken
back, as long as the source that they were found in could be read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from msgspec import Struct

from tashictl.model.audit import Seen
from tashictl.model.naming import owner_of
from tashictl.model.network import Network
from tashictl.model.state import Quarantined, State
from tashictl.planning.audit.zones import index, is_reverse

FOREVER = "9999-12-31T00:00:00Z"
_DNS, _DHCP = "in DNS", "in DHCP"


class Reservations(Struct, frozen=True, kw_only=True):
    """What is to be reserved, what stays, and what is to be released."""

    new: tuple[Quarantined, ...] = ()
    kept: tuple[Quarantined, ...] = ()
    released: tuple[Quarantined, ...] = ()


def reservations(state: State, networks: Iterable[Network], seen: Seen) -> Reservations:
    """What the servers have that is not ours, within the ranges of networks."""
    cluster = state.meta.cluster
    own = {(nic.network, a) for vm in state.vms.values() for nic in vm.spec.nics
           for a in nic.addresses}  # fmt: skip
    known = tuple(networks)
    wanted: dict[str, Quarantined] = {}
    for address, why in _foreign(seen, cluster):
        for network in known:
            if (network.id, address) in own or not _in_range(address, network):
                continue
            kept = Quarantined(network=network.id, ip=address, until=FOREVER, why=why)
            wanted.setdefault(kept.key, kept)
    before = {key: kept for key, kept in state.quarantine.items() if is_reserved(kept)}
    gone = [kept for key, kept in before.items() if key not in wanted]
    return Reservations(
        new=tuple(kept for key, kept in wanted.items() if before.get(key) != kept),
        kept=tuple(kept for key, kept in wanted.items() if before.get(key) == kept),
        released=tuple(kept for kept in gone if _was_read(kept, seen)),
    )


def is_reserved(kept: Quarantined) -> bool:
    """Whether an import made it."""
    return kept.until == FOREVER and kept.why.startswith((_DNS, _DHCP))


def _was_read(kept: Quarantined, seen: Seen) -> bool:
    """Whether the kind of source that had it could be read, all of it."""
    kind = "dns" if kept.why.startswith(_DNS) else "dhcp"
    if any(one.source.startswith(kind) for one in seen.unseen):
        return False
    return bool(seen.zones if kind == "dns" else seen.dhcp)


def _foreign(seen: Seen, cluster: str) -> Iterator[tuple[str, str]]:
    """Addresses that do not carry our mark, with where they stand; DHCP first, it knows better."""
    for server in seen.dhcp:
        for host in server.hosts:
            if not _is_ours(host.owner, cluster):
                yield from (
                    (a, f"{_DHCP}: {_named(host.name, host.owner)}") for a in host.addresses
                )
    names = index(seen.zones).names
    for name, there in names.items():
        if is_reverse(name) or any(_is_ours(mark, cluster) for mark in there.marks):
            continue
        mark = there.marks[0] if there.marks else ""
        yield from ((address, f"{_DNS}: {_named(name, mark)}") for address in there.addresses)


def _is_ours(mark: str, cluster: str) -> bool:
    owner = owner_of(mark)
    return owner is not None and owner.cluster == cluster


def _named(name: str, mark: str) -> str:
    owner = owner_of(mark)
    return f"{name} of cluster {owner.cluster}" if owner is not None else name


def _in_range(address: str, network: Network) -> bool:
    number = ip_address(address)
    span = network.range6 if number.version == 6 else network.range
    if not span:
        return False
    first, _, last = span.partition("-")
    return int(ip_address(first)) <= int(number) <= int(ip_address(last or first))
