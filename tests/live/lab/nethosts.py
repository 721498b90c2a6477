"""Booted hosts with a network that can be broken: management and a trunk, both with 802.1Q tags.

    with NetHosts(folder) as nets:              # two hosts; seconds, but for the very first time
        one, two = nets.hosts
        one.run("…")                            # over SSH, as the controller comes
        one.look("…")                           # by a line of its own: also while SSH is lost
        with nets.post(999, "10.99.9.1/24") as post, Watch(one.address) as watch:
            guest = plug_guest(one, "vmbr.999", "10.99.9.101/24")
            with Pinger(guest.address, post.pid) as pings:
                …
        pings.result.lost, pings.result.longest_gap_s, watch.losses
        watch.report()                          # last good SSH, loss, return

The hosts are node1 and node2 (more on demand), 512 MiB each, of a `config` of netconfigs.py each:
any files from birth. Each has eth0 on the management segment, where its own address is 10.77.N.11
(.12 …) and this process is the gateway 10.77.N.254, and eth1 on the trunk segment. Segments are
Linux bridges of this network namespace that pass tags untouched and frames up to 9000 bytes. What
a host does to its address, its VLAN or its links is real: nothing else leads to its sshd. With
`vlan`, management has that tag: boot with netconfigs.tagged(vlan). With `dhcp` it has a DHCP
server, nets.server, which gives each host its address for long and wants to be asked again after
RENEW_S: boot with netconfigs.leased. `lab_hosts` are hosts in namespaces besides (h1 …, 10.77.N.1
…; up in two seconds, their kernel has no VLANs): nets.lab.hosts.

Boots are dear: share a NetHosts in a module and call nets.recall() (some seconds) at the start of
each test: all is as it was after the first boot, or after a later `remember` of a host. The first
boot itself is kept in the cache, for each configuration (born.py). A reboot is real and takes 15 to
30 s, more on a busy machine: what was in /etc stays. `pull_cable` and `plug_cable` of a host are
for its cables.

All goes with this process, also when it is killed: links by the lab's janitor, machines and posts
by themselves. Several at once do not meet. A guest of tashictl's own: nets.cluster(…), then
`vm create` with the demo image; plug_guest is its stand-in without QEMU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.lab import boot, booted_image, netconfigs
from tests.live.lab.access_port import MTU
from tests.live.lab.booted import Booted
from tests.live.lab.born import Born
from tests.live.lab.hosts import Lab
from tests.live.lab.netconfigs import Config, Seat
from tests.live.lab.patient import PATIENCE, Patient
from tests.live.lab.post import DhcpServer, Post
from tests.live.lab.station import Card, Station

SSH_PORT = 22
_GATEWAY_MAC = "02:77:00:00:00:fe"
_FIRST = 10  # the last part of the address of a host with number 0
_SERVER = 253  # and that of a DHCP server
RENEW_S = 20
# A host that was kept for weeks must find its lease to be good when it wakes.
_LEASE_S = 90 * 86400
_SIZE = (512, 1)  # more cores than the machine has make it slow
NETWORKS = "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n"


class NetHosts:
    """`with NetHosts(folder) as nets:` is hosts that answer; see the module."""

    def __init__(
        self,
        folder: Path,
        configs: Sequence[Config] = (netconfigs.flat, netconfigs.flat),
        *,
        vlan: int = 0,
        dhcp: bool = False,
        lab_hosts: int = 0,
        size: tuple[int, int] = _SIZE,
    ) -> None:
        self.folder = folder
        self.lab = Lab(lab_hosts)
        self.vlan = vlan
        self.hosts: tuple[Born, ...] = ()
        self.dhcp = dhcp
        self._server: DhcpServer | None = None
        self._configs = tuple(configs)
        self._size = size
        self._posts: list[Post] = []

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def up(self) -> None:
        """Raises all; what it has made so far stays when it fails: call `close`."""
        image = booted_image.build()
        self.lab.up()
        self._wire()
        if self.dhcp:
            self._server = self._serve()
        self.hosts = tuple(
            Born(self._folder(seat.name), image, self._size, station)
            for seat, station in self._stations()
        )
        for host in self.hosts:
            host.wake()
        for host in self.hosts:
            host.settle()

    def close(self) -> None:
        """All is gone; may be called twice."""
        for host in self.hosts:
            host.close()
        for post in self._posts:
            post.close()
        self.lab.close()

    # names

    @property
    def gateway(self) -> str:
        """This process's address in the management network."""
        return self.lab.wiring.controller_address

    @property
    def server(self) -> DhcpServer:
        """The DHCP server of the management network."""
        assert self._server is not None
        return self._server

    def seat(self, number: int) -> Seat:
        """The seat of host number 1, 2 …"""
        address = self.lab.wiring.address(_FIRST + number)
        return Seat(f"node{number}", number, address, self.gateway)

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The seats of the hosts, in their order."""
        return tuple(self.seat(number) for number in range(1, len(self._configs) + 1))

    # all hosts at once

    def recall(self) -> None:
        """`recall` of each host; sshd answers."""
        for host in self.hosts:
            host.recall()
        for host in self.hosts:
            host.await_greeting()

    def reboot(self) -> None:
        """An orderly reboot of each; returns when all answer again."""
        before = {host: host.boot_id() for host in self.hosts}
        for host in self.hosts:
            # Not before it has answered.
            host.look("(sleep 0.5; systemctl reboot) >/dev/null 2>&1 &")
        for host in self.hosts:
            host.await_ssh(but=before[host])

    # cables

    def post(self, vlan: int, cidr: str = "", *, on: str = "trunk") -> Post:
        """Somebody with an address on a VLAN (0: without a tag) of `trunk` or of `mgmt`."""
        post = Post(self._segment(on), self._name("p"), vlan, cidr)
        self._posts.append(post)
        return post

    # the product

    def cluster(
        self, argv: Sequence[str], folder: Path, networks: str = NETWORKS, *, user: str = "ops"
    ) -> Patient:
        """A cluster directory with these hosts trusted, and tashictl on it; `networks` is YAML.

        The inventory is `folder`/cluster/inventory/lab.yaml; user `ops` comes with become.
        """
        home = folder / "home"
        home.mkdir()
        run = Patient(argv, folder / "cluster", home)
        run.run("init", str(run.cluster))
        with (run.cluster / "Tashi.cfg").open("a", encoding="utf-8") as config:
            config.write(PATIENCE)
        (run.cluster / "inventory").mkdir(exist_ok=True)
        text = self.inventory(user) + networks
        (run.cluster / "inventory" / "lab.yaml").write_text(text, encoding="utf-8")
        for host in self.hosts:
            run.run("host", "add", host.name, "--fingerprint", host.host_key_fingerprint)
        return run

    def inventory(self, user: str = "ops", more: str = "") -> str:
        """The hosts as inventory YAML; `more` is put into each, as `uplink: eth1`."""
        become = "" if user == "root" else ", become: true"
        extra = f", {more}" if more else ""
        lines = [
            f"  {host.name}: {{address: {host.address}, user: {user}{become}, "
            f"identity_file: {host.key}{extra}}}\n"
            for host in self.hosts
        ]
        return "hosts:\n" + "".join(lines)

    # helpers

    def _wire(self) -> None:
        wiring = self.lab.wiring
        lines = []
        for name in (wiring.mgmt_bridge, wiring.vm_bridge):
            # An address of its own choice would change with its ports.
            lines.append(f"link set {name} address {_GATEWAY_MAC} mtu {MTU}")
            lines.append(f"link set {name} type bridge mcast_snooping 0")
        for number in range(1, len(self._configs) + 1):
            for on in ("mgmt", "trunk"):
                link = self._link(on, number)
                lines.append(f"tuntap add dev {link} mode tap")
                lines.append(f"link set {link} mtu {MTU} master {self._segment(on)} up")
        if self.vlan:
            lines.append(f"addr del {self.gateway}/24 dev {wiring.mgmt_bridge}")
        boot.ip_batch(lines)
        if self.vlan:
            cidr = f"{self.gateway}/24"
            name = self._name("c")
            self._posts.append(Post(wiring.mgmt_bridge, name, self.vlan, cidr, apart=False))

    def _serve(self) -> DhcpServer:
        """A DHCP server that knows the hosts by their cards."""
        wiring = self.lab.wiring
        folder = self.folder / "dhcp"
        folder.mkdir(parents=True)
        return self.post(0, f"{wiring.address(_SERVER)}/24", on="mgmt").serve_dhcp(
            folder,
            (wiring.address(_SERVER - 3), wiring.address(_SERVER - 1)),
            "subnet 255.255.255.0",
            f"router {self.gateway}",
            f"lease {_LEASE_S}",
            f"0x3a {RENEW_S:08x}",  # the time until it is renewed (T1, RFC 2132)
            fixed={_mac(0, seat.number): seat.address for seat in self.seats},
        )

    def _stations(self) -> list[tuple[Seat, Station]]:
        found = []
        for seat, config in zip(self.seats, self._configs, strict=True):
            cards = tuple(self._card(index, seat.number) for index in (0, 1))
            files = {"etc/resolv.conf": "", **config(seat)}
            found.append((seat, Station(seat.name, seat.address, SSH_PORT, cards, files)))
        return found

    def _card(self, index: int, number: int) -> Card:
        link = self._link(("mgmt", "trunk")[index], number)
        tap = f"tap,ifname={link},script=no,downscript=no,vnet_hdr=off"
        return Card(tap, _mac(index, number))

    def _segment(self, on: str) -> str:
        wiring = self.lab.wiring
        return {"mgmt": wiring.mgmt_bridge, "trunk": wiring.vm_bridge}[on]

    def _link(self, on: str, number: int) -> str:
        wiring = self.lab.wiring
        name = {"mgmt": wiring.mgmt_link, "trunk": wiring.vm_link}[on]
        return name(_FIRST + number)

    def _name(self, letter: str) -> str:
        """A name for a post's links."""
        return f"{self.lab.wiring.mgmt_bridge[:-1]}{letter}{len(self._posts)}"

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder


def _mac(card: int, number: int) -> str:
    return f"02:77:00:00:{card:02x}:{number:02x}"


@dataclass(frozen=True, slots=True)
class Guest:
    """What stands for a guest: its TAP's name on the host and its address."""

    tap: str
    address: str


def plug_guest(host: Booted, bridge: str, cidr: str, tap: str = "tashi1.0") -> Guest:
    """Puts a guest's stand-in on a bridge: a veth named as a TAP is, the other end in a namespace.

    It answers pings and lives until the host reboots.
    """
    space = f"guest-{tap}"
    lines = [
        f"ip netns add {space}",
        f"ip link add {tap} type veth peer name eth0 netns {space}",
        f"ip link set {tap} master {bridge} up",
        f"ip -n {space} addr add {cidr} dev eth0",
        f"ip -n {space} link set lo up",
        f"ip -n {space} link set eth0 up",
    ]
    host.look(" && ".join(lines))
    return Guest(tap, cidr.partition("/")[0])
