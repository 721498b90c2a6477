"""The MTU of every interface of a layout, and which network brings the host's default route."""

from __future__ import annotations

from tashictl.model.net import Layout, Strand

USUAL = 1500
# Outer headers of a VXLAN packet over IPv4 and IPv6 (RFC 7348: 50 bytes with inner Ethernet).
_VXLAN, _VXLAN6 = 50, 70


def mtus(layout: Layout) -> dict[str, int]:
    """The MTU of each interface that is to have one of ours; the others keep what they have.

    The uplink carries the largest of its networks; what shares it with larger ones is held at its
    own size, or at 1500.
    """
    found: dict[str, int] = {}
    on_uplink = [s for s in layout.strands if s.network.mode == "bridge"]
    largest = max((s.network.mtu or 0 for s in on_uplink), default=0)
    untagged = [s for s in on_uplink if s.port == layout.uplink and not s.network.vlan_aware]
    if largest > USUAL or (largest and len(untagged) == len(on_uplink)):
        found[layout.uplink] = largest
    for strand in layout.strands:
        size = _size(strand, raised=largest > USUAL)
        if size and strand.network.vlan_aware:
            if strand.holder != strand.bridge:
                found[strand.holder] = size
            found[strand.bridge] = max(size, found.get(strand.bridge, 0))
        elif size:
            found[strand.bridge] = size
            if strand.port != layout.uplink:
                found[strand.port] = size
    return found


def _size(strand: Strand, *, raised: bool) -> int:
    network = strand.network
    if network.mtu is not None:
        return network.mtu
    if network.vxlan is not None:
        outer = _VXLAN6 if any(":" in r for r in network.remotes) else _VXLAN
        return USUAL - outer
    return USUAL if raised else 0


def gateway_holders(layout: Layout, *, has4: bool, has6: bool) -> dict[str, tuple[str, ...]]:
    """The default gateways that the files give, by the interface that has them.

    A host has one default route of each family: that of what is there already (`has4`, `has6`), of
    DHCP or router advertisements, or the first network's where the host has an address of its own.
    """
    found: dict[str, list[str]] = {}
    for strand in layout.strands:
        has4 = has4 or strand.address == "dhcp"
        has6 = has6 or strand.address6 == "auto"
    for strand in layout.strands:
        network = strand.network
        gateway4 = network.gateway if network.gateway and ":" not in network.gateway else None
        gateway6 = network.gateway6 or (None if gateway4 else network.gateway)
        if not has4 and gateway4 and "/" in strand.address:
            found.setdefault(strand.holder, []).append(gateway4)
            has4 = True
        if not has6 and gateway6 and "/" in strand.address6:
            found.setdefault(strand.holder, []).append(gateway6)
            has6 = True
    return {holder: tuple(gateways) for holder, gateways in found.items()}
