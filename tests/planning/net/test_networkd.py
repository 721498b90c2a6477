"""The style networkd: our files go first by name, the operator's stay."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.errors import InvalidRequest
from tashictl.model.network import Network
from tashictl.planning.net import units
from tashictl.planning.net.files import files, owned
from tests.planning.net.cases import CLUSTER, LAB, LAN, SAME, TEMPLATES, applied, layout
from tests.planning.net.test_ifupdown import AWARE, CASES, OVERLAY, STATIC

GOLDEN = Path(__file__).parents[1] / "golden" / "net"
FOLDER = "/etc/systemd/network"
WIRED = f"{FOLDER}/20-wired.network"
OWN = """\
# of the operator
[Match]
Name=eth0

[Link]
Multicast=yes

[Network]
Address=192.0.2.7/24
Gateway=192.0.2.1
DNS=192.0.2.53
IPv6AcceptRA=yes

[Route]
Destination=198.51.100.0/24
Gateway=192.0.2.9
"""


def _after(there: dict[str, str] | None, *networks: Network, mac: str = "") -> dict[str, str]:
    plan = layout(*networks, style="networkd")
    return applied(there or {}, files(plan, TEMPLATES, there, mac))


def _own(after: dict[str, str], name: str) -> str:
    return after[f"{FOLDER}/05-tashi-{name}"]


def _network(text: str) -> list[tuple[str, str]]:
    return [o for s in units.sections(text) if s.name == "Network" for o in s.options]


@pytest.mark.parametrize("case", CASES)
def test_a_fresh_host_gets_this(case: str) -> None:
    after = _after(None, *CASES[case])
    shown = "".join(f"== {p}\n{after[p]}" for p in sorted(after) if p.startswith(FOLDER))

    assert shown == (GOLDEN / f"{case}.networkd").read_text()


def test_the_operators_own_file_of_the_uplink_only_gets_the_vlans_added() -> None:
    after = _after({WIRED: OWN}, CLUSTER, LAB)

    assert after[WIRED] == OWN
    assert _network(after[f"{WIRED}.d/tashi.conf"]) == [
        ("VLAN", "eth0.999"),
        ("VLAN", "eth0.1001"),
    ]
    assert f"{FOLDER}/05-tashi-eth0.network" not in after
    assert "eth0" not in owned(after)


def test_what_the_uplink_had_goes_along_to_the_bridge_that_takes_it() -> None:
    after = _after({WIRED: OWN}, SAME)

    port, bridge = _own(after, "eth0.network"), _own(after, "vmbr.network")
    assert after[WIRED] == OWN
    assert ("Bridge", "vmbr") in _network(port)
    assert "Multicast=yes" in port
    assert "192.0.2" not in port
    assert _network(bridge) == [
        ("ConfigureWithoutCarrier", "yes"),
        ("Address", "192.0.2.7/24"),
        ("Gateway", "192.0.2.1"),
        ("DNS", "192.0.2.53"),
        ("IPv6AcceptRA", "yes"),
    ]
    assert "Destination=198.51.100.0/24\nGateway=192.0.2.9\n" in bridge
    assert "Multicast" not in bridge


def test_a_file_of_many_interfaces_is_copied_for_the_uplink_alone() -> None:
    many = "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n"
    after = _after({f"{FOLDER}/80-dhcp.network": many}, LAB)

    assert _network(_own(after, "eth0.network")) == [("VLAN", "eth0.1001"), ("DHCP", "yes")]
    assert after[f"{FOLDER}/80-dhcp.network"] == many
    assert not any(path.endswith(".conf") for path in after)


def test_an_address_of_the_inventory_takes_the_place_of_one_family_only() -> None:
    lan = replace(SAME, host_address="192.0.2.8/24")
    bridge = _own(
        _after({WIRED: OWN.replace("Gateway=192.0.2.1", "DHCP=yes")}, lan), "vmbr.network"
    )

    assert _network(bridge)[1:] == [
        ("DNS", "192.0.2.53"),
        ("IPv6AcceptRA", "yes"),
        ("DHCP", "ipv6"),
        ("Address", "192.0.2.8/24"),
    ]


@pytest.mark.parametrize("networks", [(SAME, STATIC), (CLUSTER, LAB), AWARE, (LAN, OVERLAY)])
def test_what_was_written_is_written_again_and_goes_with_the_networks(
    networks: tuple[Network, ...],
) -> None:
    there = {WIRED: OWN}
    once = _after(there, *networks, mac="52:54:00:00:00:01")

    assert _after(once, *networks) == once  # the MAC is read from our own files then
    assert _after(once) == there


def test_the_bridges_have_the_uplinks_mac() -> None:
    after = _after(None, LAN, OVERLAY, mac="52:54:00:00:00:01")

    assert "MACAddress=52:54:00:00:00:01" in _own(after, "vmbr.netdev")
    assert "MACAddress" not in _own(after, "vmbr.5.netdev")


def test_the_hosts_own_address_is_no_other_end() -> None:
    assert "Destination=192.0.2.2" in _own(_after(None, OVERLAY), "vxlan5.network")
    assert "Destination=192.0.2.1\n" not in _own(_after(None, OVERLAY), "vxlan5.network")


def test_a_file_that_goes_before_ours_is_refused_with_a_better_name() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _after({f"{FOLDER}/00-all.network": "[Match]\nName=eth*\n[Network]\nDHCP=yes\n"}, LAN)

    assert caught.value.code == "E-HOST-FILES"
    assert "50-all.network" in caught.value.hint


def test_an_uplink_in_another_bridge_is_refused_with_how_to_name_it() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _after({WIRED: "[Match]\nName=eth0\n[Network]\nBridge=br0\n"}, LAN)

    assert "bridge: br0" in caught.value.hint


def test_another_style_takes_the_files_of_the_one_before_away() -> None:
    before = _after(None, CLUSTER)
    changed = files(layout(CLUSTER, style="ifupdown"), TEMPLATES, before)

    gone = {f.path for f in changed if f.text is None}
    assert gone == {p for p in before if p.startswith(FOLDER)}
    back = _after(applied(before, changed), CLUSTER)
    assert {p: t for p, t in back.items() if p.startswith("/etc/network")} == {
        "/etc/network/interfaces": applied(before, changed)["/etc/network/interfaces"]
    }


@pytest.mark.parametrize(
    ("match", "chosen"),
    [
        ("Name=eth0", True),
        ("Name=en* eth[0-3]", True),
        ("Name=!eth0", False),
        ("Name=!wlan*", True),
        ("Name=eth1\nName=", False),
        ("Name=eth1 \\\n eth0", True),
        ("Type=ether", True),
        ("MACAddress=52:54:00:00:00:01", False),
        ("; Name=eth0\nName=eth1", False),
    ],
)
def test_the_file_of_an_interface_is_the_one_that_networkd_takes(match: str, chosen: bool) -> None:
    there = {f"{FOLDER}/10-a.network": f"[Match]\n{match}\n[Network]\nDHCP=yes\n"}

    assert units.chosen(there, "eth0") == (next(iter(there)) if chosen else "")


def test_a_file_in_etc_hides_its_namesakes_and_the_first_by_name_wins() -> None:
    match = "[Match]\nName=eth0\n"
    there = {
        "/usr/lib/systemd/network/10-a.network": match,
        f"{FOLDER}/10-a.network": "[Match]\nName=eth1\n",
        "/run/systemd/network/20-b.network": match,
        f"{FOLDER}/30-c.network": match,
    }

    assert units.chosen(there, "eth0") == "/run/systemd/network/20-b.network"
