"""Two booted hosts on a trunk whose VLAN-aware bridge holds all, the host's own addresses too.

Of styles ifupdown and networkd: applied by `net apply`, rebooted, the same; with frames of 9000
bytes, an IPv6 address with its gateway, STP, and a VXLAN beside it. What each test leaves is what
the next begins with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.patient import Patient
from tests.live.lab.post import Post
from tests.live.lab.runner import Result
from tests.live.nets import until

OK = 0
JUMBO = 8972  # with the headers of ICMP and IPv4 9000 bytes
FAR = "fd00:99::1"  # behind the gateway
STYLES = ("ifupdown", "networkd")
NETWORKS = """\
networks:
  - {id: 7, name: seven, vlan: 7, bridge: br1, vlan_aware: true, default: true, mtu: 9000,
     stp: true, forward_delay: 2}
  - {id: 8, name: eight, vlan: 8, bridge: br1, vlan_aware: true, host_address: none,
     stp: true, forward_delay: 2}
  - {id: 9, name: nine, vlan: 9, bridge: br1, vlan_aware: true, gateway6: "fd00:9::fe",
     stp: true, forward_delay: 2}
  - {id: 5, name: five, mode: vxlan, vxlan: 5, bridge: vmbr.5, remotes: [ENDS]}
"""


@dataclass
class Site:
    """The hosts, their cluster, and somebody on each VLAN of the trunk."""

    nets: NetHosts
    tashictl: Patient
    posts: dict[int, Post]

    def want(self) -> None:
        """The inventory says so."""
        lines = ["hosts:\n"]
        for number, (host, style) in enumerate(zip(self.nets.hosts, STYLES, strict=True), 1):
            own = f'"seven=10.98.7.{number}/24", "nine=fd00:9::{number}/64", '
            own += f'"five=10.98.5.{number}/24"'
            lines.append(
                f"  {host.name}: {{address: {host.address}, user: ops, become: true, "
                f"identity_file: {host.key}, style: {style}, uplink: eth1, "
                f"host_addresses: [{own}]}}\n"
            )
        ends = ", ".join(host.address for host in self.nets.hosts)
        place = self.tashictl.cluster / "inventory" / "lab.yaml"
        place.write_text("".join(lines) + NETWORKS.replace("ENDS", ends), encoding="utf-8")

    def net(self, *words: str) -> Result:
        """`net …`, whatever its exit code."""
        return self.tashictl.run("net", *words, check=False, timeout=900)

    def as_wanted(self) -> None:
        """`net diff` finds nothing."""
        found = self.net("diff")
        assert found.rc == OK, str(found)

    def answers(self) -> None:
        """The hosts' own addresses are reached, by whole frames, and what is behind the gateway."""
        seven, nine = self.posts[7], self.posts[9]
        for number, host in enumerate(self.nets.hosts, 1):
            assert seven.reaches(f"10.98.7.{number}", size=JUMBO, tries=30), host.name
            assert nine.reaches(f"fd00:9::{number}", tries=30), host.name
            host.look(f"ping -c 1 -W 30 -M do -s {JUMBO} {seven.address}")
            host.look(f"ping -c 1 -W 30 {FAR}")
        self.nets.hosts[0].look("ping -c 1 -W 30 -M do -s 1422 10.98.5.2")  # 1450 of a VXLAN

    def spans(self) -> None:
        """The two bridges have heard of each other by STP: they name the same root."""
        root = "cat /sys/class/net/br1/bridge/root_id"
        assert until(lambda: len({host.look(root) for host in self.nets.hosts}) == 1)
        state = "cat /sys/class/net/eth1/brport/state"
        assert until(lambda: {host.look(state).strip() for host in self.nets.hosts} == {"3"})

    def parted(self) -> None:
        """A guest's stand-in, plugged as qemu-ifup does, has its own VLAN and not another."""
        for number, host in enumerate(self.nets.hosts, 1):
            for vlan in (7, 8):
                tap = f"tashi{vlan}.0"
                plug_guest(host, "br1", f"10.98.{vlan}.10{number}/24", tap)
                host.look(f"/etc/qemu-ifup.{vlan} {tap}")
                assert self.posts[vlan].reaches(f"10.98.{vlan}.10{number}", tries=30), (
                    number,
                    vlan,
                )
            # From a guest to its own host, which never leaves the bridge.
            host.look(f"ip netns exec guest-tashi7.0 ping -c 1 -W 30 10.98.7.{number}")
        seven = self.posts[7]
        seven.run(f"ip addr add 10.98.8.77/24 dev {seven.device}", check=True)
        try:
            assert not seven.reaches("10.98.8.101", tries=2)
            assert not seven.reaches("10.98.8.102", tries=1)
        finally:
            seven.run(f"ip addr del 10.98.8.77/24 dev {seven.device}", check=True)


@pytest.fixture(scope="module")
def site(
    machine: None, tashictl_argv: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Both, changed and confirmed."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    folder: Path = tmp_path_factory.mktemp("site")
    configs = (netconfigs.flat, netconfigs.flat_networkd)
    with NetHosts(tmp_path_factory.mktemp("hosts"), configs) as nets:
        posts = {7: nets.post(7, "10.98.7.100/24"), 8: nets.post(8, "10.98.8.100/24")}
        posts[9] = nets.post(9, "fd00:9::fe/64")
        posts[9].run(f"ip addr add {FAR}/128 dev lo", check=True)
        made = Site(nets, nets.cluster(tashictl_argv, folder, ""), posts)
        made.want()
        done = made.net("apply", "-y", "--settle", "1", "--revert-after", "600", "--serial", "2")
        assert done.rc == OK, str(done)
        yield made


def test_a_host_is_reached_over_its_vlan_aware_bridge_and_guests_have_their_vlan(
    site: Site,
) -> None:
    site.answers()
    site.spans()
    site.parted()

    site.as_wanted()


def test_after_a_reboot_all_is_the_same(site: Site) -> None:
    site.nets.reboot()

    site.as_wanted()
    site.answers()
    site.spans()


def test_a_machine_whose_card_has_lost_its_vlan_filter_is_reached(site: Site) -> None:
    # QEMU forgets that of a virtio card when a machine is restored or moved.
    host = site.nets.hosts[0]
    host.remember("filtered")
    host.recall("filtered")

    site.answers()
    site.parted()
