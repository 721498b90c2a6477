"""The interfaces of a layout with all that their stanzas say, as the templates write them down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tashictl.model.net import Layout, Strand
from tashictl.planning.net import carry, sizes
from tashictl.planning.net import layout as layouts
from tashictl.planning.net.carry import Found
from tashictl.planning.net.stanzas import Stanza

Options = tuple[tuple[str, str], ...]


class Part(Struct, frozen=True, kw_only=True):
    """The addresses of one family: a stanza, of which the first carries the link's options too."""

    family: str = "inet"
    method: str = "manual"
    options: Options = ()


class Interface(Struct, frozen=True, kw_only=True):
    """An interface as a template sees it; `kind` is uplink, vlan, vxlan, bridge or holder.

    `parent` is what a VLAN lies on, `port` what a bridge holds. `link` are options that the
    operator gave the link itself. `vlans` pass through the port of a VLAN-aware bridge, `own` are
    those that the host itself is in.
    """

    name: str
    kind: str
    parent: str = ""
    port: str = ""
    vlan: int | None = None
    mtu: int | None = None
    port_mtu: int | None = None
    stp: bool = False
    forward_delay: int | None = None
    aware: bool = False
    vlans: tuple[int, ...] = ()
    own: tuple[int, ...] = ()
    vxlan: int | None = None
    remotes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = (Part(),)
    link: Options = ()

    @property
    def addressed(self) -> bool:
        """The host has, or may get, an address there."""
        return any(p.method != "manual" for p in self.parts)

    @property
    def dotted(self) -> bool:
        """Its name looks like that of a VLAN, for which ifupdown would take it."""
        return "." in self.name


def of(layout: Layout, found: Found) -> tuple[Interface, ...]:
    """The interfaces that we write, in the order in which they may come up.

    Guests' bridges come before those with addresses: DHCP may take long. VXLANs come last, since
    what carries them must be up.
    """
    makers = _Maker(layout, found)
    bridges = sorted(makers.bridges(), key=lambda b: b.addressed)
    plain = [b for b in bridges if b.vxlan is None]
    over = [b for b in bridges if b.vxlan is not None]
    return (
        *makers.uplink(),
        *makers.vlans(),
        *plain,
        *makers.holders(),
        *makers.vxlans(),
        *over,
    )


class _Maker:
    """Makes the interfaces of one layout."""

    def __init__(self, layout: Layout, found: Found) -> None:
        self.layout = layout
        self.found = found
        self.sizes = sizes.mtus(layout)
        self.by_bridge = {
            bridge: [s for s in layout.strands if s.bridge == bridge] for bridge in layout.bridges
        }
        self.bridged = any(s.port == layout.uplink for s in layout.strands) and layout.uplink != ""

    def uplink(self) -> Iterator[Interface]:
        """The uplink, where it is a port, or has no stanza of the operator's, or in legacy."""
        name = self.layout.uplink
        own = [s for s in self.found.theirs if s.name == name]
        if not name or (own and not self.bridged and self.layout.style != "legacy"):
            return
        parts = () if self.bridged else _as_parts(self._addresses_back(name))
        if not self.layout.strands and not parts:
            return
        link = carry.link_options(self.found.of(name))
        mtu = sizes.uplink(self.sizes.get(name), dict(link).get("mtu", ""))
        yield Interface(
            name=name,
            kind="uplink",
            mtu=mtu,
            parts=parts or (Part(),),
            link=tuple(p for p in link if p[0] != "mtu" or mtu is None),
        )

    def _addresses_back(self, name: str) -> tuple[Stanza, ...]:
        """What a port that is none any more had: its own, or that of the bridge it was in."""
        return self._first_of(
            carry.addresses([s for s in self.found.theirs if s.name == name], name),
            carry.addresses(self._bridges_of(name), name, ours=True),
            carry.addresses([s for s in self.found.ours if s.name == name], name, ours=True),
        )

    def _bridges_of(self, port: str) -> list[Stanza]:
        """All stanzas of the bridges of ours that held `port` and go; one that stays keeps them."""
        names = carry.bridges_of(self.found.ours, port) - set(self.layout.bridges)
        return [s for s in self.found.ours if s.name in names]

    def vlans(self) -> Iterator[Interface]:
        """The VLAN interfaces on the uplink."""
        for strand in self._once(s for s in self.layout.strands if s.tagged):
            yield Interface(
                name=strand.port,
                kind="vlan",
                parent=self.layout.uplink,
                vlan=strand.network.vlan,
                mtu=self.sizes.get(strand.port),
            )

    def vxlans(self) -> Iterator[Interface]:
        """The VXLAN interfaces."""
        for strand in self._once(s for s in self.layout.strands if s.network.vxlan is not None):
            yield Interface(
                name=strand.port,
                kind="vxlan",
                vxlan=strand.network.vxlan,
                remotes=strand.network.remotes,
                mtu=self.sizes.get(strand.port),
            )

    def bridges(self) -> Iterator[Interface]:
        """The bridges, each with the addresses of the strand that it holds itself."""
        for bridge, strands in self.by_bridge.items():
            first = strands[0].network
            stp = any(s.network.stp for s in strands)
            delays = [
                s.network.forward_delay for s in strands if s.network.forward_delay is not None
            ]
            tags = [s for s in strands if first.vlan_aware and s.network.vlan is not None]
            yield Interface(
                name=bridge,
                kind="bridge",
                parent=self.layout.uplink if first.vxlan is None else "",
                port=strands[0].port,
                mtu=self.sizes.get(bridge),
                port_mtu=self.sizes.get(strands[0].port),
                stp=stp,
                forward_delay=delays[0] if delays else (None if stp else 0),
                aware=first.vlan_aware,
                vlans=tuple(s.network.vlan or 0 for s in tags),
                own=tuple(s.network.vlan or 0 for s in tags if self._parts(s)),
                vxlan=first.vxlan,
                parts=self._parts(self._holding(bridge)) or (Part(),),
            )

    def holders(self) -> Iterator[Interface]:
        """The host's own VLAN interfaces over VLAN-aware bridges, where it has addresses."""
        for strand in self._once(s for s in self.layout.strands if s.holder != s.bridge):
            parts = self._parts(strand)
            if parts:
                yield Interface(
                    name=strand.holder,
                    kind="holder",
                    parent=strand.bridge,
                    vlan=strand.network.vlan,
                    mtu=self.sizes.get(strand.holder),
                    parts=parts,
                )

    def _once(self, strands: Iterable[Strand]) -> Iterator[Strand]:
        seen: set[str] = set()
        for strand in strands:
            if strand.holder not in seen:
                seen.add(strand.holder)
                yield strand

    def _holding(self, bridge: str) -> Strand:
        """The strand whose addresses are the bridge's; over a VLAN-aware one it may be made up."""
        return next(s for s in layouts.held_by(self.layout, bridge) if s.holder == bridge)

    def _taken(self, strand: Strand) -> tuple[Stanza, ...]:
        """What is there already of a strand's addresses, for its holder."""
        port, to = strand.source, strand.holder
        theirs, ours = self.found.theirs, self.found.ours
        return self._first_of(
            carry.addresses([s for s in theirs if s.name == to], to),
            carry.addresses([s for s in theirs if s.name == port], to),
            carry.addresses([s for s in ours if s.name == to], to, ours=True),
            carry.addresses(self._bridges_of(port), to, ours=True),
            carry.addresses([s for s in ours if s.name == port], to, ours=True),
        )

    @staticmethod
    def _first_of(*choices: tuple[Stanza, ...]) -> tuple[Stanza, ...]:
        return next((c for c in choices if c), ())

    def _parts(self, strand: Strand) -> tuple[Part, ...]:
        """The stanzas of a strand's holder; none where the host has nothing there."""
        taken = self._taken(strand)
        return (
            *self._family(strand, "inet", strand.address, taken),
            *self._family(strand, "inet6", strand.address6, taken),
        )

    def _family(
        self, strand: Strand, family: str, asked: str, taken: Sequence[Stanza]
    ) -> tuple[Part, ...]:
        mine = [s for s in taken if s.family == family]
        if not asked:
            return _as_parts(mine)
        if asked == "none":
            on_bridge = strand.holder == strand.bridge
            return (_deaf(strand.holder),) if family == "inet6" and on_bridge else ()
        same = [s for s in mine if s.method == asked]
        if "/" not in asked:
            return _as_parts(same[:1]) or (Part(family=family, method=asked),)
        known = [v for s in mine for k, v in s.options if k == "gateway"]
        gateway = layouts.kept_gateway(self.layout, asked, known)
        mine_commands = tuple(p for s in mine for p in s.options if p[0] in carry.COMMANDS)
        options = (*self._static(strand, family, asked, gateway), *mine_commands)
        return (Part(family=family, method="static", options=options),)

    def _static(
        self, strand: Strand, family: str, asked: str, kept: str
    ) -> Iterator[tuple[str, str]]:
        network = strand.network
        yield "address", asked
        gateway = (strand.gateway6 if family == "inet6" else strand.gateway) or kept
        if gateway:
            yield "gateway", gateway
        if family == "inet6" and "/" in strand.address:
            return  # said with IPv4 already
        if network.dns:
            yield "dns-nameservers", " ".join(network.dns)
        if network.domain:
            yield "dns-search", network.domain


def _as_parts(found: Iterable[Stanza]) -> tuple[Part, ...]:
    return tuple(Part(family=s.family, method=s.method, options=s.options) for s in found)


def _deaf(name: str) -> Part:
    """No IPv6 address, also where a router offers one."""
    command = f"sysctl -q -e -w net/ipv6/conf/{name}/accept_ra=0"
    return Part(family="inet6", options=(("up", command),))
