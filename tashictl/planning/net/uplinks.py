"""What an uplink has again when its bridge goes; addresses that nothing or two would have then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from tashictl.errors import InvalidRequest, TashiError
from tashictl.model.net import Address, HostNet, Layout, Link, Picture, Route, Strand
from tashictl.planning.net import render_networkd, units


class Said(Struct, frozen=True, kw_only=True):
    """What the files say of an uplink that is no port: fixed addresses, a lease, gateways."""

    addresses: tuple[str, ...] = ()
    leased: bool = False
    gateways: tuple[str, ...] = ()

    def addressed(self, had: tuple[Address, ...]) -> tuple[Address, ...]:
        """The addresses for it, of which its bridge had some."""
        kept = {a.cidr: a for a in had if a.cidr in self.addresses or (a.dynamic and self.leased)}
        return tuple({**kept, **{c: kept.get(c, Address(cidr=c)) for c in self.addresses}}.values())

    def routes(self, device: str) -> Iterator[Route]:
        """The default routes through it."""
        for gateway in self.gateways:
            yield Route(to="default", via=gateway, device=device, v6=":" in gateway)


def said(layout: Layout, files: Mapping[str, str]) -> Said | None:
    """What networkd's files say of the uplink; None where it gets back all that its bridge had.

    The files of ifupdown give it that (`interfaces.of`). For networkd the operator's file of the
    uplink was hidden by ours, is not changed, and counts again.
    """
    if layout.style != "networkd":
        return None
    theirs = render_networkd.theirs(files)
    path = units.chosen(theirs, layout.uplink)
    texts = [theirs[p] for p in (path, *units.dropins(theirs, path))] if path else []
    found = [s for text in texts for s in units.sections(text)]

    def of(key: str, *sections: str) -> tuple[str, ...]:
        return tuple(v for s in found if s.name in sections for k, v in s.options if k == key and v)

    return Said(
        addresses=of("Address", "Network", "Address"),
        leased=bool({"yes", "true", "ipv4"} & set(of("DHCP", "Network"))),
        gateways=of("Gateway", "Network"),
    )


def wrong(layout: Layout, net: HostNet, after: Picture) -> Iterator[TashiError]:
    """What is wrong with the addresses of a picture that a host is to have."""
    for strand in layout.strands:
        yield from _twice(layout, after, strand)
    yield from _lost(layout, net, after)
    yield from _leased(layout, net, after)


def _twice(layout: Layout, after: Picture, strand: Strand) -> Iterator[TashiError]:
    """An address that is wanted here, and that another interface keeps."""
    for wanted in (strand.address, strand.address6):
        plain, slash, _ = wanted.partition("/")
        for link in after.links if slash else ():
            if link.name != strand.holder and _at(link, plain):
                yield InvalidRequest(
                    "E-ADDRESS",
                    f"{layout.host}: {plain} is on {link.name}, not for {strand.holder} too",
                    cause=f"network {strand.network.name} gives it, and {link.name} keeps it",
                    hint=f"an untagged network takes it from {link.name}, with host_address none",
                    host=layout.host,
                )


def _lost(layout: Layout, net: HostNet, after: Picture) -> Iterator[TashiError]:
    """The address by which we come, when nothing has it any more and no network gives another."""
    before = next((link for link in net.picture.links if _at(link, net.reached)), None)
    if before is None or any(_at(link, net.reached) for link in after.links):
        return
    if any({s.address, s.address6} - {"", "none"} for s in layout.strands):
        return
    cidr = _at(before, net.reached)
    there = {before.name, *(p.name for p in net.picture.ports(before.name))}
    strand = next((s for s in layout.strands if {s.port, s.holder} & there), None)
    name = strand.network.name if strand else "NETWORK"
    cause = f"{name} has host_address none, and no other network gives one"
    hint = f"leave host_address out (it stays as it is), or host_addresses: [{name}={cidr}]"
    if strand is None:
        cause = f"{before.name} goes with its network, and no other network gives one"
        hint = f"put its network back into the inventory, or host_addresses: [{name}={cidr}]"
    yield InvalidRequest(
        "E-LOCKOUT",
        f"{layout.host} is reached by {cidr} on {before.name}, and would have no address",
        cause=cause,
        hint=hint,
        host=layout.host,
    )


def _leased(layout: Layout, net: HostNet, after: Picture) -> Iterator[TashiError]:
    """A lease that goes back to the uplink, and which only networkd itself can take there."""
    before, now = net.picture.link(layout.uplink), after.link(layout.uplink)
    if layout.style != "networkd" or before is None or now is None:
        return
    for address in now.addresses:
        if address.dynamic and not address.v6 and address not in before.addresses:
            yield InvalidRequest(
                "E-DHCP",
                f"{layout.host}: systemd-networkd has to ask for the lease of {now.name} itself",
                cause="it does so when its files say so, and they are written after the proof only",
                hint=f"keep {before.master} in the inventory; or at the console: take our files "
                "out of /etc/systemd/network, then a reboot",
                host=layout.host,
            )


def _at(link: Link, plain: str) -> str:
    """The address of an interface, with its length, or ""."""
    return next((a.cidr for a in link.addresses if a.cidr.partition("/")[0] == plain), "")
