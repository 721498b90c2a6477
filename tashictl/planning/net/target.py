"""The picture that a host's network is to have, from what is wanted and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface

from msgspec.structs import replace

from tashictl.errors import raise_all
from tashictl.model.net import (
    Address,
    DhcpClient,
    HostNet,
    Layout,
    Link,
    Picture,
    PortVlan,
    Route,
    Strand,
)
from tashictl.planning.net import layout as layouts
from tashictl.planning.net import obstacles, sizes, uplinks

_STP_DELAY_S = 15.0  # the kernel's own


def target(layout: Layout, net: HostNet, owned: frozenset[str], taps: Mapping[str, int]) -> Picture:
    """What the picture is to become.

    `owned` are interfaces that files of ours define, which go when nothing wants them any more;
    `taps` says on which network (by id) each TAP of a VM belongs. Raises InvalidRequest or
    Problems where that cannot be, or would surely cut the host off.
    """
    raise_all(obstacles.problems(layout, net, owned, taps))
    work = _Work(layout, net.picture, owned)
    for strand in layout.strands:
        work.wire(strand)
    for bridge in layout.bridges:
        work.carry(layouts.held_by(layout, bridge))
    work.give_back(uplinks.said(layout, net.files))
    for strand in layout.strands:
        work.route(strand)
    work.replug(taps)
    work.drop()
    work.calm(owned)
    work.links = sizes.sized(layout, work.links)
    after = work.picture()
    raise_all(uplinks.wrong(layout, net, after))
    return after


class _Work:
    """A picture that is being changed."""

    def __init__(self, layout: Layout, before: Picture, owned: frozenset[str]) -> None:
        self.layout, self.before = layout, before
        self.owned, self.gone = owned, obstacles.gone(layout, before, owned)
        self.ports = {s.port for s in layout.strands}
        self.links = {link.name: link for link in before.links}
        self.routes = list(before.routes)
        self.vlans = set(before.vlans)
        self.clients = {c.device: c for c in before.clients}

    def picture(self) -> Picture:
        return Picture(
            links=tuple(self.links.values()),
            routes=tuple(self.routes),
            vlans=tuple(sorted(self.vlans)),
            clients=tuple(self.clients.values()),
        )

    def wire(self, strand: Strand) -> None:
        """Uplink, port, bridge, and the holder of addresses: there, joined and up."""
        network, uplink = strand.network, self.layout.uplink
        port = self._port(strand)
        bridge = self._bridge(strand)
        promisc = port.promisc or network.vlan_aware
        self.links[port.name] = replace(port, master=bridge.name, up=True, promisc=promisc)
        self.links[bridge.name] = replace(bridge, up=True)
        if network.mode == "bridge" and uplink in self.links:
            self.links[uplink] = replace(self.links[uplink], up=True)
        if network.vlan_aware:
            self._tag(strand)

    def _port(self, strand: Strand) -> Link:
        network, uplink = strand.network, self.layout.uplink
        known = self.links.get(strand.port)
        if strand.port == uplink:
            return self.links[uplink]
        wanted = Link(
            name=strand.port,
            kind="vlan" if strand.tagged else "vxlan",
            mac=self.links[uplink].mac if strand.tagged else "",
            parent=uplink if strand.tagged else None,
            vlan=network.vlan if strand.tagged else None,
            vxlan=network.vxlan,
            remotes=network.remotes,
            mtu=sizes.AS_GIVEN,
        )
        if known is None or (known.kind, known.parent, known.vlan, known.vxlan) != (
            (wanted.kind, wanted.parent, wanted.vlan, wanted.vxlan)
        ):
            return wanted
        return known

    def _bridge(self, strand: Strand) -> Link:
        network = strand.network
        known = self.links.get(strand.bridge)
        stp = network.stp
        if known is None:
            delay_s = _STP_DELAY_S if stp else 0.0
            uplink = self.links.get(self.layout.uplink)
            return Link(
                name=strand.bridge,
                kind="bridge",
                # Its own, and the uplink's: else it changes with every TAP that joins.
                mac=uplink.mac if uplink is not None and network.mode == "bridge" else "",
                mtu=sizes.AS_GIVEN,
                stp=bool(stp),
                forward_delay_s=(
                    delay_s if network.forward_delay is None else float(network.forward_delay)
                ),
                aware=network.vlan_aware,
            )
        delay = network.forward_delay
        return replace(
            known,
            stp=known.stp if stp is None else stp,
            forward_delay_s=known.forward_delay_s if delay is None else float(delay),
            aware=network.vlan_aware,
        )

    def _tag(self, strand: Strand) -> None:
        vlan = strand.network.vlan
        for device in (strand.port, strand.bridge):  # untagged frames, as the kernel has it
            self.vlans.add(PortVlan(device=device, vlan=1, pvid=True, untagged=True))
        if vlan is None:
            return
        self.vlans.add(PortVlan(device=strand.port, vlan=vlan))
        if strand.address not in ("", "none") or strand.address6 not in ("", "none"):
            self.vlans.add(PortVlan(device=strand.bridge, vlan=vlan))
            if strand.holder not in self.links:
                self.links[strand.holder] = Link(
                    name=strand.holder,
                    kind="vlan",
                    mac=self.links[strand.bridge].mac,
                    parent=strand.bridge,
                    vlan=vlan,
                    mtu=sizes.AS_GIVEN,
                    up=True,
                )

    def carry(self, strands: tuple[Strand, ...]) -> None:
        """Addresses and DHCP clients of the strands of one bridge."""
        for holder in dict.fromkeys(s.holder for s in strands):
            if holder not in self.links:
                continue  # of a VLAN-aware bridge on which the host has no address
            of = [s for s in strands if s.holder == holder]
            moved: tuple[Address, ...] = ()
            for port in dict.fromkeys(s.source for s in of if s.source in self.links):
                moved += self._leave(port, holder)
                moved += self._leave_bridge(port, holder)
            held = self.links[holder].addresses
            wanted = self._wanted(of, (*held, *moved))
            self.links[holder] = replace(self.links[holder], addresses=wanted)
            self._client(holder, of)

    def _leave(self, port: str, holder: str) -> tuple[Address, ...]:
        """What a port had goes from it; routes and a client go over to the bridge."""
        link = self.links[port]
        kept = tuple(a for a in link.addresses if a.v6 and a.dynamic)
        moved = tuple(a for a in link.addresses if a not in kept)
        self.links[port] = replace(link, addresses=kept)
        if port in self.clients:
            client = self.clients.pop(port)
            self.clients.setdefault(holder, DhcpClient(device=holder, argv=_moved(client, holder)))
        self.routes = [replace(r, device=holder) if r.device == port else r for r in self.routes]
        return moved

    def _leave_bridge(self, port: str, holder: str) -> tuple[Address, ...]:
        """What the bridge had that a port was in, where that goes."""
        link = self.before.link(port)
        if link is None or link.master not in self.gone:
            return ()
        return self._leave(link.master, holder)

    def give_back(self, said: uplinks.Said | None) -> None:
        """An uplink whose bridge goes, and that is no port, has again what that had.

        Or what its own files say.
        """
        name = self.layout.uplink
        before = self.before.link(name)
        if before is None or before.master not in self.gone or name in self.ports:
            return
        had = (*before.addresses, *self._leave_bridge(name, name))
        if said is not None:
            had = said.addressed(had)
            self.routes = [r for r in self.routes if r.device != name or _reaches(r, had)]
            there = {(r.to, r.v6) for r in self.routes}
            self.routes += [r for r in said.routes(name) if (r.to, r.v6) not in there]
        self.links[name] = replace(self.links[name], addresses=had)

    def _wanted(self, strands: list[Strand], had: tuple[Address, ...]) -> tuple[Address, ...]:
        found: dict[str, Address] = {}
        for v6, kinds in (
            (False, [s.address for s in strands]),
            (True, [s.address6 for s in strands]),
        ):
            told = [k for k in kinds if k]
            mine = [a for a in had if a.v6 == v6]
            static = [k for k in told if "/" in k]
            if not told:
                found |= {a.cidr: a for a in mine}
            elif v6 or "dhcp" in told:
                found |= {a.cidr: a for a in mine if a.dynamic}
            found |= {c: found.get(c, Address(cidr=c)) for c in static}
        return tuple(found.values())

    def _client(self, holder: str, strands: list[Strand]) -> None:
        told = [s.address for s in strands if s.address]
        if "dhcp" in told and self.layout.style != "networkd":  # which is its own client
            self.clients.setdefault(holder, DhcpClient(device=holder, argv=()))
        elif told:
            self.clients.pop(holder, None)

    def route(self, strand: Strand) -> None:
        """The default routes that static addresses need, and none that nothing reaches."""
        for gateway, asked, v6 in (
            (strand.gateway, strand.address, False),
            (strand.gateway6, strand.address6, True),
        ):
            if not gateway and ("/" not in asked or not layouts.decides(self.layout, v6)):
                continue
            mine = [
                r for r in self.routes
                if r.to == "default" and r.v6 == v6 and r.device == strand.holder
            ]  # fmt: skip
            kept = [r for r in mine if r.via == gateway][:1]
            self.routes = [r for r in self.routes if r not in mine]
            if gateway and not kept:
                kept = [Route(to="default", via=gateway, device=strand.holder, v6=v6)]
            self.routes += kept
        if strand.address and strand.holder in self.links:
            on_it = self.links[strand.holder].addresses
            self.routes = [
                r for r in self.routes
                if r.device != strand.holder or r.v6 or _reaches(r, on_it)
            ]  # fmt: skip

    def replug(self, taps: Mapping[str, int]) -> None:
        """TAPs go to the bridge of their network, with its tag where that is VLAN-aware."""
        strands = {s.network.id: s for s in self.layout.strands}
        for tap, network in taps.items():
            strand = strands.get(network)
            if strand is None or tap not in self.links:
                continue
            self.links[tap] = replace(self.links[tap], master=strand.bridge, up=True)
            if strand.network.vlan_aware:
                vlan = strand.network.vlan or 1
                self.vlans = {v for v in self.vlans if v.device != tap}
                self.vlans.add(PortVlan(device=tap, vlan=vlan, pvid=True, untagged=True))

    def drop(self) -> None:
        """What files of ours made and nothing wants any more goes; what they joined leaves."""
        for name in self.gone:
            del self.links[name]
            self.clients.pop(name, None)
        joined = {(s.port, s.bridge) for s in self.layout.strands}
        mine = {self.layout.uplink, *self.owned}
        free = {
            link.name for link in self.links.values()
            if link.master in self.gone
            or (
                link.name in mine
                and link.master in self.layout.bridges
                and (link.name, link.master) not in joined
            )
        }  # fmt: skip
        for name in free:
            self.links[name] = replace(self.links[name], master=None)
        self.routes = [r for r in self.routes if r.device not in self.gone]
        self.vlans = {v for v in self.vlans if v.device not in self.gone | free}

    def calm(self, owned: frozenset[str]) -> None:
        """What was in a VLAN-aware bridge of ours, and is in none, is promiscuous no more."""
        ours = {x.name for x in self.before.links if x.aware and x.name in owned}
        aware = {x.name for x in self.links.values() if x.aware}
        for link in tuple(self.links.values()):
            before = self.before.link(link.name)
            if before is not None and before.master in ours and link.master not in aware:
                self.links[link.name] = replace(link, promisc=False)


def heir(layout: Layout, picture: Picture, device: str, gone: frozenset[str]) -> str:
    """The interface that has what `device` has now; "" where that is lost with it."""
    if device not in gone:
        return device
    heirs = {layout.uplink: layout.uplink} | {s.port: "" for s in layout.strands}
    heirs |= {s.port: s.bridge for s in layout.strands if s.holder == s.bridge}
    return next((heirs[p.name] for p in picture.ports(device) if p.name in heirs), "")


def _reaches(route: Route, addresses: Iterable[Address]) -> bool:
    """Whether a route's gateway is next to one of the addresses."""
    if not route.via or ":" in route.via:
        return True
    gateway = ip_address(route.via)
    return any(gateway in ip_interface(a.cidr).network for a in addresses if not a.v6)


def _moved(client: DhcpClient, holder: str) -> tuple[str, ...]:
    """A client's command line for another interface: its files are named after it, too."""
    return tuple(a.replace(client.device, holder) for a in client.argv)
