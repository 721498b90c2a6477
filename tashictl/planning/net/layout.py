"""What the inventory wants of a host's network; every problem of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface

from msgspec.structs import replace

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.host import HostConfig
from tashictl.model.net import Layout, Strand
from tashictl.model.network import Network

DEFAULT_STYLE = "ifupdown"


def style_of(host: HostConfig) -> str:
    """How a host's network files are written."""
    return host.style or DEFAULT_STYLE


def networks_of(host: HostConfig, networks: Iterable[Network]) -> tuple[Network, ...]:
    """The bridged networks that a host has, in the order of the inventory."""
    return tuple(
        n for n in networks
        if n.mode != "user" and (host.networks is None or n.name in host.networks)
    )  # fmt: skip


def layout(host: HostConfig, networks: Iterable[Network], style: str | None = None) -> Layout:
    """The layout of a host; `style` is used in place of its own.

    Raises InvalidRequest or Problems for a host without an uplink, or whose networks do not fit
    together on one.
    """
    own = networks_of(host, networks)
    uplink = host.uplink or ""
    raise_all(_problems(host, own))
    placed = dict(a.split("=", 1) for a in host.host_addresses if not _is_six(a))
    placed6 = dict(a.split("=", 1) for a in host.host_addresses if _is_six(a))
    strands = tuple(
        _strand(
            uplink,
            network,
            placed.get(network.name, network.host_address) or "",
            placed6.get(network.name, network.host_address6) or "",
        )
        for network in own
    )
    strands = _with_gateways(strands)
    return Layout(
        host=host.name,
        address=host.address,
        uplink=uplink,
        style=style or style_of(host),
        strands=strands,
    )


def _is_six(placed: str) -> bool:
    """Whether ``network=address`` is of IPv6."""
    return ":" in placed or placed.endswith("=auto")


def _with_gateways(strands: tuple[Strand, ...]) -> tuple[Strand, ...]:
    """The host's default route is of the first network on which it has a fixed address.

    None is needed where DHCP or router advertisements bring one.
    """
    by_dhcp = any(s.address == "dhcp" for s in strands)
    by_router = any(s.address6 == "auto" for s in strands)
    static = [s for s in strands if "/" in s.address and _v4(s.network.gateway) and not by_dhcp]
    static6 = [s for s in strands if "/" in s.address6 and _gateway6(s) and not by_router]
    first, first6 = next(iter(static), None), next(iter(static6), None)
    return tuple(
        replace(
            s,
            gateway=s.network.gateway or "" if s is first else "",
            gateway6=_gateway6(s) if s is first6 else "",
        )
        for s in strands
    )


def _v4(gateway: str | None) -> bool:
    return gateway is not None and ":" not in gateway


def _gateway6(strand: Strand) -> str:
    gateway = strand.network.gateway or ""
    return strand.network.gateway6 or (gateway if ":" in gateway else "")


def decides(layout: Layout, v6: bool) -> bool:
    """Whether the inventory says where the default route of a family comes from."""
    if v6:
        return any(s.gateway6 or s.address6 == "auto" for s in layout.strands)
    return any(s.gateway or s.address == "dhcp" for s in layout.strands)


def kept_gateway(layout: Layout, asked: str, known: Iterable[str]) -> str:
    """The gateway from before that stays beside a fixed address, or "".

    It does where the inventory decides nothing of it, and it is next to that address.
    """
    mine = ip_interface(asked)
    if decides(layout, mine.version == 6):
        return ""
    return next((g for g in known if ip_address(g) in mine.network), "")


def without_gateways(layout: Layout, v4: bool, v6: bool) -> Layout:
    """The layout for a host whose default route lies elsewhere, and stays there."""
    return replace(
        layout,
        strands=tuple(
            replace(s, gateway="" if v4 else s.gateway, gateway6="" if v6 else s.gateway6)
            for s in layout.strands
        ),
    )


def _strand(uplink: str, network: Network, address: str, address6: str) -> Strand:
    bridge = network.bridge or "vmbr"
    port = holder = uplink
    if network.vxlan is not None:
        port = f"vxlan{network.vxlan}"
    elif network.vlan is not None and not network.vlan_aware:
        port = f"{uplink}.{network.vlan}"
    holder = bridge
    if network.vlan_aware and network.vlan is not None:
        holder = f"{bridge}.{network.vlan}"
    if ":" in address:  # host_address takes both families
        address, address6 = "", address
    return Strand(
        network=network,
        port=port,
        bridge=bridge,
        holder=holder,
        address=address,
        address6=address6,
    )


def held_by(layout: Layout, bridge: str) -> tuple[Strand, ...]:
    """The strands of a bridge, and one for what a VLAN-aware one itself has without a tag."""
    strands = tuple(s for s in layout.strands if s.bridge == bridge)
    if any(s.holder == bridge for s in strands):
        return strands
    first = strands[0]
    network = replace(first.network, vlan=None)
    own = replace(first, network=network, holder=bridge, address="", address6="")
    return (*strands, replace(own, gateway="", gateway6=""))


def _problems(host: HostConfig, networks: tuple[Network, ...]) -> Iterator[InvalidRequest]:
    wants_uplink = [n.name for n in networks if n.mode == "bridge"]
    if wants_uplink and host.uplink is None:
        yield InvalidRequest(
            "E-UPLINK",
            f"{host.name} has no uplink",
            cause=f"the networks {', '.join(wants_uplink)} hang on it",
            hint=f"`uplink: eth0` for {host.name} in the inventory, or in defaults",
            host=host.name,
        )
    bridges: dict[str, Network] = {}
    for network in networks:
        if network.mode != "bridge" or network.vlan is not None:
            continue
        first = next(iter(bridges.values()), network)
        bridges.setdefault(network.bridge or "", network)
        if first.bridge != network.bridge:
            yield InvalidRequest(
                "E-NETWORK",
                f"{host.name}: the uplink can be in one bridge only",
                cause=f"{first.name} and {network.name} are both untagged, on {first.bridge} "
                f"and {network.bridge}",
                hint="give one of them a vlan, or the same bridge",
                host=host.name,
            )
