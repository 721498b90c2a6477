"""What Linux makes of a change, as far as the planning counts on it: the oracle of the tests."""

from __future__ import annotations

from ipaddress import ip_interface

from msgspec.structs import replace

from tashictl.model.net import Address, Link, Picture, PortVlan, Route
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
from tashictl.planning.net.change import tagging


class RefusedError(Exception):
    """The kernel would not do it."""


class Kernel:
    """A network that changes are done to."""

    def __init__(self, picture: Picture, *, told: bool = False) -> None:
        """`told`: somebody has set the MTU of each bridge; else of those where it shows."""
        self.links = {link.name: link for link in picture.links}
        self.routes = set(picture.routes)
        self.vlans = set(picture.vlans)
        for link in picture.links:
            if link.name not in tagging(picture) and (link.master or link.kind == "bridge"):
                self.vlans.add(PortVlan(device=link.name, vlan=1, pvid=True, untagged=True))
        self.clients = {c.device: c for c in picture.clients}
        bridges = (x for x in picture.links if x.kind == "bridge")
        self.told = {b.name for b in bridges if told or b.mtu != self._smallest(b.name)}

    def picture(self) -> Picture:
        return Picture(
            links=tuple(sorted(self.links.values(), key=lambda link: link.name)),
            routes=tuple(sorted(self.routes)),
            vlans=tuple(sorted(self.vlans)),
            clients=tuple(sorted(self.clients.values(), key=lambda c: c.device)),
        )

    def do(self, change: AnyChange) -> None:
        match change:
            case MakeLink(link=link):
                self._make(link)
            case DropLink(name=name):
                self._drop(name)
            case SetMtu(name=name, mtu=mtu):
                self._resize(name, mtu)
            case SetPromisc(name=name, on=on):
                self._set(name, promisc=on)
            case SetMaster(name=name, master=master):
                self._join(name, master)
            case SetUp(name=name, up=up):
                parent = self.links.get(self.links[name].parent or "")
                if up and parent is not None and not parent.up:
                    raise RefusedError(f"network is down: {parent.name} below {name}")
                self._set(name, up=up)
                if not up:
                    self._forget_routes(name)
                    for link in tuple(self.links.values()):
                        if link.parent == name:
                            self._set(link.name, up=False)
            case SetBridge():
                aware = self.links[change.name].aware if change.aware is None else change.aware
                self._set(
                    change.name,
                    stp=change.stp,
                    forward_delay_s=change.forward_delay_s,
                    aware=aware,
                )
            case _:
                self._layer3(change)

    def _layer3(self, change: AnyChange) -> None:
        match change:
            case AddAddress(device=device, cidr=cidr):
                had = self.links[device].addresses
                if cidr not in {a.cidr for a in had}:
                    self._set(device, addresses=(*had, Address(cidr=cidr)))
            case DropAddress(device=device, cidr=cidr):
                rest = _without(self.links[device].addresses, cidr)
                self._set(device, addresses=rest)
                if not rest:
                    self._forget_routes(device)
            case SetRoute(route=route):
                if not self.links[route.device].up:
                    raise RefusedError(f"network is down: {route}")
                self.routes = {r for r in self.routes if _key(r) != _key(route)} | {route}
            case DropRoute(route=route):
                self.routes.discard(route)
            case _:
                self._rest(change)

    def _rest(self, change: AnyChange) -> None:
        match change:
            case AddPortVlan(vlan=vlan, itself=itself):
                if self.links[vlan.device].master is None and not itself:
                    raise RefusedError(f"no bridge port: {vlan}")
                self._untag(vlan.device, vlan.vlan)
                self.vlans.add(vlan)
            case DropPortVlan(vlan=vlan):
                self._untag(vlan.device, vlan.vlan)
            case StopDhcp(device=device):
                self.clients.pop(device, None)
            case StartDhcp(client=client):
                self.clients.setdefault(client.device, client)
            case _:
                raise AssertionError(change)

    def _set(self, name: str, **values: object) -> None:
        if name not in self.links:
            raise RefusedError(f"no {name}")
        self.links[name] = replace(self.links[name], **values)

    def _make(self, link: Link) -> None:
        if link.name in self.links:
            return
        if link.parent is not None and link.parent not in self.links:
            raise RefusedError(f"no parent for {link.name}")
        made = replace(link, master=None, up=False, promisc=False, addresses=())
        if link.kind != "vlan":
            made = replace(made, mtu=1500)
        elif link.mtu > self.links[link.parent or ""].mtu:
            raise RefusedError(f"too large for {link.parent}: {link.name}")
        self.links[link.name] = made
        if link.kind == "bridge":
            self.vlans.add(PortVlan(device=link.name, vlan=1, pvid=True, untagged=True))

    def _drop(self, name: str) -> None:
        if name not in self.links:
            return
        master = self.links.pop(name).master
        self.told.discard(name)
        self._adjust(master)
        self._forget_routes(name)
        self.vlans = {v for v in self.vlans if v.device != name}
        self.clients.pop(name, None)
        for link in tuple(self.links.values()):
            if link.master == name:
                self._join(link.name, None)
            if link.parent == name:
                self._drop(link.name)

    def _join(self, name: str, master: str | None) -> None:
        if master is not None and self.links[master].kind != "bridge":
            raise RefusedError(f"{master} is no bridge")
        if self.links[name].master != master:
            self._untag(name)
            if master is not None:
                self.vlans.add(PortVlan(device=name, vlan=1, pvid=True, untagged=True))
        old = self.links[name].master
        self._set(name, master=master)
        if old != master:
            self._adjust(old, master)

    def _resize(self, name: str, mtu: int) -> None:
        link = self.links[name]
        parent = self.links.get(link.parent or "")
        if parent is not None and mtu > parent.mtu:
            raise RefusedError(f"too large for {link.parent}: {name}")
        if mtu == link.mtu:
            return  # the kernel does not even note that it was asked
        self._set(name, mtu=mtu)
        if link.kind == "bridge":
            self.told.add(name)
        self._adjust(link.master)
        for vlan in tuple(self.links.values()):
            if vlan.parent == name and vlan.mtu > mtu:
                self._resize(vlan.name, mtu)

    def _adjust(self, *bridges: str | None) -> None:
        """A bridge has the smallest MTU of its ports, unless somebody set another."""
        for name in bridges:
            if name is not None and name in self.links and name not in self.told:
                self._resize(name, self._smallest(name))
                self.told.discard(name)

    def _smallest(self, bridge: str) -> int:
        return min((x.mtu for x in self.links.values() if x.master == bridge), default=1500)

    def _untag(self, device: str, vlan: int | None = None) -> None:
        self.vlans = {
            v for v in self.vlans if v.device != device or vlan not in (None, v.vlan)
        }  # fmt: skip

    def _forget_routes(self, device: str) -> None:
        self.routes = {r for r in self.routes if r.device != device}


def _without(addresses: tuple[Address, ...], cidr: str) -> tuple[Address, ...]:
    """The first IPv4 address of a subnet takes the others of it along."""
    subnet = ip_interface(cidr).network
    same = [a for a in addresses if ip_interface(a.cidr).network == subnet]
    primary = bool(same) and same[0].cidr == cidr and subnet.version == 4
    return tuple(a for a in addresses if a.cidr != cidr and not (primary and a in same))


def _key(route: Route) -> tuple[bool, str, int]:
    return route.v6, route.to, route.metric
