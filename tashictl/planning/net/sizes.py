"""The MTU of every interface of a layout, for the live state and for the files."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from tashictl.model.net import Layout, Link, Strand

USUAL = 1500
AS_GIVEN = 0  # what the kernel makes of a new link: that of its parent, or of its ports
# Outer headers of a VXLAN packet over IPv4 and IPv6 (RFC 7348: 50 bytes with inner Ethernet).
_VXLAN, _VXLAN6 = 50, 70


def mtus(layout: Layout) -> dict[str, int]:
    """The MTU of each interface that is to have one of ours; the others keep what they have.

    The uplink carries the largest of its networks; what shares it with larger ones is held at its
    own size, or at 1500. Networks that share an interface have the largest of theirs there.
    """
    found: dict[str, int] = {}
    on_uplink = [s for s in layout.strands if s.network.mode == "bridge"]
    largest = max((s.network.mtu or 0 for s in on_uplink), default=0)
    if largest > USUAL:
        found[layout.uplink] = largest
    for strand in layout.strands:
        size = _size(strand, raised=largest > USUAL)
        mine = {strand.holder, strand.bridge, strand.port} - {layout.uplink}
        for name in mine if size else ():
            found[name] = max(size, found.get(name, 0))
    return found


def uplink(size: int | None, own: str) -> int | None:
    """What our files say of the uplink, which is never lowered; `own` is the operator's word."""
    said = own.strip().upper()
    unit = {"K": 1024, "M": 1024**2}.get(said[-1:], 1)
    digits = said if unit == 1 else said[:-1]
    there = int(digits) * unit if digits.isdecimal() else 0
    return None if size is None or there >= size else size


def sized(layout: Layout, links: Mapping[str, Link]) -> dict[str, Link]:
    """The links with the MTUs of the layout; those without one keep theirs, as does the uplink."""
    wanted = mtus(layout)

    def mtu(link: Link) -> int:
        size = wanted.get(link.name, link.mtu)
        if link.name == layout.uplink:
            size = max(size, link.mtu)
        if size != AS_GIVEN:
            return size
        below = [x for x in links.values() if link.name == x.master or x.name == link.parent]
        return min((mtu(x) for x in below), default=USUAL)

    return {name: replace(link, mtu=mtu(link)) for name, link in links.items()}


def _size(strand: Strand, *, raised: bool) -> int:
    network = strand.network
    if network.mtu is not None:
        return network.mtu
    if network.vxlan is not None:
        outer = _VXLAN6 if any(":" in r for r in network.remotes) else _VXLAN
        return USUAL - outer
    return USUAL if raised else 0
