"""The style ifupdown: our file, and what it takes out of the operator's."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import InvalidRequest
from tashictl.model.network import Network
from tashictl.planning.net import stanzas as language
from tashictl.planning.net.carry import TASHI
from tashictl.planning.net.files import files, owned
from tashictl.planning.net.stanzas import INTERFACES
from tests.planning.net.cases import (
    CLUSTER,
    LAB,
    LAN,
    SAME,
    TEMPLATES,
    applied,
    layout,
    stanzas,
)
from tests.planning.net.test_stanzas import OPERATORS

GOLDEN = Path(__file__).parents[1] / "golden" / "net"
OWN = """\
# of the operator
source /etc/network/interfaces.d/*

auto lo eth0
iface lo inet loopback

allow-hotplug eth1
iface eth1 inet dhcp

# the uplink
iface eth0 inet static
\taddress 192.0.2.7/24
\tgateway 192.0.2.1
\tdns-nameservers 192.0.2.53
\tethernet-wol g
\tup ip route add 198.51.100.0/24 via 192.0.2.9 dev eth0
\tup ethtool -K eth0 tso off
iface eth0 inet6 auto
"""
STATIC = Network(
    id=999,
    name="cluster",
    vlan=999,
    bridge="vmbr.999",
    host_address="172.16.0.9/16",
    host_address6="2001:db8::9/64",
    gateway="172.16.0.1",
    gateway6="2001:db8::1",
    dns=("172.16.0.5",),
    domain="lab.example",
    mtu=9000,
    stp=True,
    forward_delay=4,
)
AWARE = (
    Network(id=1, name="lan", bridge="br0", vlan_aware=True, host_address="dhcp"),
    Network(id=9, name="nine", bridge="br0", vlan=9, vlan_aware=True, host_address="192.0.2.9/24"),
    Network(id=10, name="ten", bridge="br0", vlan=10, vlan_aware=True, host_address="none"),
)
OVERLAY = Network(
    id=5,
    name="five",
    mode="vxlan",
    vxlan=5,
    bridge="vmbr.5",
    remotes=("192.0.2.1", "192.0.2.2"),
    host_address="none",
)
CASES = {
    "two-vlans": (CLUSTER, LAB),
    "lan": (LAN,),
    "static": (LAN, STATIC),
    "aware": AWARE,
    "vxlan": (LAN, OVERLAY),
}


def _after(there: dict[str, str] | None, *networks: Network) -> dict[str, str]:
    return applied(there or {}, files(layout(*networks), TEMPLATES, there))


def _stanza(text: str, name: str) -> list[str]:
    found = [s for s in stanzas(text) if s[0] == f"auto {name}"]
    return found[0]


@pytest.mark.parametrize("case", CASES)
def test_a_fresh_host_gets_this(case: str) -> None:
    found = {f.path: f for f in files(layout(*CASES[case]), TEMPLATES, None)}

    assert found[TASHI].text == (GOLDEN / f"{case}.interfaces").read_text()
    assert found[INTERFACES].text == (
        "auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n"
    )
    assert {f.mode for p, f in found.items() if "qemu" in p} == {0o755}


def test_what_the_uplink_had_goes_along_to_the_bridge_that_takes_it() -> None:
    after = _after({INTERFACES: OWN}, SAME)

    assert after[INTERFACES] == OWN.replace("auto lo eth0", "auto lo").partition("iface eth0")[0]
    assert _stanza(after[TASHI], "eth0") == [
        "auto eth0",
        "iface eth0 inet manual",
        "ethernet-wol g",
        "up ethtool -K eth0 tso off",
    ]
    bridge = _stanza(after[TASHI], "vmbr")
    assert bridge[1] == "iface vmbr inet static"
    assert bridge[-5:] == [
        "address 192.0.2.7/24",
        "gateway 192.0.2.1",
        "dns-nameservers 192.0.2.53",
        "up ip route add 198.51.100.0/24 via 192.0.2.9 dev vmbr",
        "iface vmbr inet6 auto",
    ]


def test_an_uplink_that_stays_outside_is_the_operators_own() -> None:
    after = _after({INTERFACES: OWN}, CLUSTER, LAB)

    assert after[INTERFACES] == OWN
    assert "eth0" not in owned(after)
    assert owned(after) == {"eth0.999", "eth0.1001", "vmbr.999", "vmbr.1001"}


def test_a_network_that_goes_gives_back_what_it_took_over() -> None:
    taken = _after({INTERFACES: OWN}, SAME, STATIC)
    back = _after(taken, STATIC)

    uplink = _stanza(back[TASHI], "eth0")
    assert uplink[1] == "iface eth0 inet static"
    assert {"address 192.0.2.7/24", "gateway 192.0.2.1", "iface eth0 inet6 auto"} <= set(uplink)
    assert "up ip route add 198.51.100.0/24 via 192.0.2.9 dev eth0" in uplink
    none = _after(back)
    assert {s.name for s in language.stanzas(none[TASHI])} == {"eth0"}
    assert "mtu" not in none[TASHI]


def test_networks_that_took_nothing_over_leave_nothing_behind() -> None:
    own = OWN.replace("source /etc/network/interfaces.d/*\n", "")
    there = {INTERFACES: own, "/etc/network/interfaces.d/asleep": "iface eth7 inet dhcp\n"}
    after = _after(there, CLUSTER, LAB)

    assert language.sourced(after) == (INTERFACES, TASHI)  # and not the file that was asleep
    assert _after(after) == there


def test_addresses_that_a_bridge_has_already_stay_there() -> None:
    own = (
        "auto vmbr\niface vmbr inet static\n  address 192.0.2.7/24\n  bridge_ports eth0\n"
        "\niface eth0 inet manual\n"
    )
    after = _after({INTERFACES: own}, SAME)

    assert "address 192.0.2.7/24" in _stanza(after[TASHI], "vmbr")
    assert "vmbr" not in after[INTERFACES].replace(TASHI, "")


def test_a_bridge_of_another_name_keeps_the_addresses() -> None:
    first = _after({INTERFACES: OWN}, SAME)
    second = _after(first, replace(SAME, bridge="br0"))

    assert "address 192.0.2.7/24" in _stanza(second[TASHI], "br0")
    assert "vmbr" not in owned(second)


def test_a_host_has_one_default_route() -> None:
    moved = _after({INTERFACES: OWN}, SAME)[TASHI]
    alone = _after(None, STATIC)[TASHI]
    two = _after(None, STATIC, replace(LAB, host_address="172.17.0.9/16", gateway="172.17.0.1"))
    by_dhcp = _after(None, LAN, STATIC)[TASHI]

    assert moved.count("gateway") == 1
    assert [s for s in alone.split("\n") if "gateway" in s] == [
        "    gateway 172.16.0.1",
        "    gateway 2001:db8::1",
    ]
    assert "gateway 172.17" not in two[TASHI]
    assert "gateway 172" not in by_dhcp


def test_an_address_of_the_inventory_replaces_what_was_there_but_for_commands() -> None:
    lan = replace(SAME, host_address="192.0.2.8/24", gateway="192.0.2.1", host_address6="none")
    bridge = _stanza(_after({INTERFACES: OWN}, lan)[TASHI], "vmbr")

    assert [line for line in bridge if line.startswith("address")] == ["address 192.0.2.8/24"]
    assert "up ip route add 198.51.100.0/24 via 192.0.2.9 dev vmbr" in bridge
    assert bridge[-2:] == [
        "iface vmbr inet6 manual",
        "up sysctl -q -e -w net/ipv6/conf/vmbr/accept_ra=0",
    ]


def test_what_is_inherited_is_written_out_where_it_is_taken_over() -> None:
    own = "iface office inet static\n  gateway 192.0.2.1\n  hwaddress 02:00:00:00:00:07\n"
    own += "auto eth0\niface eth0 inherits office\n  address 192.0.2.7/24\n"
    after = _after({INTERFACES: own}, SAME)

    assert _stanza(after[TASHI], "vmbr")[-2:] == ["gateway 192.0.2.1", "address 192.0.2.7/24"]
    assert "hwaddress 02:00:00:00:00:07" in _stanza(after[TASHI], "eth0")
    assert "iface office inet static" in after[INTERFACES]


def test_sourced_files_lose_only_what_is_ours_now() -> None:
    there = {
        INTERFACES: "source interfaces.d/*\n",
        "/etc/network/interfaces.d/eth0": "auto eth0\niface eth0 inet dhcp\n",
        "/etc/network/interfaces.d/eth1": "auto eth1\niface eth1 inet dhcp\n",
    }
    found = {f.path: f.text for f in files(layout(SAME), TEMPLATES, there)}

    assert found["/etc/network/interfaces.d/eth0"] == ""
    assert "/etc/network/interfaces.d/eth1" not in found
    assert "iface vmbr inet dhcp" in (found[TASHI] or "")


@pytest.mark.parametrize(
    ("own", "what", "hint"),
    [
        ("auto br0\niface br0 inet dhcp\n  bridge_ports eth0\n", "bridge br0", "bridge: br0"),
        ("iface eth0 inet dhcp\niface eth1 inet dhcp inherits eth0\n", "eth1 inherits", "eth1"),
    ],
)
def test_what_cannot_stand_beside_ours_is_refused(own: str, what: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _after({INTERFACES: own}, LAN)

    assert (caught.value.code, caught.value.host) == ("E-HOST-FILES", "node1")
    assert what in caught.value.what
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("iface vlan0999 inet manual\n  vlan-raw-device eth0\n", True),
        ("iface storage inet manual\n  vlan-raw-device eth0\n  vlan-id 999\n", True),
        ("iface eth0.0999 inet manual\n", True),
        ("iface vlan999 inet manual\n  vlan-raw-device eth1\n", False),
        ("iface eth0.998 inet manual\n", False),
        ("iface eth0.999 inet manual\n", False),
    ],
)
def test_a_vlan_that_is_there_under_another_name_is_refused(own: str, refused: bool) -> None:
    there = {INTERFACES: own}
    if not refused:
        _after(there, CLUSTER)
        return
    with pytest.raises(InvalidRequest) as caught:
        _after(there, CLUSTER)

    assert "is VLAN 999 of eth0 already" in caught.value.what


def test_a_file_of_the_operator_in_the_place_of_ours_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _after({TASHI: "iface eth5 inet dhcp\n"}, LAN)

    assert TASHI in caught.value.what


def test_scripts_of_networks_that_are_gone_go_and_an_operators_own_stay() -> None:
    there = _after(None, CLUSTER, LAB)
    there["/etc/qemu-ifup.999"] = "#!/bin/sh\n# my own\n"
    found = {f.path: f.text for f in files(layout(CLUSTER), TEMPLATES, there)}

    assert found["/etc/qemu-ifup.1001"] is None
    assert "/etc/qemu-ifup.999" not in found


NETWORKS = st.lists(
    st.sampled_from(
        [SAME, LAN, CLUSTER, LAB, STATIC, OVERLAY, replace(OVERLAY, host_address=None)]
    ),
    unique_by=lambda n: n.id,
)
UPLINKS = st.sampled_from(
    [
        "auto eth0\niface eth0 inet dhcp\n",
        "iface eth0 inet static\n  address 192.0.2.7/24\n  up ethtool -K eth0 tso off\n  mtu 9000\n"
        "  post-up ip route add 198.51.100.0/24 dev eth0\n",
        "auto vmbr\niface vmbr inet dhcp\n  bridge_ports eth0\n",
        "iface eth0.999 inet static\n  address 172.16.0.3/16\n  up ip rule add iif eth0.999\n",
        "",
    ]
)


@given(OPERATORS, UPLINKS, NETWORKS, st.sampled_from(["ifupdown", "legacy"]))
def test_what_was_written_is_written_again(
    own: str, uplink: str, networks: list[Network], style: str
) -> None:
    wanted = [n for n in networks if style != "legacy" or n.vxlan is None]
    there = {INTERFACES: f"{own}\n{uplink}"}
    plan = layout(*wanted, style=style)

    once = applied(there, files(plan, TEMPLATES, there))
    again = files(plan, TEMPLATES, once)

    assert applied(once, again) == once
    names = {s.name for s in language.stanzas(there[INTERFACES])}
    left = {s.name for path in language.sourced(once) for s in language.stanzas(once[path])}
    assert names <= left | {s.port for s in plan.strands} | {s.bridge for s in plan.strands}


@given(OPERATORS, st.sampled_from([[CLUSTER], [LAB, OVERLAY], [STATIC, LAB]]))
def test_the_operators_file_comes_back_when_networks_go(own: str, networks: list[Network]) -> None:
    there = {INTERFACES: own + "\n" + "auto eth0\niface eth0 inet dhcp\n"}

    assert _after(_after(there, *networks)) == there
