"""Leases that systemd-networkd itself holds: what it is told of while a change is in flight.

It asks for a lease, and lets one go, only when its files say so. So `ip` changes nothing of a lease
of its own, nor of the routes that came with it; it is lent the new files of the interfaces that get
or lose one, after all else was changed, and goes by the old ones on the way back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.net import HostNet, Layout, Lease, Picture, Strand
from tashictl.model.net_change import AnyChange, AskNetworkd, TellNetworkd, UntellNetworkd
from tashictl.planning.net import render_networkd


class Told(Struct, frozen=True, kw_only=True):
    """The interfaces that networkd is told of: `gains` get a lease, `leased` have one now."""

    devices: tuple[str, ...] = ()
    gains: tuple[str, ...] = ()
    leased: tuple[Lease, ...] = ()


def of(net: HostNet) -> dict[str, Lease]:
    """The leases of networkd by interface: by its notes, else by what no other client can have."""
    clients = {c.device for c in net.picture.clients}
    found = {lease.device: lease for lease in net.leases}
    for link in net.picture.links:
        for address in link.addresses:
            if address.dynamic and not address.v6 and link.name not in clients:
                plain = address.cidr.partition("/")[0]
                found.setdefault(link.name, Lease(device=link.name, address=plain))
    return found


def told(layout: Layout, net: HostNet, fresh: Collection[str]) -> Told:
    """What networkd has to be told of; `fresh` are the paths of the files that change.

    Where a lease is lacking and no file changes, networkd has been told, and goes on asking.
    """
    had = of(net) if layout.style == "networkd" else {}
    devices: list[str] = []
    gains: list[str] = []
    for strand in layout.strands if layout.style == "networkd" else ():
        moves, has = _moves(strand, had), strand.holder in had
        wants = strand.address == "dhcp" or (not strand.address and (moves or has))
        known = wants and render_networkd.path(strand.holder) not in fresh
        if not moves and (wants == has or known):
            continue
        devices += [strand.port, strand.holder] if moves else [strand.holder]
        gains += [strand.holder] if wants and not has else []
    of_all = tuple(dict.fromkeys(devices))
    return Told(
        devices=of_all,
        gains=tuple(dict.fromkeys(gains)),
        leased=tuple(had[d] for d in of_all if d in had),
    )


def _moves(strand: Strand, had: Mapping[str, Lease]) -> bool:
    """Whether the bridge takes its port's lease away."""
    return strand.holder == strand.bridge and strand.port in had


def stranded(layout: Layout, net: HostNet) -> Iterator[str]:
    """Ports with a lease in a VLAN-aware bridge on which no network is without a tag."""
    had = of(net)
    homes = {s.port for s in layout.strands if s.holder == s.bridge}
    yield from dict.fromkeys(
        s.port for s in layout.strands if s.port in had and s.port not in homes
    )


def without(picture: Picture, about: Told) -> Picture:
    """The picture without what networkd itself brings, and takes away, of what it is told of."""
    leased = {lease.address for lease in about.leased}
    links = tuple(
        link if link.name not in about.devices else replace(
            link,
            addresses=tuple(
                a for a in link.addresses if a.cidr.partition("/")[0] not in leased
            ),
        )
        for link in picture.links
    )  # fmt: skip
    routes = tuple(
        r for r in picture.routes if r.device not in about.devices or r.protocol != "dhcp"
    )
    return replace(picture, links=links, routes=routes)


def forward(about: Told, net: HostNet, fresh: Collection[str]) -> tuple[AnyChange, ...]:
    """What networkd is told when all else was changed."""
    if not about.devices:
        return ()
    paths = [p for d in about.devices for p in render_networkd.paths(d) if p in fresh]
    # Of a device that it knows already it would take no second description.
    paths = [p for p in paths if p.endswith(".network") or p not in net.files]
    return (TellNetworkd(paths=tuple(paths), devices=about.devices, leased=about.gains),)


def reverse(about: Told, changes: tuple[AnyChange, ...]) -> tuple[AnyChange, ...]:
    """The way back, with what networkd is told: its old files first, its old leases last."""
    if not about.devices:
        return changes
    again = (AskNetworkd(device=lease.device) for lease in about.leased)
    return (UntellNetworkd(), *changes, *again)
