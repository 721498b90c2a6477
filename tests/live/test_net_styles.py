"""Three booted hosts on a trunk, one of each style: applied by `net apply`, rebooted, the same.

One of them has its address on a VLAN by DHCP.

What each test leaves is what the next begins with: a boot costs half a minute and more.
"""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs
from tests.live.lab.booted import Booted
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.patient import Patient
from tests.live.lab.post import Post
from tests.live.lab.runner import Result

OK, FAILED, INVALID, DIFFERS = 0, 1, 2, 9
RED, BLUE = 999, 1001
STYLES = {"node1": "ifupdown", "node2": "legacy", "node3": "networkd"}
BY_DHCP = "node2"
POOL = ("10.99.9.50", "10.99.9.59")
CONFIGS = (netconfigs.flat, netconfigs.flat, netconfigs.flat_networkd)
NETWORKS = f"""\
networks:
  - {{id: 1, name: red, vlan: {RED}, bridge: vmbr.{RED}, cidr: 10.99.9.0/24, default: true}}
  - {{id: 2, name: blue, vlan: {BLUE}, bridge: vmbr.{BLUE}, cidr: 10.100.1.0/24}}
"""


@dataclass
class Site:
    """The hosts, their cluster, and somebody on each VLAN of the trunk."""

    nets: NetHosts
    tashictl: Patient
    folder: Path
    posts: dict[int, Post] = field(default_factory=dict)

    def host(self, name: str) -> Booted:
        """By name."""
        return next(host for host in self.nets.hosts if host.name == name)

    def want(self, networks: str = NETWORKS, **more: str) -> None:
        """The inventory says so; `more` are further keys of a host, by its name."""
        lines = ["hosts:\n"]
        for number, host in enumerate(self.nets.hosts, 1):
            address = "dhcp" if host.name == BY_DHCP else f"10.99.9.1{number}/24"
            own = more.get(host.name, f"uplink: eth1, host_addresses: [red={address}]")
            lines.append(
                f"  {host.name}: {{address: {host.address}, user: ops, become: true, "
                f"identity_file: {host.key}, style: {STYLES[host.name]}, {own}}}\n"
            )
        place = self.tashictl.cluster / "inventory" / "lab.yaml"
        place.write_text("".join(lines) + networks, encoding="utf-8")

    def net(self, *words: str) -> Result:
        """`net …`, whatever its exit code."""
        return self.tashictl.run("net", *words, check=False, timeout=900)

    def apply(self, *more: str) -> Result:
        """`net apply` of all that differs, at once."""
        return self.net("apply", "-y", "--settle", "1", "--revert-after", "600", "--serial", "3",
                        *more)  # fmt: skip

    def leased(self, name: str, device: str) -> str:
        """The address that a host has for a time, and keeps by a client that runs there."""
        text = self.host(name).look(
            f"ip -4 -o addr show dev {device} dynamic; pgrep -a dhclient || :"
        )
        found = re.search(r" inet ([0-9.]+)/", text)
        assert found and re.search(rf"dhclient .*{re.escape(device)}$", text, re.MULTILINE), text
        return found[1]

    def plug(self) -> None:
        """A guest's stand-in on each bridge of each host; a reboot takes them."""
        for number, host in enumerate(self.nets.hosts, 1):
            plug_guest(host, f"vmbr.{RED}", f"10.99.9.10{number}/24", "tashi1.0")
            plug_guest(host, f"vmbr.{BLUE}", f"10.100.1.10{number}/24", "tashi2.0")

    def unplug(self) -> None:
        """Ends `plug`."""
        for host in self.nets.hosts:
            host.look("ip netns del guest-tashi1.0; ip netns del guest-tashi2.0")

    def parted(self) -> None:
        """Each VLAN reaches its own guests on every host, and none of the other."""
        for number in range(1, len(self.nets.hosts) + 1):
            assert self.posts[RED].reaches(f"10.99.9.10{number}"), number
            assert self.posts[BLUE].reaches(f"10.100.1.10{number}"), number
        # An address of the other VLAN's subnet on the same wire would be heard of, if it leaked.
        red = self.posts[RED]
        red.run(f"ip addr add 10.100.1.77/24 dev {red.device}", check=True)
        try:
            assert not red.reaches("10.100.1.101", tries=2)
        finally:
            red.run(f"ip addr del 10.100.1.77/24 dev {red.device}", check=True)


@pytest.fixture(scope="module")
def site(
    machine: None, tashictl_argv: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """All three, with nothing on the trunk yet."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    folder = tmp_path_factory.mktemp("site")
    with NetHosts(tmp_path_factory.mktemp("hosts"), CONFIGS) as nets:
        made = Site(nets, nets.cluster(tashictl_argv, folder, ""), folder)
        made.posts = {RED: nets.post(RED, "10.99.9.1/24"), BLUE: nets.post(BLUE, "10.100.1.1/24")}
        made.posts[RED].serve_dhcp(folder, POOL, "subnet 255.255.255.0")
        yield made


@pytest.fixture(scope="module")
def applied(site: Site) -> Site:
    """Two VLANs on each host, confirmed."""
    site.want()
    done = site.apply()
    assert done.rc == OK, str(done)
    return site


def verified(site: Site, *words: str) -> dict[tuple[str, str, str], str]:
    """What `net verify` says: (network, host, check) -> verdict."""
    done = site.net("verify", "-o", "json", *words)
    assert done.rc in (OK, DIFFERS), str(done)
    found = json.loads(done.out)
    return {(r["network"] or "", r["host"], r["check"]): r["verdict"] for r in found}


def test_guests_reach_their_own_vlan_and_not_the_other_in_each_style(applied: Site) -> None:
    applied.plug()

    applied.parted()

    found = applied.net("diff")
    assert found.rc == OK, str(found)


def test_verify_proves_it_and_finds_a_vlan_that_is_missing_at_a_switch_port(applied: Site) -> None:
    good = verified(applied)
    assert {key: v for key, v in good.items() if v == "wrong"} == {}
    for name in STYLES:
        assert good["red", name, "reach"] == good["red", name, "mtu"] == "ok"
        assert good["blue", name, "reach"] == "unknown"

    host = applied.host("node2")
    host.look(DROP)
    try:
        bad = verified(applied, "red")
    finally:
        host.look("tc qdisc del dev eth1 clsact")

    assert bad["red", "node1", "reach"] == bad["red", "node2", "reach"] == "wrong"
    assert bad["red", "node3", "reach"] == "ok"
    assert {v for (_, _, check), v in bad.items() if check in ("bridge", "files", "live")} == {"ok"}


# What a switch does that does not let the VLAN pass to the host.
DROP = (
    "tc qdisc add dev eth1 clsact && tc filter add dev eth1 ingress protocol 802.1Q "
    "flower vlan_id 999 action drop"
)


def test_an_address_by_dhcp_is_asked_for_and_kept_by_a_client(applied: Site) -> None:
    leased = applied.leased(BY_DHCP, f"vmbr.{RED}")
    assert int(ip_address(POOL[0])) <= int(ip_address(leased)) <= int(ip_address(POOL[1]))


def test_after_a_reboot_all_is_the_same(applied: Site) -> None:
    lease = applied.leased(BY_DHCP, f"vmbr.{RED}")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(Booted.reboot, applied.nets.hosts))

    found = applied.net("diff")
    assert found.rc == OK, str(found)
    applied.plug()
    applied.parted()
    assert applied.leased(BY_DHCP, f"vmbr.{RED}") == lease
    applied.unplug()
