"""Why a layout cannot be had on a host; and which interfaces of ours may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tashictl.errors import InvalidRequest, TashiError
from tashictl.model.net import HostNet, Layout, Picture, Strand
from tashictl.planning.net.change import MADE


def stale(picture: Picture, owned: frozenset[str]) -> Iterator[str]:
    """Interfaces of ours that can go: made ones, whether they are wanted or not."""
    for link in picture.links:
        if link.name in owned and link.kind in MADE:
            yield link.name


def gone(layout: Layout, picture: Picture, owned: frozenset[str]) -> frozenset[str]:
    """Interfaces of ours that nothing wants any more."""
    wanted = {n for s in layout.strands for n in (s.port, s.bridge, s.holder)}
    return frozenset(stale(picture, owned)) - wanted


def problems(
    layout: Layout, net: HostNet, owned: frozenset[str], taps: Mapping[str, int]
) -> Iterator[TashiError]:
    """Why the layout cannot be had on the host; each with what to do."""
    picture = net.picture
    if any(s.network.mode == "bridge" for s in layout.strands):
        uplink = picture.link(layout.uplink)
        if uplink is None:
            there = [link.name for link in picture.links if link.kind == ""]
            yield InvalidRequest(
                "E-UPLINK",
                f"{layout.host} has no interface {layout.uplink}",
                cause=f"it has {', '.join(there) or 'none'}",
                hint=f"`uplink: {(*there, 'NAME')[0]}` for {layout.host} in the inventory",
                host=layout.host,
            )
            return
    here = {s.network.id for s in layout.strands}
    moving = {tap for tap, network in taps.items() if network in here}
    for name in sorted(gone(layout, picture, owned)):
        yield from _held(layout, picture, name, moving)
    for strand in layout.strands:
        link = picture.link(strand.bridge)
        if link is not None and link.kind != "bridge":
            yield InvalidRequest(
                "E-BRIDGE",
                f"{layout.host}: {strand.bridge} is there and is no bridge",
                cause=f"it is {link.kind or 'hardware'}",
                hint=f"another `bridge:` for network {strand.network.name}",
                host=layout.host,
            )
        yield from _twice(layout, picture, strand, owned)


def _twice(
    layout: Layout, picture: Picture, strand: Strand, owned: frozenset[str]
) -> Iterator[TashiError]:
    """A VLAN that the uplink has already: a second one cannot be, nor would a bridge hear of it."""
    aware = strand.network.vlan_aware
    for link in picture.links:
        if (link.kind, link.parent, link.name != strand.port) != ("vlan", layout.uplink, True):
            continue
        if aware and link.name in owned:
            continue  # it goes
        if (strand.tagged or aware) and link.vlan == strand.network.vlan:
            why = (
                f"would have it through {strand.bridge}, which hears nothing of it then"
                if aware
                else f"would have it as {strand.port}, and the kernel takes no VLAN twice"
            )
            yield InvalidRequest(
                "E-VLAN",
                f"{layout.host}: VLAN {link.vlan} is on {layout.uplink} already, as {link.name}",
                cause=f"network {strand.network.name} {why}",
                hint=f"take {link.name} out of the host's own files, and: ip link del {link.name}",
                host=layout.host,
            )


def _held(layout: Layout, picture: Picture, name: str, moving: set[str]) -> Iterator[TashiError]:
    """Guests on a bridge that is not wanted any more; TAPs that move hold nothing."""
    ours = {layout.uplink, *(s.port for s in layout.strands), *moving}
    guests = [p.name for p in picture.ports(name) if p.kind not in MADE and p.name not in ours]
    if guests:
        yield InvalidRequest(
            "E-IN-USE",
            f"{layout.host}: {name} is in no network any more, and in use",
            cause="guests hang on it: " + ", ".join(guests),
            hint="put its network back into the inventory, or move what uses it first",
            host=layout.host,
        )
