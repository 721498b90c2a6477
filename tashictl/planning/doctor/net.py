"""What is wrong with the way of a host's guests to their networks: bridges, uplinks, MTU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tashictl.model.network import Network
from tashictl.planning.doctor.findings import Finding, Severity, ok
from tashictl.planning.doctor.reading import Examined, Link
from tashictl.planning.doctor.subject import Subject
from tashictl.planning.requirements import join_bridge, make_bridge

_SHOWN = 4
_FOR_GOOD = "for good, as the inventory has it: tashictl net apply"
# Bridges that other programs make, change and take away as they like.
_OTHERS = (
    (re.compile(r"virbr[0-9]+"), "libvirt"),
    (re.compile(r"docker[0-9]+|br-[0-9a-f]{12}"), "docker"),
    (re.compile(r"lxcbr[0-9]+|lxdbr[0-9]+"), "LXC or LXD"),
    (re.compile(r"incusbr[0-9]+"), "incus"),
    (re.compile(r"cni[0-9]+|podman[0-9]+"), "podman or kubernetes"),
)


def findings(seen: Examined, at: Subject) -> Iterator[Finding]:
    """Every finding about the networks that the host carries and that have a bridge."""
    if not at.wired:
        return
    yield from _clash(at.wired)
    if seen.links is None:
        yield Finding(
            id="net.links",
            severity=Severity.WARNING,
            evidence="`ip -j -d addr show` gave no JSON: bridges, uplinks and MTU were not seen",
            remedy="apt-get install iproute2",
        )
        return
    yield ok("net.links", f"{len(seen.links)} interfaces")
    for bridge in dict.fromkeys(n.bridge for n in at.wired if n.bridge):
        yield from _bridge(bridge, seen.links, at)
    for network in at.wired:
        link = seen.links.get(network.bridge or "")
        if link is not None and link.kind == "bridge":
            yield _uplink(network, link, seen.links, at)
            yield _mtu(network, link, seen.links, at)


def owner_of(bridge: str) -> str:
    """Which program makes bridges of that name; "" for none that is known."""
    return next((who for pattern, who in _OTHERS if pattern.fullmatch(bridge)), "")


def _clash(wired: Sequence[Network]) -> Iterator[Finding]:
    for network in wired:
        bridge = network.bridge or ""
        owner = owner_of(bridge)
        if not owner:
            yield ok("net.clash", f"{bridge} is nobody else's name", subject=network.name)
            continue
        yield Finding(
            id="net.clash",
            severity=Severity.WARNING,
            subject=network.name,
            evidence=f"{bridge} is a name of {owner}, which changes and removes that bridge at "
            "will, and may give addresses and filter there",
            remedy=f"another bridge for network {network.name} in the inventory",
        )


# -- bridges


def _bridge(bridge: str, links: dict[str, Link], at: Subject) -> Iterator[Finding]:
    some = [n for n in at.wired if n.bridge == bridge]
    names = ", ".join(n.name for n in some)
    link = links.get(bridge)
    if link is None or link.kind != "bridge":
        kind = f" of kind {link.kind}" if link is not None and link.kind else ""
        yield Finding(
            id="net.bridge",
            severity=Severity.ERROR,
            subject=bridge,
            evidence=f"absent, for {names}"
            if link is None
            else f"an interface{kind}, no bridge, for {names}",
            remedy=make_bridge(bridge, some[0], at.place.config)
            if link is None
            else f"another bridge for {names} in the inventory, or rename it: ip link set "
            f"dev {bridge} name …",
        )
        return
    yield ok("net.bridge", f"there, for {names}", subject=bridge)
    if link.up:
        yield ok("net.bridge-up", "up", subject=bridge)
        return
    yield Finding(
        id="net.bridge-up",
        severity=Severity.ERROR,
        subject=bridge,
        evidence=f"down: nothing passes it, for {names}",
        remedy=f"ip link set dev {bridge} up",
    )


def _fault(network: Network, evidence: str, remedy: str) -> Finding:
    return Finding(
        id="net.bridge-uplink",
        severity=Severity.ERROR,
        subject=network.name,
        evidence=evidence,
        remedy=f"{remedy}\n{_FOR_GOOD}" if remedy.startswith("ip link ") else remedy,
    )


def port_of(network: Network, bridge: Link, links: dict[str, Link], uplink: str) -> Link | None:
    """The port by which a network leaves the host, if it hangs on the bridge."""
    vlan = None if bridge.vlan_aware else network.vlan
    for link in links.values():
        if link.master != bridge.name:
            continue
        if vlan is None and link.name == uplink:
            return link
        if vlan is not None and (link.parent, link.vlan) == (uplink, vlan):
            return link
    return None


def _uplink(network: Network, bridge: Link, links: dict[str, Link], at: Subject) -> Finding:
    uplink = at.place.config.uplink
    if network.mode == "vxlan":
        return ok("net.bridge-uplink", "none is needed: vxlan", subject=network.name)
    if uplink is None:
        return _any_uplink(network, bridge, links)
    port = port_of(network, bridge, links, uplink)
    if port is None:
        return _no_port(network, bridge, links, uplink)
    way = [port.name] if port.name == uplink else [port.name, uplink]
    for name in way:
        link = links.get(name)
        if link is not None and not link.up:
            return _fault(
                network,
                f"{name}, the uplink of {bridge.name}, is down",
                f"ip link set dev {name} up",
            )
    if port.carrier is False:
        return _fault(
            network,
            f"{port.name}, the uplink of {bridge.name}, has no carrier",
            f"look at the cable and the switch: ip -s link show dev {uplink}",
        )
    return ok("net.bridge-uplink", f"{port.name} in {bridge.name}", subject=network.name)


def _any_uplink(network: Network, bridge: Link, links: dict[str, Link]) -> Finding:
    ports = [x.name for x in links.values() if x.master == bridge.name and not x.is_tap]
    if ports:
        told = f"{', '.join(ports[:_SHOWN])} in {bridge.name}; none is named in the inventory"
        return ok("net.bridge-uplink", told, subject=network.name)
    return Finding(
        id="net.bridge-uplink",
        severity=Severity.NOTE,
        subject=network.name,
        evidence=f"{bridge.name} has no port but those of VMs: they reach only this host",
        remedy=f"ip link set dev NIC master {bridge.name}, and uplink: NIC in the inventory",
    )


def _no_port(network: Network, bridge: Link, links: dict[str, Link], uplink: str) -> Finding:
    """Why the uplink is no port of the bridge."""
    vlan = None if bridge.vlan_aware else network.vlan
    wanted = uplink if vlan is None else f"{uplink}.{vlan}"
    if uplink not in links:
        return _fault(
            network,
            f"{uplink}, the uplink, is no interface of this host",
            f"uplink in the inventory; what there is: {_nics(links)}",
        )
    port = links.get(wanted)
    if port is None:
        return _fault(
            network,
            f"{wanted} is absent, so {bridge.name} has no uplink",
            join_bridge(bridge.name, uplink, vlan),
        )
    if vlan is not None and (port.parent, port.vlan) != (uplink, vlan):
        carries = f"VLAN {port.vlan} of {port.parent}" if port.vlan else "no VLAN"
        again = join_bridge(bridge.name, uplink, vlan)
        return _fault(
            network,
            f"{wanted} carries {carries}, not VLAN {vlan} of {uplink}",
            f"ip link del dev {wanted} && {again}",
        )
    if port.master:
        return _fault(
            network,
            f"{wanted} is a port of {port.master}, not of {bridge.name}",
            f"ip link set dev {wanted} master {bridge.name}, if {port.master} does not need it",
        )
    return _fault(
        network,
        f"{wanted} is no port of {bridge.name}",
        f"ip link set dev {wanted} up master {bridge.name}",
    )


def _nics(links: dict[str, Link]) -> str:
    names = [x.name for x in links.values() if not x.is_tap and x.kind != "bridge"]
    return ", ".join(n for n in names if n != "lo") or "none"


# -- MTU


def _mtu(network: Network, bridge: Link, links: dict[str, Link], at: Subject) -> Finding:
    """Frames that are larger than the next interface of their way takes vanish without a word."""
    taps = [x for x in links.values() if x.master == bridge.name and x.is_tap]
    wanted = network.mtu or max(x.mtu for x in (bridge, *taps))
    way = [bridge]
    uplink = at.place.config.uplink
    port = port_of(network, bridge, links, uplink) if uplink is not None else None
    if port is not None:
        way = [bridge, port, *(x for x in links.values() if x.name == port.parent)]
    small = [x for x in (*way, *taps) if x.mtu < wanted]
    if not small:
        told = f"{wanted} from TAP to {way[-1].name}"
        return ok("net.mtu", told, subject=network.name)
    shown = ", ".join(f"{x.name} {x.mtu}" for x in small[:_SHOWN])
    more = f" and {len(small) - _SHOWN} more" if len(small) > _SHOWN else ""
    whose = "the inventory says" if network.mtu else "the largest is"
    # A VLAN interface takes no more than what is below it: from the NIC upwards.
    mend = [f"ip link set dev {x.name} mtu {wanted}" for x in reversed(small)]
    return Finding(
        id="net.mtu",
        severity=Severity.WARNING,
        subject=network.name,
        evidence=f"{whose} {wanted}, but {shown}{more}: larger frames vanish there",
        remedy=f"{' && '.join(mend[:_SHOWN])}\n{_FOR_GOOD}",
    )
