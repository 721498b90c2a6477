"""The MTU of every interface of a layout."""

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
    if largest > USUAL:
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
