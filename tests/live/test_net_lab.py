"""The lab of networks itself: two booted hosts on a trunk, in each style that Debian can run.

The texts are written by hand: what is rendered is held against the same checks elsewhere.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs, traces
from tests.live.lab.access_port import tagged, untagged
from tests.live.lab.netconfigs import Config, Files, Seat, fill
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.watching import Loss, Pinger, Pings, Watch, judged, losses

PATIENCE_S = 60.0
LAN, OTHER = 999, 1001
LAN_NET, OTHER_NET = "10.99.9", "10.100.1"

IFUPDOWN = f"""{netconfigs.FLAT_TEXT}
auto eth1
iface eth1 inet manual
  mtu 9000

auto eth1.999
iface eth1.999 inet manual
  vlan-raw-device eth1

auto vmbr999
iface vmbr999 inet static
  bridge_ports eth1.999
  bridge_stp off
  bridge_fd 0
  bridge_maxwait 0
  address {LAN_NET}.1{{n}}/24

auto eth1.1001
iface eth1.1001 inet manual
  vlan-raw-device eth1

auto vmbr1001
iface vmbr1001 inet static
  bridge_ports eth1.1001
  bridge_stp off
  bridge_fd 0
  bridge_maxwait 0
  address {OTHER_NET}.1{{n}}/24
"""

# As people wrote it when there was no bridge_ports and no vlan-raw-device.
LEGACY = f"""{netconfigs.FLAT_TEXT}
auto eth1
iface eth1 inet manual
  pre-up vconfig add eth1 999
  pre-up vconfig add eth1 1001
  pre-up ifconfig eth1 0.0.0.0 up promisc
  post-down ifconfig eth1 down
  post-down vconfig rem eth1.1001
  post-down vconfig rem eth1.999

auto eth1.999
iface eth1.999 inet manual
  pre-up brctl addbr vmbr.999
  pre-up brctl addif vmbr.999 eth1.999
  pre-up ifconfig eth1.999 0.0.0.0 up promisc
  post-down ifconfig eth1.999 down
  post-down brctl delif vmbr.999 eth1.999
  post-down brctl delbr vmbr.999

auto eth1.1001
iface eth1.1001 inet manual
  pre-up brctl addbr vmbr.1001
  pre-up brctl addif vmbr.1001 eth1.1001
  pre-up ifconfig eth1.1001 0.0.0.0 up promisc
  post-down ifconfig eth1.1001 down
  post-down brctl delif vmbr.1001 eth1.1001
  post-down brctl delbr vmbr.1001

auto vmbr.1001
iface vmbr.1001 inet static
  address {OTHER_NET}.1{{n}}/24

auto vmbr.999
iface vmbr.999 inet static
  address {LAN_NET}.1{{n}}/24
"""

NETWORKD = {
    "20-eth1.network": "[Match]\nName=eth1\n[Link]\nMTUBytes=9000\n"
    "[Network]\nVLAN=eth1.999\nVLAN=eth1.1001\nLinkLocalAddressing=no\n",
    "30-eth1.999.netdev": "[NetDev]\nName=eth1.999\nKind=vlan\n[VLAN]\nId=999\n",
    "30-eth1.999.network": "[Match]\nName=eth1.999\n[Network]\nBridge=vmbr999\n",
    "30-eth1.1001.netdev": "[NetDev]\nName=eth1.1001\nKind=vlan\n[VLAN]\nId=1001\n",
    "30-eth1.1001.network": "[Match]\nName=eth1.1001\n[Network]\nBridge=vmbr1001\n",
    "40-vmbr999.netdev": "[NetDev]\nName=vmbr999\nKind=bridge\n",
    "40-vmbr999.network": f"[Match]\nName=vmbr999\n[Network]\nAddress={LAN_NET}.1{{n}}/24\n",
    "40-vmbr1001.netdev": "[NetDev]\nName=vmbr1001\nKind=bridge\n",
    "40-vmbr1001.network": f"[Match]\nName=vmbr1001\n[Network]\nAddress={OTHER_NET}.1{{n}}/24\n",
}


def by_networkd(seat: Seat) -> Files:
    """The two VLANs by networkd."""
    files = {f"etc/systemd/network/{name}": fill(text, seat) for name, text in NETWORKD.items()}
    return {**netconfigs.flat_networkd(seat), **files}


STYLES: dict[str, Config] = {
    "ifupdown": netconfigs.interfaces(IFUPDOWN),
    "legacy": netconfigs.interfaces(LEGACY),
    "networkd": by_networkd,
}


BRINGS_UP = {
    "ifupdown": "ifup -a",
    "legacy": "ifup -a",
    "networkd": "systemctl start systemd-networkd",
}


@pytest.fixture(scope="module")
def nets(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetHosts]:
    """Two hosts, as they are after their first boot at each `recall`."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    with NetHosts(tmp_path_factory.mktemp("nets")) as raised:
        yield raised


@pytest.fixture(autouse=True)
def as_born(request: pytest.FixtureRequest) -> None:
    """Whoever takes the hosts finds them as they were."""
    if "nets" in request.fixturenames:
        nets: NetHosts = request.getfixturevalue("nets")
        nets.recall()


@pytest.mark.parametrize("style", list(STYLES))
def test_a_vlan_is_reached_and_the_other_one_not(nets: NetHosts, style: str) -> None:
    """Here by a host that has booted with it, there by one where it was brought up."""
    one, two = nets.hosts
    before = one.boot_id()
    for host, seat in zip(nets.hosts, nets.seats, strict=True):
        host.write(STYLES[style](seat))

    one.look("(sleep 0.5; systemctl reboot) >/dev/null 2>&1 &")
    two.look(BRINGS_UP[style])
    one.await_ssh(but=before)

    assert one.look("systemctl is-system-running", check=False).strip() == "running"
    with nets.post(LAN, f"{LAN_NET}.1/24") as lan, nets.post(OTHER, f"{LAN_NET}.2/24") as stray:
        assert lan.reaches(f"{LAN_NET}.11") and lan.reaches(f"{LAN_NET}.12")
        assert not lan.reaches(f"{OTHER_NET}.11", tries=1)
        # The right address in the wrong VLAN.
        assert not stray.reaches(f"{LAN_NET}.11", tries=3)
    for net in (LAN_NET, OTHER_NET):
        one.look(f"ping -c 1 -w 30 {net}.12")
        two.look(f"ping -c 1 -w 30 {net}.11")
    if style != "legacy":
        one.look(f"ping -M do -s 8972 -c 1 -w 30 {LAN_NET}.12")


def test_what_a_host_does_to_its_address_is_real_and_seen(nets: NetHosts) -> None:
    one, two = nets.hosts
    with Watch(one.address, name=one.name) as watch:
        assert invariants.until(lambda: any(good for _, good in watch.knocks))
        one.look(f"ip addr del {one.address}/24 dev eth0")
        two.look(f"! ping -c 3 -w 5 {one.address}")
        assert invariants.until(lambda: watch.losses)
        one.look(f"ip addr add {one.address}/24 dev eth0")
        assert invariants.until(lambda: watch.losses[0].back, PATIENCE_S)

    (loss,) = watch.losses
    assert loss.last_good is not None and loss.back is not None
    assert loss.last_good < loss.lost < loss.back
    assert f"{one.name}: last good SSH " in watch.report()


def test_a_pulled_cable_is_seen_by_the_host(nets: NetHosts) -> None:
    one, _ = nets.hosts

    one.pull_cable()
    pulled = one.look("cat /sys/class/net/eth0/carrier").strip()
    one.plug_cable()

    assert pulled == "0"
    assert one.run("true").returncode == 0


def test_a_guest_s_pings_are_counted(nets: NetHosts) -> None:
    one, _ = nets.hosts
    one.look("ip link set eth1 up && ip link add b0 type bridge && ip link set b0 up")
    one.look("ip link add eth1.999 link eth1 type vlan id 999 && ip link set eth1.999 master b0 up")
    guest = plug_guest(one, "b0", f"{LAN_NET}.101/24")
    with nets.post(LAN, f"{LAN_NET}.1/24") as post:
        assert post.reaches(guest.address)
        with Pinger(guest.address, post.pid) as quiet:
            time.sleep(3)
        with Pinger(guest.address, post.pid) as torn:
            time.sleep(1)
            one.look("ip link set eth1.999 nomaster; sleep 2; ip link set eth1.999 master b0")
            assert post.reaches(guest.address)

    assert quiet.result.sent > 5
    assert (quiet.result.lost, quiet.result.longest_gap_s) == (0, 0.0)
    assert torn.result.lost > 5
    assert torn.result.longest_gap_s > 1.5


def test_an_address_by_dhcp_comes_through_a_vlan(nets: NetHosts, tmp_path: Path) -> None:
    one, _ = nets.hosts
    one.look("ip link add eth1.999 link eth1 type vlan id 999 && ip link set eth1 up")
    with nets.post(LAN, f"{LAN_NET}.1/24") as post:
        post.serve_dhcp(tmp_path, (f"{LAN_NET}.50", f"{LAN_NET}.50"))

        one.look("dhclient -1 eth1.999")

        assert post.reaches(f"{LAN_NET}.50")


def test_management_may_have_a_tag(machine: None, tmp_path: Path) -> None:
    with NetHosts(tmp_path, [netconfigs.tagged(LAN)], vlan=LAN) as nets:
        (one,) = nets.hosts
        assert one.run("ip -br link").stdout.count("eth0.999@eth0") == 1

        with Watch(one.address) as watch:
            one.look("ip link set eth0.999 down")
            assert invariants.until(lambda: watch.losses)


def test_a_cluster_is_made_of_them_and_a_vm_hangs_on_a_bridge(
    nets: NetHosts, tashictl_argv: list[str], tmp_path: Path
) -> None:
    for host in nets.hosts:
        host.look("ip link add vmbr type bridge && ip link set vmbr up")

    tashictl = nets.cluster(tashictl_argv, tmp_path)
    tashictl.run("image", "import", str(invariants.blank_image(tmp_path)))
    made = tashictl.run("vm", "create", "web1", "--disk", invariants.IMAGE, "-o", "json").json()

    (host,) = [host for host in nets.hosts if host.name == made["host"]]
    taps = host.look("ls /sys/class/net/vmbr/brif").split()
    assert taps == [f"tashi{made['id']}.0"]


OWNER = """
import sys, time
from pathlib import Path
from tests.live.lab.nethosts import NetHosts
from tests.live.lab.born import Born
Born.settle = lambda self: print(self.pid, flush=True)
nets = NetHosts(Path(sys.argv[1]), vlan=999)
nets.up()
nets.post(7)
print(nets.lab.id, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_when_the_owner_is_killed(machine: None, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        *pids, lab_id = [owner.stdout.readline().strip() for _ in range(3)]
        assert traces.links(lab_id)
        os.kill(owner.pid, signal.SIGKILL)

    assert invariants.until(lambda: not traces.leftovers(lab_id))
    assert invariants.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_gap_is_from_answer_to_answer() -> None:
    sent = [10.0, 10.2, 10.4, 10.6, 10.8]

    assert judged(sent, frozenset(range(5))) == Pings(5, 0, 0.0)
    assert judged(sent, frozenset({0, 3, 4})) == Pings(5, 2, pytest.approx(0.6))
    assert judged(sent, frozenset()) == Pings(5, 5, pytest.approx(0.8))
    assert judged(sent, frozenset({0})) == Pings(5, 4, pytest.approx(0.8))


def test_one_bad_knock_is_no_loss_and_two_are() -> None:
    good, bad = True, False

    assert losses([(1.0, good), (1.5, bad), (2.0, good)]) == ()
    assert losses([(1.0, good), (1.5, bad), (2.0, bad), (2.5, good)]) == (Loss(1.0, 1.5, 2.5),)
    assert losses([(1.0, bad), (1.5, bad)]) == (Loss(None, 1.0, None),)


def test_a_tag_is_put_on_and_taken_off() -> None:
    frame = bytes(range(12)) + b"\x08\x00rest"

    assert tagged(frame, LAN)[12:16] == b"\x81\x00\x03\xe7"
    assert untagged(tagged(frame, LAN), LAN) == frame
    assert untagged(tagged(frame, LAN), OTHER) is None
    assert untagged(tagged(frame, LAN), 0) is None
    assert untagged(frame, 0) == frame == tagged(frame, 0)
