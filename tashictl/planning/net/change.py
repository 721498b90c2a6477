"""From one picture of a network to another: the least changes, in an order that is short of gaps.

What carries is made before what is carried: links, then masters, addresses, routes; what is no
longer wanted goes last. Called the other way round it gives the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface

from tashictl.model.net import Link, Picture, PortVlan, Route
from tashictl.model.net_change import (
    AddAddress,
    AddPortVlan,
    AnyChange,
    DropAddress,
    DropLink,
    DropPortVlan,
    DropRoute,
    MakeLink,
    SetBridge,
    SetMaster,
    SetMtu,
    SetPromisc,
    SetRoute,
    SetUp,
    StartDhcp,
    StopDhcp,
)
from tashictl.planning.net.sizes import USUAL

# What we make and remove; all else is there or not, whatever we want.
MADE = ("bridge", "vlan", "vxlan")


def changes(before: Picture, after: Picture) -> tuple[AnyChange, ...]:
    """What leads from `before` to `after`."""
    pair = _Pair(before, after)
    return (
        *pair.clients_to_stop(),
        *pair.mtus(raised=True),
        *pair.links_to_make(),
        *pair.ups(made=True),
        *pair.promiscs(),
        *pair.masters(),
        *pair.port_vlans(),
        *pair.bridges(),
        *pair.ups(made=False),
        *pair.addresses_to_add(),
        *pair.routes(),
        *pair.addresses_to_drop(),
        *pair.addresses_again(),
        *pair.routes_again(),
        *pair.routes_to_drop(),
        *pair.links_to_drop(),
        *pair.mtus(raised=False),
        *pair.mtus_again(),
        *pair.downs(),
        *pair.clients_to_start(),
    )


def back(before: Picture, after: Picture) -> tuple[AnyChange, ...]:
    """What leads back to `before` from wherever `changes(before, after)` stopped.

    What the kernel took along with an address, and had not been given again, is said once more.
    """
    poorer = {d.device for d in _Pair(before, after).addresses_to_drop()}
    addresses = [
        AddAddress(device=link.name, cidr=a.cidr)
        for link in before.links
        if link.name in poorer
        for a in link.addresses
        if not (a.v6 and a.dynamic)
    ]
    routes = [SetRoute(route=r) for r in _ordered(before.routes) if r.device in poorer]
    return (*changes(after, before), *addresses, *routes)


def depth(link: Link, links: Mapping[str, Link]) -> int:
    """How much an interface stands on: hardware 0, what is made of it more."""
    if link.kind == "bridge":
        return 2
    if link.kind not in MADE:
        return 0
    parent = links.get(link.parent or "")
    return 1 + (depth(parent, links) if parent is not None and parent is not link else 0)


def tagging(picture: Picture) -> set[str]:
    """VLAN-aware bridges and their ports: of these alone the table of port VLANs says anything."""
    aware = {link.name for link in picture.links if link.aware}
    return aware | {link.name for link in picture.links if link.master in aware}


class _Pair:
    """Two pictures, held against each other."""

    def __init__(self, before: Picture, after: Picture) -> None:
        self.before, self.after = before, after
        self.old = {link.name: link for link in before.links}
        self.new = {link.name: link for link in after.links}
        # A link of another kind, VLAN or parent is another one under the same name.
        both = self.old.keys() & self.new.keys()
        self.other = {n for n in both if _identity(self.old[n]) != _identity(self.new[n])}
        self.kept = {n for n in both if n not in self.other}

    def _depth(self, link: Link) -> int:
        return depth(link, self.new if self.new.get(link.name) is link else self.old)

    def clients_to_stop(self) -> Iterator[StopDhcp]:
        stays = {c.device for c in self.after.clients}
        for client in self.before.clients:
            if client.device not in stays or client.device in self.other:
                yield StopDhcp(device=client.device)

    def clients_to_start(self) -> Iterator[StartDhcp]:
        there = {c.device for c in self.before.clients}
        for client in self.after.clients:
            if client.device not in there or client.device in self.other:
                yield StartDhcp(client=client)

    def mtus(self, *, raised: bool) -> Iterator[SetMtu]:
        """Raised from the hardware up before anything else, lowered the other way round after."""
        order = sorted((self.new[n] for n in self.kept), key=self._depth, reverse=not raised)
        for link in order:
            if (
                (link.mtu > self.old[link.name].mtu)
                if raised
                else (link.mtu < self.old[link.name].mtu)
            ):
                yield SetMtu(name=link.name, mtu=link.mtu)

    def links_to_make(self) -> Iterator[AnyChange]:
        for name in sorted(self.other, key=lambda n: -self._depth(self.old[n])):
            yield DropLink(name=name)
        for link in sorted(self.new.values(), key=self._depth):
            if link.name not in self.kept and link.kind in MADE:
                yield MakeLink(link=link)
                if link.mtu != USUAL and link.kind != "vlan":
                    yield SetMtu(name=link.name, mtu=link.mtu)

    def mtus_again(self) -> Iterator[SetMtu]:
        """Sizes that the kernel may have changed by itself, once all ports are what they will be.

        A bridge has the smallest of its ports, until its own is set to another; its VLANs go down
        with it, and not up again.
        """
        for bridge in (x for x in self.new.values() if x.kind == "bridge"):
            kept = bridge.name in self.kept
            had = {p.name: p.mtu for p in self.before.ports(bridge.name)} if kept else {}
            has = {p.name: p.mtu for p in self.after.ports(bridge.name)}
            if had == has and not had.keys() & self.other:
                continue
            if not kept and bridge.mtu != USUAL:
                continue  # it was set as soon as it was made
            if bridge.mtu != min(has.values(), default=USUAL):
                yield SetMtu(name=bridge.name, mtu=bridge.mtu)
            lowest = min((*had.values(), *has.values(), USUAL))
            for vlan in self.new.values():
                if vlan.parent == bridge.name and vlan.mtu > lowest:
                    yield SetMtu(name=vlan.name, mtu=vlan.mtu)

    def promiscs(self) -> Iterator[SetPromisc]:
        """What asks for all frames, before it joins a bridge."""
        for link in self.new.values():
            if link.promisc != (link.name in self.kept and self.old[link.name].promisc):
                yield SetPromisc(name=link.name, on=link.promisc)

    def masters(self) -> Iterator[SetMaster]:
        for link in self.new.values():
            old = self.old.get(link.name) if link.name in self.kept else None
            if old is None and link.kind not in MADE:
                continue
            if link.master != (old.master if old else None) or (
                link.master is not None and link.master not in self.kept
            ):
                yield SetMaster(name=link.name, master=link.master)

    def port_vlans(self) -> Iterator[AnyChange]:
        """New ones first: a port that would carry nothing for a moment is a gap.

        What joins a bridge, or whose bridge was not VLAN-aware, carries VLAN 1 untagged.
        """
        old, new = set(self.before.vlans), set(self.after.vlans)
        scope = tagging(self.after)
        fresh = scope - tagging(self.before) | {s.name for s in self.masters()} & scope
        kept = {(v.device, v.vlan) for v in new}
        for vlan in sorted(new):
            if vlan not in old or vlan.device in fresh:
                yield AddPortVlan(vlan=vlan, itself=self._is_bridge(vlan.device))
        for vlan in sorted(old | {PortVlan(device=d, vlan=1) for d in fresh}):
            stays = vlan.device in scope and (vlan.device not in fresh or vlan.vlan == 1)
            if stays and (vlan.device, vlan.vlan) not in kept:
                yield DropPortVlan(vlan=vlan, itself=self._is_bridge(vlan.device))

    def _is_bridge(self, name: str) -> bool:
        return name in self.new and self.new[name].kind == "bridge"

    def bridges(self) -> Iterator[SetBridge]:
        for name in sorted(self.kept):
            old, new = self.old[name], self.new[name]
            if new.kind == "bridge" and _bridge(old) != _bridge(new):
                yield SetBridge(
                    name=name,
                    stp=new.stp,
                    forward_delay_s=new.forward_delay_s,
                    aware=new.aware if new.aware != old.aware else None,
                )

    def ups(self, *, made: bool) -> Iterator[SetUp]:
        """New links, and what they stand on, before anything joins them; then the rest.

        A bridge that is down is a gap for its ports; a VLAN cannot be up before its parent.
        """
        for link in sorted(self.new.values(), key=self._depth):
            due = not self.old[link.name].up if link.name in self.kept else link.kind in MADE
            if link.up and due and made is self._early(link):
                yield SetUp(name=link.name, up=True)

    def _early(self, link: Link) -> bool:
        """It stands on nothing of ours that is there and down."""
        if link.name in self.kept and link.kind in MADE:
            return self.old[link.name].up
        parent = self.new.get(link.parent or "")
        return parent is None or self._early(parent)

    def downs(self) -> Iterator[SetUp]:
        for link in sorted(self.new.values(), key=self._depth, reverse=True):
            if not link.up and link.name in self.kept and self.old[link.name].up:
                yield SetUp(name=link.name, up=False)

    def addresses_to_add(self) -> Iterator[AddAddress]:
        for link in self.new.values():
            had = {a.cidr for a in self.old[link.name].addresses} if link.name in self.kept else ()
            for address in link.addresses:
                if address.cidr not in had:
                    yield AddAddress(device=link.name, cidr=address.cidr)

    def addresses_to_drop(self) -> Iterator[DropAddress]:
        for name in sorted(self.kept):
            stay = {a.cidr for a in self.new[name].addresses}
            for address in self.old[name].addresses:
                if address.cidr not in stay:
                    yield DropAddress(device=name, cidr=address.cidr)

    def addresses_again(self) -> Iterator[AddAddress]:
        """With the first IPv4 address of a subnet the kernel takes the others of it away.

        (Unless promote_secondaries is set; ip-sysctl.)
        """
        for drop in self.addresses_to_drop():
            subnet = ip_interface(drop.cidr).network
            for address in self.new[drop.device].addresses:
                if not address.v6 and ip_interface(address.cidr).network == subnet:
                    yield AddAddress(device=drop.device, cidr=address.cidr)

    def routes(self) -> Iterator[SetRoute]:
        """Routes that are new, or whose device is: said before the old addresses go."""
        touched = {link.name for link in self.new.values() if link.name not in self.kept}
        touched |= {u.name for u in self.ups(made=False)}
        for route in _ordered(self.after.routes):
            if route not in self.before.routes or route.device in touched:
                yield SetRoute(route=route)

    def routes_again(self) -> Iterator[SetRoute]:
        """The kernel takes a device's routes away with its address."""
        poorer = {d.device for d in self.addresses_to_drop()}
        for route in _ordered(self.after.routes):
            if route.device in poorer:
                yield SetRoute(route=route)

    def routes_to_drop(self) -> Iterator[DropRoute]:
        ends = {_end(r) for r in self.after.routes}
        for route in sorted(self.before.routes):
            if _end(route) not in ends and route.device in self.kept:
                yield DropRoute(route=route)

    def links_to_drop(self) -> Iterator[DropLink]:
        for link in sorted(self.old.values(), key=self._depth, reverse=True):
            if link.name not in self.new and link.kind in MADE:
                yield DropLink(name=link.name)


def _identity(link: Link) -> tuple[object, ...]:
    return (link.kind in MADE and link.kind, link.vlan, link.vxlan, link.parent)


def _bridge(link: Link) -> tuple[bool, float, bool]:
    return link.stp, link.forward_delay_s, link.aware


def _ordered(routes: Iterable[Route]) -> list[Route]:
    """Routes on the link before those through a gateway, which need them."""
    return sorted(routes, key=lambda r: (r.via != "", r))


def _end(route: Route) -> tuple[bool, str, int]:
    """What a route is replaced by: `ip route replace` goes by destination and metric."""
    return route.v6, route.to, route.metric
