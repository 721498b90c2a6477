"""The old sites' Agent.cfg on real servers: a guest's address and name, everywhere the same.

BIND and dhcpd are on a host of the lab, at the addresses of Tashi's guide.
"""

from __future__ import annotations

import fcntl
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import cluster, needs
from tests.live.lab.bind import Bind, Zone
from tests.live.lab.client import Client
from tests.live.lab.dhcpd import Dhcpd
from tests.live.lab.hosts import Lab
from tests.live.lab.place import On
from tests.live.lab.runner import Tashictl
from tests.live.lab.tsig import Key

DOMAIN = "bigdata.research.intel-research.net"
SERVER = "172.16.0.5"
NETWORK = "172.16.0.0/16"
BOOT_S = 90.0
KILLED = -signal.SIGKILL
INVENTORY = """
networks:
  - {id: 999, name: cluster, bridge: vmbr, default: true, cidr: 172.16.0.0/16, dns: [172.16.0.5]}
"""
AGENT = """\
[DhcpDns]
dnsKeyFile = {pair}
dnsServer = 172.16.0.5 53
dnsDomain = bigdata.research.intel-research.net
dnsExpire = 60
dhcpServer = {dhcp}
dhcpKeyName = merkabah
dhcpSecretKey = {secret}
ipRange999 = 172.16.192.1-172.16.255.254
ipRange1001 = 172.16.1.10-172.16.1.19
reverseDns = True
dnsTimeout = 3
dhcpTimeout = 3
{more}
"""


@dataclass
class Site:
    """A cluster with its servers; `agent` writes its Agent.cfg anew."""

    lab: Lab
    tashictl: Tashictl
    bind: Bind
    dhcpd: Dhcpd
    key: Key
    pair: Path

    def agent(self, more: str = "", dhcp: str = SERVER) -> None:
        path = self.tashictl.cluster / "Agent.cfg"
        path.write_text(AGENT.format(pair=self.pair, secret=self.key.secret, dhcp=dhcp, more=more))
        path.chmod(0o600)

    def create(self, name: str, *more: str) -> dict[str, Any]:
        argv = ("vm", "create", name, "--disk", invariants.IMAGE, *more, "-o", "json")
        made: dict[str, Any] = self.tashictl.run(*argv).json()
        return made

    def fails(self, *argv: str) -> tuple[int, str]:
        done = self.tashictl.run(*argv, check=False)
        return done.rc, done.err

    def guest(self, nic: dict[str, Any]) -> Client:
        """A stand-in for the guest behind an interface: the image of its VM has no system."""
        return Client(On(self.lab.hosts[1]), "vmbr", nic["mac"])

    def nothing_is_left(self) -> bool:
        zones = (DOMAIN, NETWORK)
        left = [r for zone in zones for r in self.bind.records(zone) if "ns." not in r.name]
        hosts = [line for line in self.dhcpd.leases_text().splitlines() if "host web" in line]
        gone = self.dhcpd.leases_text().count("deleted;")
        return left == [] and len(hosts) <= 2 * gone


@pytest.fixture(scope="module", autouse=True)
def tools(machine: None) -> None:
    """Skips where a server is missing."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))


@pytest.fixture(scope="module")
def site(
    guest_image: Path, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("names")
    key = Key.generate("merkabah", "hmac-md5")
    with _alone(), Lab(2) as lab:
        tashictl = cluster.init_cluster(lab, folder / "cluster", tashictl_argv)
        text = cluster.inventory(lab).partition("networks:")[0] + INVENTORY
        path = folder / "cluster" / "inventory" / "lab.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        for host in lab.hosts:
            cluster.add_host(tashictl, host)
        cluster.import_image(tashictl, guest_image)
        tashictl.run("image", "import", str(invariants.blank_image(folder)))
        at = On(lab.hosts[0])
        options = {"domain-name": f'"{DOMAIN}"', "domain-name-servers": SERVER}
        zones = (DOMAIN, Zone(NETWORK))
        with (
            Dhcpd(Path("/srv/dhcpd"), key, at=at, device="vmbr", cidr=f"{SERVER}/16",
                  options=options) as dhcpd,
            Bind(Path("/srv/named"), zones, (key,), at=at) as bind,
            _route(lab.hosts[0].address),
        ):  # fmt: skip
            pair = key.write_pair(folder)
            made = Site(lab, tashictl, bind, dhcpd, key, pair)
            made.agent()
            yield made


class _alone:
    """The guide's addresses are there once: two such modules at a time would meet."""

    def __enter__(self) -> None:
        self._file = Path("/run/lock/tashictl-lab-172.16").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _route:
    """The controller reaches the servers, which are on a host's bridge, through that host."""

    def __init__(self, via: str) -> None:
        self._words = [f"{SERVER}/32", "via", via]

    def __enter__(self) -> None:
        subprocess.run(["ip", "route", "replace", *self._words], check=True)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "route", "del", *self._words], check=False)


def test_a_guest_has_the_address_and_the_name_that_the_database_says_everywhere(
    site: Site,
) -> None:
    argv = ("vm", "create", "web1", "--disk", "demo.qcow2", "--memory", "128", "-o", "json")
    vm = site.tashictl.run(*argv).json()
    nic = vm["nics"][0]
    name, address = f"web1.{DOMAIN}", nic["ip"]
    assert (nic["fqdn"], address) == (name, "172.16.192.1")
    said = site.dhcpd.omshell("new host", 'set name = "web1"', "open")
    assert nic["mac"] in said and "ac:10:c0:01" in said
    assert site.bind.dig(name) == (address,)
    assert site.bind.dig_x(address) == (f"{name}.",)

    log = _console(site.lab, vm)
    wanted = f"DHCP eth0 {address} router={SERVER} host=web1"
    _await(log, wanted)
    other = site.create("web2")
    with site.guest(other["nics"][0]) as guest:
        lease = guest.lease()
        assert lease is not None
        assert (lease.address, lease.hostname, lease.domain) == (
            *(other["nics"][0]["ip"], "web2", DOMAIN),
        )
        assert guest.dig(name) == (address,)  # as one guest sees the other
        assert guest.dig_x(address) == (f"{name}.",)
    site.tashictl.run("vm", "destroy", "web1", "web2", "-y")
    assert site.nothing_is_left()
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    site.tashictl.run("audit")


def test_a_name_that_somebody_else_has_is_refused_and_stays(site: Site) -> None:
    site.bind.put(DOMAIN, "web3 60 A 172.16.9.9")
    code, said = site.fails("vm", "create", "web3", "--disk", invariants.IMAGE)
    assert code == 5, said
    assert "E-DNS-FOREIGN" in said and "172.16.9.9" in said
    assert site.bind.dig(f"web3.{DOMAIN}") == ("172.16.9.9",)
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    site.bind.drop(DOMAIN, "web3 A")
    assert site.nothing_is_left()


@pytest.mark.parametrize("server", ["bind", "dhcpd"])
def test_a_creation_fails_cleanly_while_a_required_server_is_down(site: Site, server: str) -> None:
    daemon = getattr(site, server)
    daemon.stop()
    code, said = site.fails("vm", "create", "web4", "--disk", invariants.IMAGE)
    daemon.start()
    assert code == 6, said
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    assert site.nothing_is_left()


def test_an_update_that_a_frozen_server_does_later_is_taken_back(site: Site) -> None:
    site.agent(f"dnsZones = {DOMAIN}, 16.172.in-addr.arpa")  # no question goes before the update
    site.bind.freeze()
    code, said = site.fails("vm", "create", "web5", "--disk", invariants.IMAGE)
    assert code in (1, 6), said
    (tombstone,) = site.tashictl.run("vm", "list", "-o", "json").json()
    assert tombstone["name"] == "web5"
    site.bind.thaw()
    site.tashictl.run("sweep", "--quiet", check=False)
    site.agent()
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    assert site.nothing_is_left()


def test_deferred_work_is_done_by_the_next_sweep_and_told_until_then(site: Site) -> None:
    site.agent("dns = deferred\ndhcp = deferred")
    site.bind.stop()
    vm = site.create("web6")
    assert vm["state"] == "Running"
    status = site.tashictl.run("status", "-o", "json").json()
    assert status["deferred"] == 1
    assert any(line["kind"] == "deferred" for line in status["attention"])
    site.bind.start()
    site.tashictl.run("sweep", "--quiet", check=False)
    assert site.bind.dig(f"web6.{DOMAIN}") == (vm["nics"][0]["ip"],)
    assert site.tashictl.run("status", "-o", "json").json()["deferred"] == 0

    site.bind.stop()
    site.tashictl.run("vm", "destroy", "web6", "-y")
    site.bind.start()
    site.tashictl.run("sweep", "--quiet", check=False)
    site.agent()
    assert site.nothing_is_left()


def test_the_server_on_a_host_is_reached_through_ssh(site: Site) -> None:
    site.agent(f"dhcpLeases = {site.dhcpd.leases}", dhcp=site.lab.hosts[0].name)
    vm = site.create("web7")
    assert vm["nics"][0]["mac"] in site.dhcpd.leases_text()
    site.tashictl.run("audit")  # which reads the leases file there
    site.tashictl.run("vm", "destroy", "web7", "-y")
    site.tashictl.run("audit")
    site.agent()
    assert site.nothing_is_left()


def test_no_secret_is_in_the_state_a_journal_or_a_dry_run(site: Site) -> None:
    done = site.tashictl.run("vm", "create", "web8", "--disk", invariants.IMAGE, "--dry-run")
    assert "AddDns" in done.out and "AddDhcp" in done.out
    assert site.key.secret not in done.out + done.err
    site.create("web8")
    state = site.tashictl.cluster / "state"
    held = [p for p in state.rglob("*") if p.is_file()]
    assert not [p for p in held if site.key.secret.encode() in p.read_bytes()]
    site.tashictl.run("vm", "destroy", "web8", "-y")
    assert site.nothing_is_left()


def _await(log: Path, wanted: str) -> None:
    """Returns when the guest has said it."""

    def said() -> str:
        lines = log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("HB "))

    assert invariants.until(lambda: wanted in said(), BOOT_S), said()[-2000:]


def _console(lab: Lab, vm: dict[str, Any]) -> Path:
    folder = Path(vm["disks"][0]["path"]).parent
    return lab.host(vm["host"]).root / str(folder).lstrip("/") / "console.log"


@pytest.mark.parametrize(
    "point", ["AddDhcp:before", "AddDhcp:after", "AddDns:sent", "AddDns:after"]
)
def test_a_creation_that_is_killed_at_a_server_is_taken_back_by_the_next_sweep(
    site: Site, point: str
) -> None:
    argv = ("vm", "create", "web9", "--disk", invariants.IMAGE)
    done = site.tashictl.run(*argv, check=False, env={"TASHICTL_FAULT": f"{point}:kill"})
    assert done.rc == KILLED, done
    site.tashictl.run("sweep", "--quiet", check=False)
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    assert site.nothing_is_left()


@pytest.mark.parametrize("point", ["RemoveDns:before", "RemoveDns:after", "RemoveDhcp:after"])
def test_a_removal_that_is_killed_at_a_server_is_clean_after_one_repair(
    site: Site, point: str
) -> None:
    site.create("web10")
    argv = ("vm", "destroy", "web10", "-y")
    done = site.tashictl.run(*argv, check=False, env={"TASHICTL_FAULT": f"{point}:kill"})
    assert done.rc == KILLED, done
    site.tashictl.run("audit", "--repair", check=False)
    site.tashictl.run("audit")
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    assert site.nothing_is_left()


def test_net_verify_says_that_the_servers_do_and_which_pool_does_not(site: Site) -> None:
    host = site.lab.hosts[0].name
    site.agent("dhcpConf = /srv/dhcpd/dhcpd.conf\nleaseTime = 600", dhcp=host)
    conf = site.lab.hosts[0].root / "srv/dhcpd/dhcpd.conf"
    before = conf.read_text()

    def verified() -> dict[str, str]:
        done = site.tashictl.run("net", "verify", "cluster", "-o", "json", check=False)
        rows = done.json()
        names = [row for row in rows if row["host"] in (None, SERVER, host)]
        return {row["check"]: row["verdict"] for row in names if row["network"]}

    good = verified()
    conf.write_text(
        f"{before}\nsubnet 172.16.192.0 netmask 255.255.255.0 {{ range 172.16.192.9; }}"
    )
    bad = verified()
    conf.write_text(before)
    site.agent()

    checks = ("range", "dns", "dns key", "clock", "zone", "update", "reverse", "dhcp", "dhcp key")
    checks = (*checks, "subnet", "pools", "hosts", "lease time", "search")
    assert {check: good.get(check) for check in checks} == dict.fromkeys(checks, "ok")
    assert bad["pools"] == "wrong"
    assert site.nothing_is_left()


def test_an_address_that_somebody_has_is_given_to_no_vm(site: Site) -> None:
    site.agent("probeAddresses = True")
    argv = ("vm", "create", "web11", "--disk", invariants.IMAGE, "--nic", "cluster:172.16.200.7")
    with Client(On(site.lab.hosts[1]), "vmbr", "02:16:00:00:00:77") as squatter:
        squatter.run("ip addr add 172.16.200.7/16 dev eth0; ip link set eth0 up", check=True)
        code, said = site.fails(*argv)
    assert code == 1, said
    assert "172.16.200.7 on cluster is in use: 02:16:00:00:00:77 answers" in said
    assert site.tashictl.run("vm", "list", "-o", "json").json() == []
    assert site.nothing_is_left()

    code, said = site.fails(*argv)
    assert code == 5, said  # in quarantine
    site.create("web11")
    site.tashictl.run("vm", "destroy", "web11", "-y")
    site.agent()
    assert site.nothing_is_left()


def test_a_sweep_learns_an_address_that_a_guest_has_from_somebody_else(site: Site) -> None:
    vm = site.create("web12", "--host", site.lab.hosts[0].name)
    nic = vm["nics"][0]
    with Client(On(site.lab.hosts[0]), "vmbr", nic["mac"]) as guest:
        guest.run("ip addr add 172.16.99.9/16 dev eth0; ip link set eth0 up", check=True)
        guest.run(f"{needs.BUSYBOX} ping -c 3 -W 5 {SERVER}", check=True)
        site.tashictl.run("sweep", "--quiet", check=False)
    (shown,) = site.tashictl.run("vm", "show", "web12", "-o", "json").json()["nics"]
    assert (shown["ip"], shown["learnt"]) == (nic["ip"], ["172.16.99.9"])
    site.tashictl.run("vm", "destroy", "web12", "-y")
    assert site.nothing_is_left()
