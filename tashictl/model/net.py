"""A host's network: what is wanted of it, what it is now, and the files that make it so at boot."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.network import Network


class Strand(Struct, frozen=True, kw_only=True):
    """One network on one host.

    `port` is what joins the bridge: the uplink, ``<uplink>.<vlan>`` or ``vxlan<id>``. `holder`
    carries the host's own addresses: the bridge, or ``<bridge>.<vlan>`` over a VLAN-aware one.
    `address` is ``dhcp``, ``none`` (the host has none there), address/length, or ``""``: as it is,
    and what the port had goes along to the bridge. `address6` is the same, with ``auto`` (router
    advertisements, RFC 4862) in place of ``dhcp``. `gateway` is that of the host's default route.
    """

    network: Network
    port: str
    bridge: str
    holder: str
    address: str = ""
    address6: str = ""
    gateway: str = ""
    gateway6: str = ""

    @property
    def source(self) -> str:
        """The interface whose addresses go along to the holder, if it is there."""
        over_aware = self.holder != self.bridge
        return f"{self.port}.{self.network.vlan}" if over_aware else self.port

    @property
    def tagged(self) -> bool:
        """A VLAN interface of its own on the uplink is its port."""
        return self.network.vlan is not None and not self.network.vlan_aware


class Layout(Struct, frozen=True, kw_only=True):
    """What the inventory wants of one host; `style` is legacy, ifupdown or networkd.

    Strands that share a bridge are VLAN-aware, all of them. `address` is where the host is reached,
    an address or a name.
    """

    host: str
    address: str = ""
    uplink: str
    style: str
    strands: tuple[Strand, ...]

    @property
    def bridges(self) -> tuple[str, ...]:
        """The bridges, each once, in the order of the inventory."""
        return tuple(dict.fromkeys(s.bridge for s in self.strands))


class HostFile(Struct, frozen=True, kw_only=True):
    """A file as it is wanted on a host; `text` None: it must not be there."""

    path: str
    text: str | None
    mode: int = 0o644


class Address(Struct, frozen=True, kw_only=True, order=True):
    """An address with its prefix length; `dynamic` means that DHCP or a router gave it."""

    cidr: str
    dynamic: bool = False

    @property
    def v6(self) -> bool:
        """It is of IPv6."""
        return ":" in self.cidr


class Link(Struct, frozen=True, kw_only=True):
    """An interface as ``ip -d link`` shows it; `kind` is "" for hardware.

    `forward_delay_s`, `stp` and `aware` (vlan_filtering) are of bridges, `vlan` and `parent` of
    VLANs, `vxlan` of VXLANs. `promisc`: somebody asked for it; what a bridge asks for by itself
    does not count. Addresses are those of global scope.
    """

    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 1500
    up: bool = False
    carrier: bool = False
    promisc: bool = False
    master: str | None = None
    parent: str | None = None
    vlan: int | None = None
    vxlan: int | None = None
    remotes: tuple[str, ...] = ()
    stp: bool = False
    forward_delay_s: float = 15.0
    aware: bool = False
    addresses: tuple[Address, ...] = ()


class Route(Struct, frozen=True, kw_only=True, order=True):
    """A route of the main table that the kernel did not make by itself; `to` may be ``default``.

    `onlink`: the gateway is taken for a neighbour whatever the addresses say, as ifupdown has it.
    """

    to: str
    via: str = ""
    device: str
    metric: int = 0
    protocol: str = ""
    source: str = ""
    v6: bool = False
    onlink: bool = False


class PortVlan(Struct, frozen=True, kw_only=True, order=True):
    """A VLAN that a port of a VLAN-aware bridge (or the bridge itself) carries."""

    device: str
    vlan: int
    pvid: bool = False
    untagged: bool = False


class DhcpClient(Struct, frozen=True, kw_only=True):
    """A DHCP client that runs for an interface, as its command line says."""

    device: str
    argv: tuple[str, ...]
    pid: int = 0


class Picture(Struct, frozen=True, kw_only=True):
    """The live network of a host, as far as we change it."""

    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    vlans: tuple[PortVlan, ...] = ()
    clients: tuple[DhcpClient, ...] = ()

    def link(self, name: str) -> Link | None:
        """The interface of that name, or None."""
        return next((link for link in self.links if link.name == name), None)

    def ports(self, bridge: str) -> tuple[Link, ...]:
        """What is joined to a bridge."""
        return tuple(link for link in self.links if link.master == bridge)


class HostNet(Struct, frozen=True, kw_only=True):
    """What a look at a host found.

    `files` are the network files there by path, `modes` their bits; `digest` is over the host's own
    text of the picture, which a change has to find again; `tools` the programs that are there;
    `manager` is what sets the network up at boot: ifupdown, networkd, netplan, NetworkManager or
    "". `reached` and `port` are the host's own end of the connection that looked. `pending` is the
    change in flight, or the last one.
    """

    picture: Picture
    files: dict[str, str] = {}
    modes: dict[str, int] = {}
    tools: tuple[str, ...] = ()
    manager: str = ""
    reached: str = ""
    port: int = 0
    nameservers: tuple[str, ...] = ()
    uptime_s: float = 0.0
    digest: str = ""
    pending: Pending | None = None


class Pending(Struct, frozen=True, kw_only=True):
    """A change in flight, as it lies on the host.

    `stage` is armed, applying, applied, failed, confirmed, reverting, reverted or unclean (the
    reverse was done and the picture differs); `left_s` is until it goes back by itself. Without
    `active` it is the last one, which has ended; `alive`: its timer runs.
    """

    token: str
    stage: str
    who: str = ""
    cluster: str = ""
    since: str = ""
    left_s: float = 0.0
    detail: str = ""
    alive: bool = False
    active: bool = False
