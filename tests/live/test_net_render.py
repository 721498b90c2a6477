"""Debian hosts that boot with what is rendered, on a trunk with real tags.

An uplink in a bridge that takes its address along, bridges of VLANs beside it, a VXLAN; and
VLAN-aware bridges with frames of 9000 bytes. What of them `net apply` makes is in other files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.planning.net import layout as layouts
from tashictl.planning.net.files import files
from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs
from tests.live.lab.booted import Booted
from tests.live.lab.netconfigs import Config, Files, Seat
from tests.live.lab.nethosts import NetHosts
from tests.planning.net.cases import TEMPLATES

FLAT = {"networkd": netconfigs.flat_networkd}
LAN = Network(id=1, name="lan", bridge="vmbr")  # with the address that the uplink had
CLUSTER = Network(id=999, name="cluster", vlan=999, bridge="vmbr.999", mtu=9000)
LAB = Network(id=1001, name="lab", vlan=1001, bridge="vmbr.1001", host_address="none", stp=True)
AWARE = (
    Network(id=7, name="seven", vlan=7, bridge="br1", vlan_aware=True, mtu=9000),
    Network(id=8, name="eight", vlan=8, bridge="br1", vlan_aware=True, host_address="none"),
)
PINGS = {"cluster": "10.99.9", "seven": "10.98.7", "five": "10.98.5"}


@dataclass(frozen=True)
class Rendered:
    """A `Config` of a flat host with the networks rendered into its files."""

    style: str
    uplink: str
    networks: tuple[Network, ...]

    def __call__(self, seat: Seat) -> Files:
        flat = FLAT.get(self.style, netconfigs.flat)(seat)
        there = {f"/{path}": text for path, text in flat.items() if isinstance(text, str)}
        placed = tuple(
            f"{n.name}={PINGS[n.name]}.{seat.number}/24" for n in self.networks if n.name in PINGS
        )
        host = HostConfig(
            name=seat.name,
            address=seat.address,
            uplink=self.uplink,
            style=self.style,
            host_addresses=placed,
        )
        wanted = files(layouts.layout(host, self.networks), TEMPLATES, there)
        written = {f.path.removeprefix("/"): f.text for f in wanted if f.text is not None}
        return {**flat, **written}


def overlay(seat: Seat) -> Network:
    """A VXLAN between both hosts over the management network."""
    head = seat.address.rpartition(".")[0]
    ends = (f"{head}.11", f"{head}.12")
    return Network(id=5, name="five", mode="vxlan", vxlan=5, bridge="vmbr.5", remotes=ends)


def with_overlay(style: str) -> Config:
    return lambda seat: Rendered(style, "eth0", (LAN, CLUSTER, LAB, overlay(seat)))(seat)


SITES: dict[str, tuple[Config, Config]] = {
    "uplink-in-a-bridge": (with_overlay("ifupdown"), with_overlay("networkd")),
    "vlan-aware": (Rendered("ifupdown", "eth1", AWARE), Rendered("networkd", "eth1", AWARE)),
}


@pytest.fixture(scope="module", params=SITES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, tuple[Booted, ...]]]:
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    folder: Path = tmp_path_factory.mktemp(request.param)
    with NetHosts(folder, SITES[request.param]) as nets:
        yield request.param, nets.hosts


def test_hosts_reach_each_other_on_each_network_that_they_have_addresses_on(
    site: tuple[str, tuple[Booted, ...]],
) -> None:
    name, (one, two) = site
    reached = {
        "uplink-in-a-bridge": ("10.99.9", "10.98.5"),
        "vlan-aware": ("10.98.7",),
    }
    for head in reached[name]:
        one.run(f"ping -c 2 -i 0.3 -W 10 {head}.2", check=True)
        two.run(f"ping -c 2 -i 0.3 -W 10 {head}.1", check=True)
    one.run(f"ping -c 2 -i 0.3 -W 10 -M do -s 8900 {reached[name][0]}.2", check=True)
    if name == "uplink-in-a-bridge":
        for host in (one, two):
            # Untagged beside a VLAN of 9000, and a bridge although ifupdown reads a VLAN's name.
            assert host.run("cat /sys/class/net/vmbr/mtu", check=True).stdout == "1500\n"
            host.run("test -d /sys/class/net/vmbr.999/bridge", check=True)
    for host in (one, two):
        assert not host.run("systemctl --failed --no-legend --plain", check=True).stdout.strip()
