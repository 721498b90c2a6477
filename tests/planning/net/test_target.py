"""The picture that a host is to have: what is made, moved, kept, removed; and what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.net import Address, DhcpClient, HostNet, Link, Picture, PortVlan, Route
from tashictl.model.network import Network
from tashictl.planning.net.layout import layout
from tashictl.planning.net.propose import fitted
from tashictl.planning.net.target import target

HOST = HostConfig(name="node1", address="10.0.0.5", uplink="eth0")
OWN = Address(cidr="10.0.0.5/24")
CARD = Link(name="eth0", mac="52:54:00:00:00:01", up=True, addresses=(OWN,))
DEFAULT = Route(to="default", via="10.0.0.1", device="eth0")
LAN = Network(id=1, name="lan", bridge="vmbr")
CLUSTER = Network(id=999, name="cluster", vlan=999, bridge="vmbr.999", host_address="none")


def net(*links: Link, reached: str = "10.0.0.5", **more: object) -> HostNet:
    picture = Picture(links=links or (CARD,), routes=(DEFAULT,), **more)  # type: ignore[arg-type]
    return HostNet(picture=picture, reached=reached)


def become(
    *networks: Network,
    there: HostNet | None = None,
    host: HostConfig = HOST,
    owned: frozenset[str] = frozenset(),
    taps: dict[str, int] | None = None,
) -> Picture:
    return target(layout(host, networks), there or net(), owned, taps or {})


def test_a_vlan_gets_its_interface_and_bridge_and_the_card_keeps_its_address() -> None:
    found = become(CLUSTER)

    vlan, bridge = found.link("eth0.999"), found.link("vmbr.999")
    assert vlan is not None and (vlan.kind, vlan.parent, vlan.vlan) == ("vlan", "eth0", 999)
    assert vlan.master == "vmbr.999" and vlan.up
    assert bridge is not None and (bridge.kind, bridge.up) == ("bridge", True)
    assert (bridge.stp, bridge.forward_delay_s) == (False, 0.0)
    assert bridge.mac == CARD.mac  # or it would change with every TAP
    assert found.link("eth0") == CARD
    assert found.routes == (DEFAULT,)


def test_an_untagged_network_takes_address_route_and_dhcp_client_of_the_card() -> None:
    client = DhcpClient(device="eth0", argv=("dhclient", "-pf", "/run/dhclient.eth0.pid", "eth0"))
    found = become(LAN, there=net(clients=(client,)))

    card, bridge = found.link("eth0"), found.link("vmbr")
    assert card is not None and card.addresses == () and card.master == "vmbr"
    assert bridge is not None and bridge.addresses == (OWN,)
    assert found.routes == (replace(DEFAULT, device="vmbr"),)
    (moved,) = found.clients
    assert moved.device == "vmbr"
    assert moved.argv == ("dhclient", "-pf", "/run/dhclient.vmbr.pid", "vmbr")


def test_a_fixed_address_takes_the_place_of_all_others_and_of_the_client() -> None:
    lan = replace(LAN, host_address="10.0.0.99/24", gateway="10.0.0.2")
    found = become(lan, there=net(clients=(DhcpClient(device="eth0", argv=("dhclient",)),)))

    bridge = found.link("vmbr")
    assert bridge is not None and [a.cidr for a in bridge.addresses] == ["10.0.0.99/24"]
    assert [(r.via, r.device) for r in found.routes] == [("10.0.0.2", "vmbr")]
    assert found.clients == ()


def test_a_route_whose_gateway_is_next_to_nothing_any_more_goes() -> None:
    found = become(replace(LAN, host_address="10.9.0.99/24"))

    assert found.routes == ()


def test_dhcp_keeps_what_a_lease_gave_and_drops_what_was_fixed() -> None:
    leased = Address(cidr="10.0.0.7/24", dynamic=True)
    card = replace(CARD, addresses=(OWN, leased))
    found = become(replace(LAN, host_address="dhcp"), there=net(card))

    bridge = found.link("vmbr")
    assert bridge is not None and bridge.addresses == (leased,)
    assert [(c.device, c.argv) for c in found.clients] == [("vmbr", ())]


def test_an_address_of_the_host_goes_over_that_of_the_network() -> None:
    host = replace(HOST, host_addresses=("cluster=172.16.0.5/16",))
    found = become(CLUSTER, host=host)

    bridge = found.link("vmbr.999")
    assert bridge is not None and [a.cidr for a in bridge.addresses] == ["172.16.0.5/16"]


def test_jumbo_frames_fit_through_the_card_the_vlan_and_the_bridge() -> None:
    found = become(replace(CLUSTER, mtu=9000), LAN)

    sizes = {name: found.link(name) for name in ("eth0", "eth0.999", "vmbr.999", "vmbr")}
    assert [link.mtu for link in sizes.values() if link] == [9000, 9000, 9000, 1500]


def test_what_we_made_and_nothing_wants_goes_and_what_others_made_stays() -> None:
    old = (
        Link(name="eth0.7", kind="vlan", parent="eth0", vlan=7, master="vmbr.7", up=True),
        Link(name="vmbr.7", kind="bridge", up=True),
        Link(name="br-own", kind="bridge", up=True),
    )
    found = become(CLUSTER, there=net(CARD, *old), owned=frozenset({"eth0", "eth0.7", "vmbr.7"}))

    names = {link.name for link in found.links}
    assert {"br-own", "eth0"} <= names
    assert not {"eth0.7", "vmbr.7"} & names


@pytest.mark.parametrize(
    "more",
    [
        Link(name="tashi4.0", kind="tun", master="vmbr.7", up=True),
        Link(name="x", kind="dummy", master="vmbr.7"),
    ],
)
def test_a_bridge_on_which_guests_hang_is_never_taken_away(more: Link) -> None:
    bridge = Link(name="vmbr.7", kind="bridge", up=True)

    with pytest.raises(TashiError, match="E-IN-USE") as caught:
        become(CLUSTER, there=net(CARD, bridge, more), owned=frozenset({"vmbr.7"}))
    assert more.name in caught.value.cause


def test_taps_go_to_the_bridge_of_their_network() -> None:
    there = net(
        CARD,
        Link(name="old", kind="bridge", up=True),
        Link(name="tashi4.0", kind="tun", master="old", up=True),
        Link(name="tap9", kind="tun", master="old", up=True),
    )
    found = become(CLUSTER, there=there, taps={"tashi4.0": 999, "tashi5.0": 999})

    moved, other = found.link("tashi4.0"), found.link("tap9")
    assert moved is not None and moved.master == "vmbr.999"
    assert other is not None and other.master == "old"


def test_networks_that_share_a_bridge_are_told_apart_by_their_tags() -> None:
    aware = replace(CLUSTER, bridge="vmbr", vlan_aware=True, host_address="172.16.0.5/16")
    lab = Network(id=7, name="lab", vlan=7, bridge="vmbr", vlan_aware=True)
    tap = Link(name="tashi4.0", kind="tun", master="vmbr", up=True)
    found = become(aware, lab, there=net(CARD, tap), taps={"tashi4.0": 7})

    bridge, holder = found.link("vmbr"), found.link("vmbr.999")
    assert bridge is not None and bridge.aware
    assert holder is not None and (holder.parent, holder.vlan) == ("vmbr", 999)
    assert [a.cidr for a in holder.addresses] == ["172.16.0.5/16"]
    assert PortVlan(device="eth0", vlan=7) in found.vlans
    assert PortVlan(device="vmbr", vlan=999) in found.vlans
    of_tap = [v for v in found.vlans if v.device == "tashi4.0"]
    assert of_tap == [PortVlan(device="tashi4.0", vlan=7, pvid=True, untagged=True)]


AWARE = replace(CLUSTER, bridge="vmbr", vlan_aware=True, host_address="172.16.0.5/16")


def test_what_the_uplink_has_without_a_tag_goes_to_the_vlan_aware_bridge_itself() -> None:
    found = become(AWARE)

    assert {link.name: [a.cidr for a in link.addresses] for link in found.links} == {
        "eth0": [],
        "vmbr": ["10.0.0.5/24"],
        "vmbr.999": ["172.16.0.5/16"],
    }
    assert found.routes == (replace(DEFAULT, device="vmbr"),)
    for device in ("eth0", "vmbr"):
        untagged = PortVlan(device=device, vlan=1, pvid=True, untagged=True)
        assert untagged in found.vlans


def test_the_default_route_of_what_has_no_tag_is_kept_beside_a_vlan_aware_one() -> None:
    there = net()
    wanted = fitted(layout(HOST, [replace(AWARE, gateway="172.16.0.1")]), there)

    assert target(wanted, there, frozenset(), {}).routes == (replace(DEFAULT, device="vmbr"),)


def test_the_uplink_is_promiscuous_while_it_is_in_a_vlan_aware_bridge() -> None:
    aware = become(AWARE)
    card = aware.link("eth0")
    assert card is not None and card.promisc

    there = replace(net(), picture=aware)
    names = frozenset({"eth0", "vmbr"})
    plain = replace(AWARE, vlan=None, vlan_aware=False, host_address=None)
    card = become(plain, there=there, owned=names).link("eth0")
    assert card is not None and not card.promisc
    card = become(AWARE, there=there, owned=names).link("eth0")
    assert card is not None and card.promisc


def test_a_vlan_of_the_card_hides_its_frames_from_a_vlan_aware_bridge() -> None:
    own = Link(name="eth0.999", kind="vlan", parent="eth0", vlan=999, up=True)

    with pytest.raises(TashiError, match="E-VLAN") as caught:
        become(AWARE, there=net(CARD, own))
    assert "hears nothing" in caught.value.cause

    found = become(AWARE, there=net(CARD, own), owned=frozenset({"eth0.999"}))
    assert found.link("eth0.999") is None  # ours goes


def test_a_change_that_would_surely_lock_us_out_is_refused() -> None:
    with pytest.raises(TashiError, match="E-LOCKOUT") as caught:
        become(replace(LAN, host_address="none"))
    assert "10.0.0.5/24" in caught.value.what and "host_address" in caught.value.hint

    # Reached by another interface, or by another network, nothing is wrong with it.
    become(replace(LAN, host_address="none"), there=net(reached="10.7.0.5"))
    become(replace(LAN, host_address="none"), replace(CLUSTER, host_address="dhcp"))


def test_an_uplink_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(TashiError, match="E-UPLINK") as caught:
        become(CLUSTER, there=net(replace(CARD, name="enp1s0")))
    assert "enp1s0" in caught.value.cause


def test_a_name_that_something_else_has_is_no_bridge() -> None:
    with pytest.raises(TashiError, match="E-BRIDGE"):
        become(CLUSTER, there=net(CARD, Link(name="vmbr.999", kind="dummy")))


def test_a_bridge_whose_guests_all_move_is_not_in_use() -> None:
    there = net(
        CARD,
        Link(name="old", kind="bridge", up=True),
        Link(name="tashi1.0", kind="tun", up=True, master="old"),
    )
    owned = frozenset({"old"})

    found = become(CLUSTER, there=there, owned=owned, taps={"tashi1.0": 999})

    moved = found.link("tashi1.0")
    assert moved is not None and moved.master == "vmbr.999"
    assert found.link("old") is None
    with pytest.raises(TashiError, match="E-IN-USE"):
        become(CLUSTER, there=there, owned=owned, taps={"tashi1.0": 7})


def test_a_vlan_that_the_card_has_under_another_name_is_told() -> None:
    own = Link(name="vlan999", kind="vlan", parent="eth0", vlan=999, up=True)

    with pytest.raises(TashiError, match="E-VLAN") as caught:
        become(CLUSTER, there=net(CARD, own))

    assert "as vlan999" in str(caught.value)
    become(CLUSTER, there=net(CARD, replace(own, vlan=998)))
    become(CLUSTER, there=net(CARD, replace(own, parent="eth1")))


def test_an_address_that_another_interface_keeps_is_not_given_twice() -> None:
    host = replace(HOST, host_addresses=("cluster=10.0.0.5/24",))

    with pytest.raises(TashiError, match="E-ADDRESS") as caught:
        become(CLUSTER, host=host)
    assert "eth0" in caught.value.what and "vmbr.999" in caught.value.what

    # Where the untagged network gives it up, it moves to the VLAN.
    found = become(replace(LAN, host_address="none"), CLUSTER, host=host)
    card, bridge = found.link("eth0"), found.link("vmbr.999")
    assert card is not None and card.addresses == ()
    assert bridge is not None and [a.cidr for a in bridge.addresses] == ["10.0.0.5/24"]
