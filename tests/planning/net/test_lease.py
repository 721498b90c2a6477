"""Leases of networkd: it is told what its new files say, and `ip` leaves its addresses to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.net import Address, HostNet, Lease, Link, Picture, Route
from tashictl.model.net_change import (
    AnyChange,
    AskNetworkd,
    MakeLink,
    SetMaster,
    TellNetworkd,
    UntellNetworkd,
)
from tashictl.model.network import Network
from tashictl.planning.net import fit, text, units
from tashictl.planning.net.propose import Proposal, Wanted, propose
from tests.planning.net.cases import TEMPLATES, applied
from tests.planning.net.kernel import Kernel, RefusedError

FOLDER = "/etc/systemd/network"
OWN = f"{FOLDER}/10-eth0.network"
CLIENT = "ff405663a200020000ab11f5bd9cfbd8d0b328"
LAN = Network(id=1, name="lan", bridge="vmbr")
RED = Network(id=2, name="red", vlan=999, bridge="vmbr.999", host_address="dhcp")
CARD = Link(name="eth0", mac="02:00:00:00:00:01", up=True)
GIVEN = {"eth0": "192.0.2.7/24", "vmbr": "192.0.2.7/24", "vmbr.999": "198.51.100.7/24"}
TAP = Link(name="tashi1.0", kind="tun", up=True, master="vmbr.999")
HOME = Link(name="vmbr.999", kind="bridge", mac=CARD.mac, up=True, forward_delay_s=0.0)
TAGGED = Link(
    name="eth0.999", kind="vlan", parent="eth0", vlan=999, mac=CARD.mac, up=True, master="vmbr.999"
)


class Networkd(Kernel):
    """A host on which networkd gives addresses as its files, and those that it is lent, say."""

    def __init__(self, net: HostNet) -> None:
        super().__init__(net.picture)
        self.had = {lease.device for lease in net.leases}
        self.lent: tuple[str, ...] = ()

    def do(self, change: AnyChange) -> None:
        match change:
            case TellNetworkd(devices=devices, leased=leased):
                self.lent = devices
                for device in devices:
                    self._drop_lease(device)
                for device in leased:
                    self._give(device)
            case UntellNetworkd():
                for device in self.lent:
                    self._drop_lease(device)
            case AskNetworkd(device=device):
                if self.lent:
                    self._give(device)
            case _:
                super().do(change)

    def _drop_lease(self, device: str) -> None:
        if device in self.links:
            kept = tuple(a for a in self.links[device].addresses if not a.dynamic)
            self._set(device, addresses=kept)
            self.routes = {r for r in self.routes if r.device != device or r.protocol != "dhcp"}

    def _give(self, device: str) -> None:
        link = self.links[device]
        if link.master is not None or not link.up:
            raise RefusedError(f"nobody answers {device}")
        self._set(device, addresses=leased(link, GIVEN[device]).addresses)
        self.routes |= {by_lease(device)} if device != "vmbr.999" else set()


def leased(link: Link, cidr: str) -> Link:
    """The interface with an address for a time."""
    rest = tuple(a for a in link.addresses if a.cidr != cidr)
    return replace(link, addresses=(*rest, Address(cidr=cidr, dynamic=True)))


def by_lease(device: str) -> Route:
    return Route(
        to="default", via="192.0.2.1", device=device, metric=1024, protocol="dhcp",
        source="192.0.2.7",
    )  # fmt: skip


def host_net(*more: Link, by_dhcp: bool = True) -> HostNet:
    """A host whose card has its address by networkd."""
    asks = "DHCP=ipv4" if by_dhcp else "Address=192.0.2.7/24\nGateway=192.0.2.1"
    card = leased(CARD, GIVEN["eth0"]) if by_dhcp else _fixed()
    route = by_lease("eth0") if by_dhcp else Route(to="default", via="192.0.2.1", device="eth0")
    own = f"[Match]\nName=eth0\n[Network]\n{asks}\n"
    return HostNet(
        picture=Picture(links=(card, *more), routes=(route,)),
        files={OWN: own},
        manager="networkd",
        leases=(Lease(device="eth0", address="192.0.2.7", client=CLIENT),) if by_dhcp else (),
    )


def _fixed() -> Link:
    return replace(CARD, addresses=(Address(cidr="192.0.2.7/24"),))


def proposed(net: HostNet, *networks: Network, **values: Any) -> Proposal:
    host = HostConfig(name="node1", address="192.0.2.7", uplink="eth0", style="networkd", **values)
    return propose(Wanted(host=host, networks=networks, templates=TEMPLATES), net)


def refused(one: Proposal) -> list[str]:
    return [error.what for error in fit.refusals(one) if error.code == "E-DHCP"]


def seen(kernel: Networkd) -> Picture:
    """What a look would show."""
    picture = kernel.picture()
    links = (replace(x, addresses=tuple(sorted(x.addresses))) for x in picture.links)
    return replace(picture, links=tuple(links), vlans=())


def after(one: Proposal) -> HostNet:
    """The host when it was done and confirmed."""
    kernel = Networkd(one.net)
    for change in one.forward:
        kernel.do(change)
    picture = seen(kernel)
    found = [
        Lease(device=x.name, address=a.cidr.partition("/")[0], client=CLIENT)
        for x in picture.links
        for a in x.addresses
        if a.dynamic
    ]
    files = applied(one.net.files, one.files)
    return replace(one.net, picture=picture, files=files, leases=tuple(found))


@st.composite
def changes(draw: st.DrawFn) -> Proposal:
    """A change of a host, with and without a lease before, and after it."""
    there = (TAGGED, HOME, TAP) if draw(st.booleans()) else ()
    net = host_net(*there, by_dhcp=draw(st.booleans()))
    lan = draw(st.sampled_from(["", "dhcp", "192.0.2.7/24", "192.0.2.8/24"]))
    red = draw(st.sampled_from(["dhcp", "none", "198.51.100.9/24"]))
    networks = (
        replace(LAN, host_address=lan or None, gateway="192.0.2.1"),
        replace(RED, host_address=red),
    )
    wanted = draw(st.sampled_from([networks, networks[:1], networks[1:]]))
    return proposed(net, *wanted)


@given(changes())
def test_the_host_has_what_its_files_say_and_nothing_differs_then(one: Proposal) -> None:
    assert refused(one) == []
    net = after(one)

    for strand in one.layout.strands:
        link = net.picture.link(strand.holder)
        assert link is not None
        said = net.files[f"{FOLDER}/05-tashi-{strand.holder}.network"]
        assert any(a.dynamic for a in link.addresses) == units.asks(said), said
    again = propose(
        Wanted(
            host=HostConfig(name="node1", address="192.0.2.7", uplink="eth0", style="networkd"),
            networks=tuple(s.network for s in one.layout.strands),
            templates=TEMPLATES,
        ),
        net,
    )
    assert (again.forward, again.files) == ((), ())


@given(changes(), st.data())
def test_the_way_back_ends_with_the_old_leases_from_wherever_it_stopped(
    one: Proposal, data: st.DataObject
) -> None:
    kernel = Networkd(one.net)
    was = seen(kernel)
    for change in one.forward[: data.draw(st.integers(0, len(one.forward)))]:
        kernel.do(change)
        assert kernel.links.get("tashi1.0", TAP).master == "vmbr.999"

    for _ in range(2):
        for change in one.reverse:
            try:
                kernel.do(change)
            except (RefusedError, KeyError):
                continue

    assert seen(kernel) == was


def test_the_bridge_is_made_and_joined_before_networkd_hears_of_it() -> None:
    one = proposed(host_net(), LAN)

    assert [type(c) for c in one.forward if isinstance(c, MakeLink | SetMaster | TellNetworkd)] == [
        MakeLink,
        SetMaster,
        TellNetworkd,
    ]
    assert one.forward[-1] == TellNetworkd(
        paths=(
            f"{FOLDER}/05-tashi-eth0.network",
            f"{FOLDER}/05-tashi-vmbr.netdev",
            f"{FOLDER}/05-tashi-vmbr.network",
        ),
        devices=("eth0", "vmbr"),
        leased=("vmbr",),
    )
    assert (one.reverse[0], one.reverse[-1]) == (UntellNetworkd(), AskNetworkd(device="eth0"))


def test_what_networkd_is_told_is_one_line_of_sh_and_one_for_people() -> None:
    told = TellNetworkd(paths=("/etc/a b",), devices=("eth0", "vmbr"), leased=("vmbr",))

    assert [(text.command(c), text.words(c)) for c in (told, AskNetworkd(device="eth0"))] == [
        (
            "networkd_told '/etc/a b' && networkd_leased vmbr 30 && networkd_rests eth0 "
            "&& networkd_rests vmbr",
            "~ networkd sets up eth0, vmbr, asks for the lease of vmbr",
        ),
        ("networkd_asked eth0 15", "~ networkd asks for the lease of eth0 again"),
    ]


def test_of_a_vlan_only_the_bridge_is_told() -> None:
    one = proposed(host_net(), RED)

    (told,) = [c for c in one.forward if isinstance(c, TellNetworkd)]
    assert (told.devices, told.leased) == (("vmbr.999",), ("vmbr.999",))
    assert not [c for c in one.reverse if isinstance(c, AskNetworkd)]


def test_the_bridge_asks_as_the_client_that_the_card_was() -> None:
    one = proposed(host_net(), LAN)
    said = next(f.text for f in one.files if f.path.endswith("-vmbr.network"))

    assert said is not None
    assert said.endswith("[DHCPv4]\nIAID=1079403426\n")
    by_mac = replace(host_net(), leases=(Lease(device="eth0", address="192.0.2.7", client="0102"),))
    said = next(f.text for f in proposed(by_mac, LAN).files if f.path.endswith("-vmbr.network"))
    assert said is not None
    assert said.endswith("[DHCPv4]\nClientIdentifier=mac\n")


def test_a_host_without_leases_of_networkd_is_changed_by_ip_alone() -> None:
    one = proposed(host_net(by_dhcp=False), LAN)

    assert not [c for c in (*one.forward, *one.reverse) if isinstance(c, TellNetworkd)]
    assert UntellNetworkd() not in one.reverse


def test_what_networkd_has_not_read_yet_has_no_way_back_and_is_refused() -> None:
    ready = proposed(host_net(), LAN)
    there = replace(ready.net, files=applied(ready.net.files, ready.files))

    (what, *_) = refused(proposed(there, LAN))

    assert "would not give up the lease of eth0" in what


def test_a_lease_by_a_file_that_is_not_seen_is_refused_with_how_to_ask_for_one() -> None:
    unseen = replace(host_net(), files={})

    errors = [e for e in fit.refusals(proposed(unseen, LAN)) if e.code == "E-DHCP"]
    assert [e.hint for e in errors] == ["host_address: dhcp for that network"]
    assert refused(proposed(unseen, replace(LAN, host_address="dhcp"))) == []


def test_a_card_with_a_lease_in_a_bridge_of_tags_only_is_refused() -> None:
    aware = replace(RED, bridge="vmbr", vlan_aware=True)

    assert refused(proposed(host_net(), aware)) == ["node1: eth0 would lose its lease"]
    home = replace(LAN, vlan_aware=True)
    assert refused(proposed(host_net(), home, aware)) == []


def test_a_lease_by_which_we_come_is_not_given_up_for_nothing() -> None:
    reached = replace(host_net(), reached="192.0.2.7")

    with pytest.raises(TashiError, match="E-LOCKOUT"):
        proposed(reached, replace(LAN, host_address="none"))
