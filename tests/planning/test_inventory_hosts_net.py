"""What the inventory says of hosts' own addresses, VLAN-aware bridges and VXLANs; its mistakes."""

from __future__ import annotations

import pytest

from tashictl.errors import InvalidRequest
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.planning.inventory import load, parse
from tashictl.planning.net.layout import layout

LAN = "networks: [{id: 1, name: lan}, {id: 9, name: nine, vlan: 9}]\n"


def inventory(text: str) -> Inventory:
    return load([("n.yaml", text)])


def said(text: str) -> list[str]:
    _, problems = parse([("n.yaml", text)])
    return [f"{p.what} [{p.hint}]" if p.hint else p.what for p in problems]


def test_a_host_of_a_range_has_its_own_address_on_each_network() -> None:
    text = LAN + 'hosts: {"n[1-2]": {host_addresses: ["9=192.0.2.[11-12]/24", lan=none]}}'

    assert [h.host_addresses for h in inventory(text).hosts] == [
        ("nine=192.0.2.11/24", "lan=none"),
        ("nine=192.0.2.12/24", "lan=none"),
    ]


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("h: {host_addresses: 192.0.2.1/24}", "write network=address/length"),
        ("h: {host_addresses: lan=192.0.2.1}", "neither dhcp, none nor an address/length"),
        ("h: {host_addresses: lan=192.0.2.999/24}", "192.0.2.999"),
        ("h: {host_addresses: lam=dhcp}", "no network 'lam'"),
        ('"n[1-2]": {host_addresses: "lan=192.0.2.[1-3]/24"}', "stands for 3, the name for 2"),
        ('h: {host_addresses: "lan=192.0.2.[1-3]/24"}', "stands for 3, the name for 1"),
        ('"n[1-2]": {host_addresses: "lan=192.0.2.[255-256]/24"}', "192.0.2.256"),
        ('"n[1-2]": {host_addresses: "lan=192.0.2.1/24"}', "would both have 192.0.2.1/24 on lan"),
        (
            '"n[1-2]": {host_addresses: ["lan=2001:db8::1/64", "lan=192.0.2.[1-2]/24"]}',
            "would both have 2001:db8::1/64 on lan",
        ),
        ("h: {style: netplan}", "'netplan'"),
    ],
)
def test_a_mistake_in_a_hosts_own_addresses_is_named(host: str, problem: str) -> None:
    problems = said(f"{LAN}hosts: {{{host}}}")

    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_a_range_in_a_group_or_the_defaults_has_no_names_to_go_with() -> None:
    assert "needs a host with a range" in said(
        LAN + 'defaults: {host_addresses: "lan=192.0.2.[1-2]/24"}'
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("networks", "problem"),
    [
        ("{id: 1, name: a, bridge: br0}, {id: 2, name: b, bridge: br0, vlan: 2}", "that of a"),
        (
            "{id: 1, name: a, bridge: br0, vlan_aware: true}, {id: 2, name: b, bridge: br0}",
            "vlan_aware: true in all networks that share it",
        ),
        ("{id: 1, name: a, mode: user, vlan_aware: true}", "vlan_aware is not for mode user"),
        ("{id: 1, name: a, remotes: 192.0.2.1}", "remotes are for mode vxlan"),
        ("{id: 1, name: a, gateway6: 192.0.2.1}", "gateway6 192.0.2.1 is not IPv6"),
        ("{id: 1, name: a, host_address6: dhcp}", "neither auto, none nor an IPv6 address"),
        ("{id: 1, name: a, host_address6: 192.0.2.1/24}", "neither auto, none nor an IPv6"),
        ("{id: 1, name: a, mode: vxlan, vxlan: 5, vlan: 7}", "vlan is not for mode vxlan"),
    ],
)
def test_a_mistake_in_how_networks_share_a_wire_is_named(networks: str, problem: str) -> None:
    problems = said(f"networks: [{networks}]")

    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_networks_of_one_wire_or_of_a_vlan_aware_bridge_share_it() -> None:
    assert not said("networks: [{id: 1, name: a, bridge: br0}, {id: 2, name: b, bridge: br0}]")
    aware = (
        "{id: 3, name: c, vlan: 3, vlan_aware: true}, {id: 4, name: d, vlan: 4, vlan_aware: yes}"
    )
    assert [n.bridge for n in inventory(f"networks: [{aware}]").networks] == ["vmbr", "vmbr"]


def host(**values: object) -> HostConfig:
    return HostConfig(**{"name": "h", "address": "h", "uplink": "eth0", **values})  # type: ignore[arg-type]


def test_a_hosts_own_address_of_each_family_wins_over_the_networks() -> None:
    lan = Network(id=1, name="lan", bridge="vmbr", host_address="dhcp", host_address6="auto")

    def strand(*placed: str) -> tuple[str, str]:
        (one,) = layout(host(host_addresses=placed), [lan]).strands
        return one.address, one.address6

    assert strand() == ("dhcp", "auto")
    assert strand("lan=192.0.2.1/24") == ("192.0.2.1/24", "auto")
    assert strand("lan=2001:db8::1/64") == ("dhcp", "2001:db8::1/64")
    assert strand("lan=none", "lan=2001:db8::1/64") == ("none", "2001:db8::1/64")
    assert strand("lan=auto") == ("dhcp", "auto")


def test_a_host_without_an_uplink_and_one_with_two_untagged_bridges_are_refused() -> None:
    lan = Network(id=1, name="lan", bridge="vmbr")
    with pytest.raises(InvalidRequest) as caught:
        layout(host(uplink=None), [lan])
    assert caught.value.code == "E-UPLINK"
    with pytest.raises(InvalidRequest) as caught:
        layout(host(), [lan, Network(id=2, name="two", bridge="br2")])
    assert "one bridge only" in caught.value.what


def test_what_holds_the_hosts_addresses_and_what_joins_the_bridge() -> None:
    networks = [
        Network(id=1, name="a", bridge="vmbr"),
        Network(id=2, name="b", bridge="vmbr.2", vlan=2),
        Network(id=3, name="c", bridge="vmbr.3", mode="vxlan", vxlan=3),
        Network(id=4, name="d", mode="user"),
    ]
    found = layout(host(), networks)
    assert [(s.port, s.bridge, s.holder, s.tagged) for s in found.strands] == [
        ("eth0", "vmbr", "vmbr", False),
        ("eth0.2", "vmbr.2", "vmbr.2", True),
        ("vxlan3", "vmbr.3", "vmbr.3", False),
    ]
    (aware,) = layout(
        host(), [Network(id=5, name="e", bridge="br0", vlan=5, vlan_aware=True)]
    ).strands
    assert (aware.port, aware.bridge, aware.holder) == ("eth0", "br0", "br0.5")
