"""What is played: a good change of a host's network under a guest, and one that locks us out."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from demo.stage import Failed, Stage
from tests.live.lab.booted import Booted
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.watching import Loss, Pinger, Pings, Watch

# Short, so that nobody has to wait (it is 90 s unless it is said); more where machines are slow.
WINDOW_S, _LOOKS = 40, 8
_BACK_S = 60.0  # for the watch to see it back
# The hosts are machines in software.
_PATIENCE = "connectTimeout = 60\nstepTimeout = 120\n"
_GUEST = "10.99.9.101"
_SHOWN = "ip -br address show dev eth0; ip route; ls /etc/network/interfaces.d"
_ALL = "ip -o address | cut -d' ' -f2-7; ip route; bridge link; cat /etc/network/interfaces"


def announce() -> None:
    """What takes so long at first."""
    _say(
        "Two hosts are booted: Debian with systemd, on a management segment and a trunk of VLANs.\n"
        "That takes half a minute; the first time their disk is made, which takes a minute or two "
        "more.\n"
    )


class Story:
    """Both changes on these hosts, which are fresh."""

    def __init__(self, stage: Stage, nets: NetHosts) -> None:
        self._stage, self._nets = stage, nets
        self._one, self._two = nets.hosts
        self._look_s = 0.0  # how long a look at a host takes
        self._far = nets.lab.wiring.address(0).rpartition(".")[0].replace("10.77.", "10.78.")

    def play(self) -> None:
        """The whole story; raises Failed where something is not as it should be."""
        self._begin()
        self._good()
        pings = self._beside_a_guest()
        loss = self._deadly()
        back_s = (loss.back or 0.0) - loss.lost
        _say(
            f"\nnode1 got two VLANs, its guest lost {pings.lost} of {pings.sent} pings; "
            f"node2 was out of reach for {back_s:.0f} s and is as it was.\n"
        )

    def _begin(self) -> None:
        stage = self._stage
        stage.chapter("Two hosts, as they come: an address on eth0, nothing on eth1")
        stage.tashictl("init", str(stage.cluster))
        with (stage.cluster / "Tashi.cfg").open("a", encoding="utf-8") as config:
            config.write(_PATIENCE)
        self._inventory(self._hosts({}))
        for host in self._nets.hosts:
            stage.tashictl("host", "add", host.name, "--fingerprint", host.host_key_fingerprint)

    def _good(self) -> None:
        stage = self._stage
        stage.chapter("The inventory says what is to be: a VLAN on node1's eth1, with a bridge")
        self._inventory(self._cluster("cluster"))
        stage.tashictl("net", "list")
        stage.chapter("What differs on the host: live, and in its files. Exit code 9, for scripts")
        stage.tashictl("net", "diff", "node1", expect=9)
        stage.chapter("Apply it: armed to go back by itself, made live, proved, and only then kept")
        stage.tashictl("net", "apply", "node1", "-y")

    def _beside_a_guest(self) -> Pings:
        """The second VLAN; a guest on the first one is pinged from a machine on that VLAN."""
        stage = self._stage
        stage.chapter(f"A guest ({_GUEST}) runs on it now. Its ping goes on, 5 a second, during …")
        plug_guest(self._one, "vmbr.999", f"{_GUEST}/24")
        self._inventory(self._cluster("cluster", "lab"))
        with self._nets.post(999, "10.99.9.1/24") as post:
            if not post.reaches(_GUEST):
                raise Failed("the guest does not answer on VLAN 999")
            with Pinger(_GUEST, post.pid) as pings:
                stage.tashictl("net", "apply", "node1", "-y")
        seen = pings.result
        _say(f"{_GUEST}: {seen.sent} pings, {seen.lost} lost, longest gap {seen.longest_gap_s} s\n")
        stage.chapter("Files and live state are what the inventory says: a reboot ends here, too")
        began_s = time.monotonic()
        stage.tashictl("net", "diff", "node1")
        self._look_s = time.monotonic() - began_s
        return seen

    def _deadly(self) -> Loss:
        """A wrong address on the card by which node2 is reached."""
        stage, two = self._stage, self._two
        stage.chapter("node2 has one card for all. Somebody mistypes its address: 10.78 for 10.77")
        wrong = f"{self._far}.{two.address.rpartition('.')[2]}"
        mistake = f"uplink: eth0, networks: [site], host_addresses: [site={wrong}/24]"
        self._inventory(self._cluster("cluster", "lab", two=mistake))
        before = two.run(_ALL).stdout
        self._show(two)
        stage.chapter("Nobody notices. node2 is lost, and nobody is there to drive to it")
        began = time.strftime("%H:%M:%S")
        with Watch(two.address, name=two.name) as watch:
            window_s = max(WINDOW_S, round(_LOOKS * self._look_s))
            words = ("net", "apply", "node2", "-y", "--revert-after", str(window_s))
            stage.tashictl(*words, expect=1)
            loss = _returned(watch)
        stage.chapter(f"What somebody saw who knocked at node2's sshd twice a second from {began}")
        watch.report()
        stage.chapter("The host tells what happened, and is as before: live, and in its files")
        stage.tashictl("net", "list", "--pending", "node2")
        self._show(two)
        if two.run(_ALL).stdout != before:
            raise Failed("node2 is not as it was")
        return loss

    def _show(self, host: Booted) -> None:
        known = f"UserKnownHostsFile={host.directory}/known_hosts"
        argv = ("ssh", "-o", known, "-i", str(host.key), f"root@{host.address}", _SHOWN)
        self._stage.run(*argv)

    def _cluster(self, *networks: str, two: str = "networks: []") -> str:
        """The inventory: node1's networks by name, and what is said of node2."""
        one = f"uplink: eth1, networks: [{', '.join(networks)}]"
        lines = ["networks:", "  - {id: 999, name: cluster, vlan: 999, host_address: none}"]
        if "lab" in networks:
            lines.append("  - {id: 1001, name: lab, vlan: 1001, host_address: none}")
        if "site" in two:
            lines.append("  - {id: 1, name: site, bridge: vmbr}")
        return self._hosts({"node1": one, "node2": two}) + "\n".join((*lines, ""))

    def _hosts(self, more: Mapping[str, str]) -> str:
        lines = ["defaults: {cores: 1, memory: 400M}", "hosts:"]
        for host in self._nets.hosts:
            key = host.key.relative_to(self._stage.folder)
            said = f",\n     {more[host.name]}" if host.name in more else ""
            lines.append(f"  {host.name}:")
            lines.append(f"    {{address: {host.address}, identity_file: ~/{key}{said}}}")
        return "\n".join((*lines, ""))

    def _inventory(self, text: str) -> None:
        self._stage.show_file(self._stage.cluster / "inventory" / "lab.yaml", text)


def _returned(watch: Watch) -> Loss:
    """The one loss, once it is over; raises Failed."""
    until_s = time.monotonic() + _BACK_S
    while time.monotonic() < until_s:
        losses = watch.losses
        if losses and losses[-1].back:
            return losses[-1]
        time.sleep(0.2)
    raise Failed("node2 was never lost" if not watch.losses else "node2 is not back")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
