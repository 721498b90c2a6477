"""What networkd is to make of a layout: devices, and what each interface has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface

from msgspec import Struct

from tashictl.model.net import Layout, Strand
from tashictl.planning.net import layout as layouts
from tashictl.planning.net import sizes, units
from tashictl.planning.net.units import Options, Section

# What an operator's file says of the link's place, not of addresses.
_PLACE = ("VLAN", "Bridge", "Bond", "MACVLAN", "VRF", "Description")
_DHCP = {"yes": {"4", "6"}, "true": {"4", "6"}, "ipv4": {"4"}, "ipv6": {"6"}}


class Netdev(Struct, frozen=True, kw_only=True):
    """A device that networkd makes; `kind` is vlan, bridge or vxlan."""

    name: str
    kind: str
    mtu: int | None = None
    mac: str = ""
    vlan: int | None = None
    vxlan: int | None = None
    stp: bool = False
    forward_delay: int | None = None
    aware: bool = False


class Net(Struct, frozen=True, kw_only=True):
    """What an interface has. `dropin_of` names the operator's file that only wants more VLANs.

    `online` is the state in which boot goes on without it; `passed` are the VLANs of a port of a
    VLAN-aware bridge, or those that the host itself is in. `is_bridge`: it has its addresses also
    while nothing in it has a carrier.
    """

    name: str
    bridge: str = ""
    is_bridge: bool = False
    vlans: tuple[str, ...] = ()
    mtu: int | None = None
    link: Options = ()
    network: Options = ()
    sections: tuple[Section, ...] = ()
    online: str = ""
    aware: bool = False
    passed: tuple[int, ...] = ()
    remotes: tuple[str, ...] = ()
    dropin_of: str = ""


class Maker:
    """Makes devices and interfaces of one layout; `theirs` are the operator's files."""

    def __init__(self, layout: Layout, theirs: Mapping[str, str], mac: str) -> None:
        self.layout = layout
        self.theirs = theirs
        self.mac = mac
        self.sizes = sizes.mtus(layout)
        self.bridged = any(s.port == layout.uplink for s in layout.strands) and layout.uplink != ""
        self.source = units.chosen(theirs, layout.uplink)

    def _sections(self, path: str) -> tuple[Section, ...]:
        """All of a file with its drop-ins, ours aside; no [Match]."""
        texts = [self.theirs[path], *(self.theirs[p] for p in units.dropins(self.theirs, path))]
        return tuple(s for text in texts for s in units.sections(text) if s.name != "Match")

    def _strands(self) -> Iterator[tuple[str, list[Strand]]]:
        for bridge in self.layout.bridges:
            yield bridge, [s for s in self.layout.strands if s.bridge == bridge]

    def netdevs(self) -> Iterator[Netdev]:
        """The devices: VLANs, VXLANs, bridges, the host's own VLANs over VLAN-aware bridges."""
        for bridge, strands in self._strands():
            first = strands[0]
            delays = [
                s.network.forward_delay for s in strands if s.network.forward_delay is not None
            ]
            stp = any(s.network.stp for s in strands)
            if first.tagged or first.network.vxlan is not None:
                yield Netdev(
                    name=first.port,
                    kind="vlan" if first.tagged else "vxlan",
                    mtu=self.sizes.get(first.port),
                    vlan=first.network.vlan,
                    vxlan=first.network.vxlan,
                )
            yield Netdev(
                name=bridge,
                kind="bridge",
                # Made with that of its port, so that its own has to be set: only a bridge whose MTU
                # was set does not take over that of its ports.
                mtu=self.sizes.get(first.port, self.sizes.get(bridge)),
                mac=self.mac if first.network.vxlan is None else "",
                stp=stp,
                forward_delay=delays[0] if delays else (None if stp else 0),
                aware=first.network.vlan_aware,
            )
            for strand in self._holders(strands):
                size = self.sizes.get(strand.holder)
                yield Netdev(name=strand.holder, kind="vlan", mtu=size, vlan=strand.network.vlan)

    def _holders(self, strands: Sequence[Strand]) -> list[Strand]:
        """The strands that the host has an address of its own in, over a VLAN-aware bridge."""
        return [
            s
            for s in strands
            if s.holder != s.bridge
            and (s.address not in ("", "none") or s.address6 not in ("", "none"))
        ]

    def networks(self) -> Iterator[Net]:
        """The interfaces, the uplink first."""
        yield from self._uplink()
        for bridge, strands in self._strands():
            first = strands[0]
            if first.port != self.layout.uplink:
                own = {s.address.partition("/")[0] for s in self.layout.strands}
                own |= {self.layout.address}
                yield Net(
                    name=first.port,
                    bridge=bridge,
                    mtu=self.sizes.get(first.port),
                    online="no",
                    remotes=tuple(r for r in first.network.remotes if r not in own),
                )
            holders = self._holders(strands)
            held = layouts.held_by(self.layout, bridge)
            yield self._addressed(
                bridge,
                next(s for s in held if s.holder == bridge),
                vlans=tuple(s.holder for s in holders),
                passed=tuple(s.network.vlan or 0 for s in holders),
            )
            for strand in holders:
                yield self._addressed(strand.holder, strand)

    def _uplink(self) -> Iterator[Net]:
        name = self.layout.uplink
        tags = tuple(dict.fromkeys(s.port for s in self.layout.strands if s.tagged))
        if not name or not (tags or self.bridged):
            return
        kept = self._sections(self.source) if self.source else ()
        own = [v for s in kept if s.name == "Link" for k, v in s.options if k == "MTUBytes"]
        size = sizes.uplink(self.sizes.get(name), own[-1] if own else "")
        if self.source and not self.bridged and units.is_for_one(self.theirs[self.source], name):
            yield Net(name=name, vlans=tags, mtu=size, dropin_of=self.source.rpartition("/")[2])
            return
        link = tuple(
            p for s in kept if s.name == "Link" for p in s.options if p[0] != "MTUBytes" or not size
        )
        inside = [s for s in self.layout.strands if s.port == name]
        aware = any(s.network.vlan_aware for s in inside)
        passed = tuple(s.network.vlan for s in inside if s.network.vlan) if aware else ()
        stays = kept if not self.bridged else ()
        yield Net(
            name=name,
            bridge=inside[0].bridge if inside else "",
            vlans=tags,
            mtu=size,
            link=link,
            network=_network_of(stays) or ((("LinkLocalAddressing", "no"),) if not inside else ()),
            sections=tuple(s for s in stays if s.name not in ("Link", "Network")),
            online="" if stays or self.bridged else "carrier",
            aware=aware,
            passed=passed,
        )

    def _addressed(
        self, name: str, strand: Strand, vlans: tuple[str, ...] = (), passed: tuple[int, ...] = ()
    ) -> Net:
        taken = self._taken(strand)
        kept4 = [s for s in taken if not strand.address]
        kept6 = [s for s in taken if not strand.address6]
        network = [
            *_kept_network(taken, four=bool(kept4), six=bool(kept6)),
            *self._asked(strand, taken),
        ]
        sections = tuple(
            s
            for s in taken
            if s.name not in ("Link", "Network") and _wanted_family(s, bool(kept4), bool(kept6))
        )
        addressed = bool(sections) or any(k in ("Address", "DHCP") for k, _ in network)
        return Net(
            name=name,
            is_bridge=name == strand.bridge,
            vlans=vlans,
            mtu=self.sizes.get(name),
            network=tuple(network),
            sections=sections,
            online="" if addressed else "no",
            aware=strand.network.vlan_aware and name == strand.bridge,
            passed=passed,
        )

    def _taken(self, strand: Strand) -> tuple[Section, ...]:
        """What the operator's files say of what the strand's holder takes over."""
        for path in units.in_order(self.theirs):
            if units.names(self.theirs[path], strand.holder):
                return self._sections(path)
        if strand.port == self.layout.uplink and strand.holder == strand.bridge:
            return self._sections(self.source) if self.source else ()
        for path in units.in_order(self.theirs):
            if units.names(self.theirs[path], strand.source):
                return self._sections(path)
        return ()

    def _asked(self, strand: Strand, taken: Sequence[Section]) -> Iterator[tuple[str, str]]:
        """The lines of [Network] that the inventory asks for."""
        network = strand.network
        dhcp = _dhcp(taken)
        four = strand.address == "dhcp" or (not strand.address and "4" in dhcp)
        six = not strand.address6 and "6" in dhcp
        if four or six:
            yield "DHCP", "yes" if four and six else "ipv4" if four else "ipv6"
        static = [a for a in (strand.address, strand.address6) if "/" in a]
        for address in static:
            yield "Address", str(ip_interface(address))
        known = [v for k, v in _network_of(taken) if k == "Gateway" and not v.startswith("_")]
        for asked, gateway in (
            (strand.address, strand.gateway),
            (strand.address6, strand.gateway6),
        ):
            kept = layouts.kept_gateway(self.layout, asked, known) if "/" in asked else ""
            if gateway or kept:
                yield "Gateway", gateway or kept
        for server in network.dns if static else ():
            yield "DNS", server
        if static and network.domain:
            yield "Domains", network.domain
        if strand.address6:
            yield "IPv6AcceptRA", "yes" if strand.address6 == "auto" else "no"
        if strand.address == "none" and strand.address6 == "none":
            yield "LinkLocalAddressing", "no"


def _dhcp(found: Sequence[Section]) -> set[str]:
    said = [v for s in found if s.name == "Network" for k, v in s.options if k == "DHCP"]
    return set(_DHCP.get(said[-1].lower(), set())) if said else set()


def _network_of(found: Sequence[Section]) -> Options:
    return tuple(p for s in found if s.name == "Network" for p in s.options if p[0] not in _PLACE)


def _kept_network(found: Sequence[Section], *, four: bool, six: bool) -> Options:
    """What stays of [Network] when one family is asked for otherwise; DHCP is said anew."""
    if not four and not six:
        return ()
    kept = []
    for key, value in _network_of(found):
        is6 = ":" in value
        if key in ("Address", "Gateway") and not (six if is6 else four):
            continue
        if key == "DHCP" or (key == "IPv6AcceptRA" and not six):
            continue
        kept.append((key, value))
    return tuple(kept)


def _wanted_family(section: Section, four: bool, six: bool) -> bool:
    """Whether a section speaks of a family that is kept."""
    if section.name in ("Address", "Route"):
        six_here = any(":" in v for _, v in section.options)
        return six if six_here else four
    return (four and section.name != "IPv6AcceptRA") or (six and section.name != "DHCPv4")
