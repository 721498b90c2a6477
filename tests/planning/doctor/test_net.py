"""Bridges, uplinks and MTU of a host: what is said of each fault, and what to type."""

from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.network import Network
from tashictl.planning.doctor.findings import Finding, Severity
from tests.planning.doctor import cases
from tests.planning.doctor.cases import LAN, TAGGED, lan, link

JUMBO = replace(LAN, mtu=9000)
DOWN = {"flags": ["BROADCAST"]}


def look(*entries: dict[str, Any], at: Any = None) -> dict[str, Finding]:
    seen = cases.read(links=cases.links(*entries))
    return cases.found(seen, at or cases.subject())


def of_net(found: dict[str, Finding]) -> list[str]:
    """The ids of what is wrong with networks, but for files and the module."""
    return sorted(
        {
            f.id
            for f in found.values()
            if f.id.startswith("net.")
            and f.id not in ("net.ifup", "net.vlan-module")
            and f.severity is not Severity.OK
        }
    )


def test_a_bridge_with_its_uplink_is_well() -> None:
    found = look(*lan())

    assert of_net(found) == []
    assert found["net.bridge-uplink"].evidence == "trunk0 in vmbr"


def test_a_host_whose_networks_need_no_bridge_is_asked_for_none() -> None:
    user = Network(id=2, name="nat", mode="user")

    assert not [i for i in look(at=cases.subject(user)) if i.startswith("net.")]


def test_an_absent_bridge_is_told_with_how_to_make_it() -> None:
    found = look(link("trunk0"))

    bridge = found["net.bridge"]
    assert (bridge.severity, bridge.subject) == (Severity.ERROR, "vmbr")
    assert bridge.evidence == "absent, for lan"
    assert bridge.remedy.startswith("ip link add name vmbr type bridge && ")
    assert "ip link set dev trunk0 master vmbr" in bridge.remedy
    assert "net.bridge-uplink" not in found  # it would only repeat it


def test_the_uplink_of_a_vlan_is_made_with_its_bridge() -> None:
    found = look(link("trunk0"), at=cases.subject(TAGGED))

    assert (
        "ip link add link trunk0 name trunk0.999 type vlan id 999 "
        "&& ip link set dev trunk0.999 up master vmbr.999" in found["net.bridge"].remedy
    )


def test_an_interface_that_is_no_bridge_is_told_as_that() -> None:
    found = look(link("vmbr", kind="dummy"), link("trunk0"))

    assert "of kind dummy, no bridge" in found["net.bridge"].evidence


def test_a_bridge_that_is_down_is_told() -> None:
    found = look(link("vmbr", kind="bridge", **DOWN), lan()[1])

    assert of_net(found) == ["net.bridge-up"]
    assert found["net.bridge-up"].remedy == "ip link set dev vmbr up"


@pytest.mark.parametrize(
    ("port", "evidence", "remedy"),
    [
        ({"master": ""}, "trunk0 is no port of vmbr", "ip link set dev trunk0 up master vmbr"),
        ({"master": "br7"}, "trunk0 is a port of br7, not of vmbr", "master vmbr, if br7 does not"),
        (DOWN, "trunk0, the uplink of vmbr, is down", "ip link set dev trunk0 up"),
        ({"flags": ["UP"]}, "trunk0, the uplink of vmbr, has no carrier", "the switch"),
        ({"ifname": "eth7"}, "trunk0, the uplink, is no interface of this host", "eth7"),
    ],
)
def test_each_way_to_be_without_uplink_is_told(
    port: dict[str, Any], evidence: str, remedy: str
) -> None:
    found = look(*lan(**port))

    assert of_net(found) == ["net.bridge-uplink"]
    uplink = found["net.bridge-uplink"]
    assert (uplink.severity, uplink.evidence, uplink.subject) == (Severity.ERROR, evidence, "lan")
    assert remedy in uplink.remedy


def tagged(*entries: dict[str, Any]) -> dict[str, Finding]:
    return look(link("vmbr.999", kind="bridge"), link("trunk0"), *entries, at=cases.subject(TAGGED))


def test_a_vlan_hangs_on_its_bridge_whatever_its_name() -> None:
    for name in ("trunk0.999", "vlan999"):
        found = tagged(link(name, vlan=999, link="trunk0", master="vmbr.999"))
        assert of_net(found) == []


@pytest.mark.parametrize(
    ("port", "evidence"),
    [
        (None, "trunk0.999 is absent, so vmbr.999 has no uplink"),
        ({"vlan": 998, "link": "trunk0"}, "carries VLAN 998 of trunk0, not VLAN 999 of trunk0"),
        ({"vlan": 999, "link": "eth9"}, "carries VLAN 999 of eth9, not VLAN 999 of trunk0"),
        ({"kind": "dummy"}, "carries no VLAN, not VLAN 999 of trunk0"),
    ],
)
def test_a_vlan_that_is_absent_or_another_is_told(
    port: dict[str, Any] | None, evidence: str
) -> None:
    found = tagged(*([] if port is None else [link("trunk0.999", **port, master="vmbr.999")]))

    assert of_net(found) == ["net.bridge-uplink"]
    assert evidence in found["net.bridge-uplink"].evidence
    assert "type vlan id 999" in found["net.bridge-uplink"].remedy


def test_a_nic_that_is_down_below_its_vlan_is_told() -> None:
    found = look(
        link("vmbr.999", kind="bridge"),
        link("trunk0", **DOWN),
        link("trunk0.999", vlan=999, link="trunk0", master="vmbr.999"),
        at=cases.subject(TAGGED),
    )
    assert found["net.bridge-uplink"].evidence == "trunk0, the uplink of vmbr.999, is down"


def test_a_bridge_that_knows_vlans_has_the_trunk_itself_as_its_port() -> None:
    aware = replace(TAGGED, bridge="vmbr")
    found = look(link("vmbr", vlan_aware=True), lan()[1], at=cases.subject(LAN, aware))

    assert of_net(found) == []


def test_without_an_uplink_in_the_inventory_a_bridge_of_its_own_is_only_a_note() -> None:
    at = cases.subject(uplink=None)

    alone = look(link("vmbr", kind="bridge"), link("tashi1.0", kind="tun", master="vmbr"), at=at)
    assert alone["net.bridge-uplink"].severity is Severity.NOTE
    assert of_net(look(*lan(), at=at)) == []


def test_a_network_over_vxlan_needs_no_uplink_in_its_bridge() -> None:
    tunnel = replace(LAN, mode="vxlan", vxlan=7)
    found = look(link("vmbr", kind="bridge"), link("trunk0"), at=cases.subject(tunnel))

    assert of_net(found) == []


# -- MTU


def mtu(*entries: dict[str, Any], at: Any = None) -> Finding:
    return look(*entries, at=at)["net.mtu"]


def test_jumbo_frames_need_every_interface_on_the_way_from_the_nic_upwards() -> None:
    network = replace(TAGGED, mtu=9000)
    found = look(
        link("vmbr.999", kind="bridge"),
        link("trunk0"),
        link("trunk0.999", vlan=999, link="trunk0", master="vmbr.999"),
        at=cases.subject(network),
    )["net.mtu"]

    assert found.severity is Severity.WARNING
    assert "the inventory says 9000, but vmbr.999 1500, trunk0.999 1500, trunk0 1500" in (
        found.evidence
    )
    assert found.remedy.startswith("ip link set dev trunk0 mtu 9000 && ip link set dev trunk0.999")


def test_a_tap_that_is_larger_than_the_way_out_is_told() -> None:
    found = mtu(
        link("vmbr", kind="bridge", mtu=1400),
        link("trunk0", mtu=1400, master="vmbr"),
        link("tashi1.0", kind="tun", master="vmbr"),
    )
    assert "the largest is 1500, but vmbr 1400, trunk0 1400" in found.evidence


def test_a_small_tap_is_told_where_the_network_is_jumbo() -> None:
    found = mtu(
        link("vmbr", kind="bridge", mtu=9000),
        link("trunk0", mtu=9000, master="vmbr"),
        *(link(f"tashi{n}.0", kind="tun", master="vmbr") for n in range(6)),
        at=cases.subject(JUMBO),
    )
    assert "tashi3.0 1500 and 2 more" in found.evidence


def test_an_uplink_that_takes_more_than_is_sent_is_well() -> None:
    found = mtu(link("vmbr", kind="bridge"), link("trunk0", mtu=9000, master="vmbr"))

    assert found.severity is Severity.OK


# -- names


@pytest.mark.parametrize(
    ("bridge", "owner"),
    [("virbr0", "libvirt"), ("docker0", "docker"), ("br-0123456789ab", "docker"), ("br-lan", "")],
)
def test_a_bridge_of_somebody_elses_is_told(bridge: str, owner: str) -> None:
    network = replace(LAN, bridge=bridge)
    found = look(
        link(bridge, kind="bridge"), link("trunk0", master=bridge), at=cases.subject(network)
    )["net.clash"]

    assert found.severity is (Severity.WARNING if owner else Severity.OK)
    assert owner in found.evidence


def test_where_ip_speaks_no_json_that_is_told_and_nothing_else_guessed() -> None:
    found = cases.found(cases.read(links="?"), cases.subject())

    assert found["net.links"].severity is Severity.WARNING
    assert "net.bridge" not in found
