"""Networks of the inventory: what is checked in each, between them, and against the hosts."""

from __future__ import annotations

import pytest

from tashictl.errors import InvalidRequest, Problems
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.settings import IpRange, Settings
from tashictl.planning.inventory import load, parse
from tashictl.planning.inventory_networks import with_ranges


def said(text: str) -> list[str]:
    _, problems = parse([("n.yaml", text)])
    return [p.what for p in problems]


def network(keys: str) -> Network:
    (found,) = load([("n.yaml", f"networks: [{{id: 1, name: lan, {keys}}}]")]).networks
    return found


def test_every_key_of_a_network_is_read() -> None:
    assert network(
        "vlan: 7, bridge: br7, cidr: 10.0.0.0/8, cidr6: 'fd00::/64', range: 10.0.0.1 - 10.0.0.9,"
        "range6: 'fd00::0:1-fd00::ff', exclude: [10.0.0.2, 10.0.0.3-10.0.0.4], gateway: 10.0.0.1,"
        "dns: 10.0.0.1, domain: lab.example, mtu: 9000, stp: on, forward_delay: 2,"
        "host_address: 10.0.0.5/8, dhcp: isc-omapi, default: true"
    ) == Network(
        id=1,
        name="lan",
        vlan=7,
        bridge="br7",
        cidr="10.0.0.0/8",
        cidr6="fd00::/64",
        range="10.0.0.1-10.0.0.9",
        range6="fd00::1-fd00::ff",
        exclude=("10.0.0.2", "10.0.0.3-10.0.0.4"),
        gateway="10.0.0.1",
        dns=("10.0.0.1",),
        domain="lab.example",
        mtu=9000,
        stp=True,
        forward_delay=2,
        host_address="10.0.0.5/8",
        dhcp="isc-omapi",
        default=True,
    )


@pytest.mark.parametrize(
    ("keys", "bridge"),
    [("", "vmbr"), ("vlan: 999", "vmbr.999"), ("mode: vxlan, vxlan: 16777215", "vmbr.16777215"),
     ("mode: user", None), ("vlan: 4094, bridge: br0", "br0")],
)  # fmt: skip
def test_a_bridge_without_a_name_is_called_as_in_tashis_guide(
    keys: str, bridge: str | None
) -> None:
    assert network(keys).bridge == bridge


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("vlan: 0", "vlan: 0 is not within 1 and 4094"),
        ("vlan: 4095", "vlan: 4095 is not within 1 and 4094"),
        ("vlan: '07'", "vlan: '07' is no whole number"),
        ("bridge: averylongbridge1", "longer than 15"),
        ("bridge: a/b", "is no interface name"),
        ("mode: brige", "did you mean bridge?"),
        ("mode: vxlan", "vxlan and mode: vxlan need each other"),
        ("vxlan: 5", "vxlan and mode: vxlan need each other"),
        ("mode: user, vlan: 5", "vlan is not for mode user"),
        ("mode: user, bridge: br0", "bridge is not for mode user"),
        ("cidr: 10.0.0.1/24", "write 10.0.0.0/24"),
        ("cidr: 10.0.0.0", "is no IPv4 network"),
        ("cidr: 'fd00::/64'", "is no IPv4 network"),
        ("cidr6: 10.0.0.0/8", "is no IPv6 network"),
        ("range: 10.0.0.9-10.0.0.1", "runs backwards"),
        ("range: 10.0.0.1", "is not first-last"),
        ("range: 'fd00::1-fd00::2'", "is not IPv4"),
        ("cidr: 10.0.0.0/24, range: 10.0.0.9-10.0.1.1", "is not inside cidr 10.0.0.0/24"),
        ("cidr6: 'fd00::/64', range6: 'fd01::1-fd01::2'", "is not inside cidr6 fd00::/64"),
        ("cidr: 10.0.0.0/24, gateway: 10.0.1.1", "is not inside 10.0.0.0/24"),
        ("exclude: [10.0.0.x]", "does not appear to be"),
        ("dns: [a.b]", "does not appear to be"),
        ("domain: '-x'", "is no domain"),
        ("mtu: 67", "67 is not within 68 and 65535"),
        ("mtu: 65536", "65536 is not within 68 and 65535"),
        ("mtu: 1279, cidr6: 'fd00::/64'", "below 1280"),
        ("host_address: 10.0.0.1", "neither dhcp, none nor an address/length"),
        ("host_address: 10.0.0.1/33", "does not appear to be"),
        ("dhcp: isc", "did you mean isc-omapi?"),
        ("default: 1", "is neither true nor false"),
        ("colour: red", "no key 'colour'"),
        ("domain: {a: b}", "one value is wanted"),
    ],
)
def test_a_mistake_in_a_network_is_named(keys: str, problem: str) -> None:
    (found,) = said(f"networks:\n  - {{id: 1, name: lan, {keys}}}")
    assert problem in found
    assert found.endswith(", n.yaml:2")


def test_ids_names_and_the_default_belong_to_one_network_also_across_files() -> None:
    sources = [
        ("a.yaml", "networks:\n- {id: 1, name: lan, default: true}\n- {name: x}\n- {id: 0}\n"),
        ("b.yaml", "networks:\n- {id: 1, name: b}\n- {id: 2, name: lan, default: true}\n"),
    ]
    assert [p.what for p in parse(sources)[1]] == [
        "a network without id, a.yaml:3",
        "network: id: 0 is not within 1 and 2147483647, a.yaml:4",
        "a network without name, a.yaml:4",
        "a second network 1, first in a.yaml:2, b.yaml:2",
        "a second network lan, first in a.yaml:2, b.yaml:3",
        "a second default network, first in a.yaml:2, b.yaml:3",
    ]


def test_a_host_of_a_network_with_mistakes_is_not_blamed_for_naming_it() -> None:
    text = "{networks: [{id: 1, name: lan, mtu: 1}], hosts: {h: {networks: [lan]}}}"
    assert said(text) == ["network: mtu: 1 is not within 68 and 65535, n.yaml:1"]


def test_a_vlan_interface_whose_name_is_too_long_is_found_where_a_host_has_the_network() -> None:
    networks = "networks: [{id: 1, name: lan, vlan: 1001}, {id: 2, name: b}]\n"
    body = "hosts:\n  h1: {uplink: enp129s0f0n, networks: [b]}\n  h2: {uplink: enp129s0f1}\n"
    assert said(networks + body) == []
    body = "hosts:\n  h1: {uplink: enp129s0f0n}\n"
    assert said(networks + body) == [
        "the VLAN interface enp129s0f0n.1001 of network lan would have a name longer than 15,"
        " n.yaml:3"
    ]


def ranged(networks: list[Network], *ranges: tuple[int, str, str]) -> Inventory:
    settings = Settings(ip_ranges=tuple(IpRange(network=n, first=a, last=b) for n, a, b in ranges))
    return with_ranges(Inventory(networks=tuple(networks)), settings)


def test_a_range_of_the_configuration_gives_or_overrides_that_of_the_network() -> None:
    lan = Network(id=1, name="lan", cidr="10.0.0.0/8", range="10.0.0.1-10.0.0.2")
    lab = Network(id=2, name="lab")
    found = ranged([lan, lab], (1, "10.1.0.1", "10.1.0.9"), (2, "fd00::1", "fd00::9"),
                   (7, "10.2.0.1", "10.2.0.2"))  # fmt: skip
    assert [(n.range, n.range6) for n in found.networks] == [
        ("10.1.0.1-10.1.0.9", None),
        (None, "fd00::1-fd00::9"),
    ]


def test_a_range_of_the_configuration_outside_its_network_is_refused() -> None:
    lan = Network(id=1, name="lan", cidr="10.0.0.0/8")
    lab = Network(id=2, name="lab", cidr6="fd00::/64")
    with pytest.raises(Problems) as caught:
        ranged([lan, lab], (1, "11.0.0.1", "11.0.0.2"), (2, "fd01::1", "fd01::2"))
    assert [type(p) for p in caught.value.problems] == [InvalidRequest] * 2
    assert caught.value.problems[0].what == (
        "[DhcpDns] ipRange1: range 11.0.0.1-11.0.0.2 is not inside cidr 10.0.0.0/8"
    )
