"""The legacy style writes what Tashi's guide has."""

import pytest

from tashictl.errors import InvalidRequest
from tashictl.model.network import Network
from tashictl.planning.net.files import files
from tests.planning.net.cases import CLUSTER, LAB, LAN, TEMPLATES, applied, layout, stanzas

INTERFACES = "/etc/network/interfaces"
ONE_LAN = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet manual
    pre-up brctl addbr vmbr
    pre-up brctl addif vmbr eth0
    pre-up ifconfig eth0 0.0.0.0 up
    post-down ifconfig eth0 down
    post-down brctl delif vmbr eth0
    post-down brctl delbr vmbr

auto vmbr
iface vmbr inet dhcp
"""
TWO_VLANS = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet manual
    pre-up vconfig add eth0 999
    pre-up vconfig add eth0 1001
    pre-up ifconfig eth0 0.0.0.0 up promisc
    post-down ifconfig eth0 down
    post-down vconfig rem eth0.1001
    post-down vconfig rem eth0.999

auto eth0.999
iface eth0.999 inet manual
    pre-up brctl addbr vmbr.999
    pre-up brctl addif vmbr.999 eth0.999
    pre-up ifconfig eth0.999 0.0.0.0 up promisc
    post-down ifconfig eth0.999 down
    post-down brctl delif vmbr.999 eth0.999
    post-down brctl delbr vmbr.999

auto eth0.1001
iface eth0.1001 inet manual
    pre-up brctl addbr vmbr.1001
    pre-up brctl addif vmbr.1001 eth0.1001
    pre-up ifconfig eth0.1001 0.0.0.0 up promisc
    post-down ifconfig eth0.1001 down
    post-down brctl delif vmbr.1001 eth0.1001
    post-down brctl delbr vmbr.1001

auto vmbr.1001
iface vmbr.1001 inet manual
    pre-up ifconfig vmbr.1001 0.0.0.0 up
    post-down ifconfig vmbr.1001 down

auto vmbr.999
iface vmbr.999 inet dhcp
"""
IFUP = """\
#! /bin/bash

/sbin/ifconfig $1 0.0.0.0 up
/usr/sbin/brctl addif {bridge} $1
exit 0
"""


def _texts(*networks: Network, there: dict[str, str] | None = None) -> dict[str, str]:
    return applied({}, files(layout(*networks, style="legacy"), TEMPLATES, there))


def _script(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("# rendered")]


@pytest.mark.parametrize(
    ("networks", "guide"), [((LAN,), ONE_LAN), ((CLUSTER, LAB), TWO_VLANS)], ids=["lan", "vlans"]
)
def test_a_fresh_host_gets_the_guide_stanza_by_stanza(
    networks: tuple[Network, ...], guide: str
) -> None:
    texts = _texts(*networks)

    assert stanzas(texts[INTERFACES]) == stanzas(guide)
    for network in networks:
        script = IFUP.format(bridge=network.bridge)
        assert _script(texts[f"/etc/qemu-ifup.{network.id}"]) == _script(script)


@pytest.mark.parametrize(
    ("networks", "guide"), [((LAN,), ONE_LAN), ((CLUSTER, LAB), TWO_VLANS)], ids=["lan", "vlans"]
)
def test_a_host_set_up_by_hand_as_the_guide_says_stays_so(
    networks: tuple[Network, ...], guide: str
) -> None:
    texts = _texts(*networks, there={INTERFACES: guide})

    assert stanzas(texts[INTERFACES]) == stanzas(guide)


def test_stanzas_of_other_interfaces_stay_before_ours() -> None:
    other = "# the storage network\nauto eth1\niface eth1 inet static\n\taddress 192.0.2.7/24\n"
    texts = _texts(CLUSTER, LAB, there={INTERFACES: f"{other}\n{TWO_VLANS}"})

    assert texts[INTERFACES].startswith(other)
    assert stanzas(texts[INTERFACES])[1:] == stanzas(TWO_VLANS)


def test_an_address_is_written_with_its_netmask_apart() -> None:
    texts = _texts(Network(id=1, name="lan", bridge="vmbr", host_address="192.0.2.9/25"))

    assert stanzas(texts[INTERFACES])[-1] == [
        "auto vmbr",
        "iface vmbr inet static",
        "address 192.0.2.9",
        "netmask 255.255.255.128",
    ]


def test_what_brctl_cannot_is_refused_with_the_style_that_can() -> None:
    aware = Network(id=9, name="nine", vlan=9, bridge="br0", vlan_aware=True)

    with pytest.raises(InvalidRequest) as caught:
        _texts(aware)

    assert caught.value.code == "E-STYLE"
    assert "nine" in caught.value.what
    assert "ifupdown" in caught.value.hint
