"""Audit, repair and import with a real BIND, dhcpd and QEMUs: planted faults of every kind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import needs
from tests.live.lab.bind import Bind, Record, reverse_zone
from tests.live.lab.dhcpd import Dhcpd
from tests.live.lab.hosts import Lab
from tests.live.lab.place import On
from tests.live.lab.runner import Result, Tashictl
from tests.live.lab.tsig import Key

ZONE = "cloud.test"
NAMES = ("web1", "web2", "web3")
GONE, STRANGE = (f"dead0000-0000-4000-8000-00000000000{n}" for n in (1, 2))
THEIRS = "tashictl:ffffffffffff:7c1e0000-0000-4000-8000-000000000009"
PRINTER, ROGUE = "02:16:00:00:00:09", "52:54:00:99:99:99"
CONFIG = """
connectTimeout = 6
[DhcpDns]
dnsServer = {dns}
dnsDomain = cloud.test
dnsKeyName = {key.name}
dnsSecretKey = {key.secret}
dnsKeyAlgorithm = {key.algorithm}
dnsTimeout = 1.5
dhcpServer = h1 7911
dhcpKeyName = {key.name}
dhcpSecretKey = {key.secret}
dhcpKeyAlgorithm = {key.algorithm}
dhcpTimeout = 1.5
dhcpLeases = /srv/dhcpd/dhcpd.leases
dhcpConf = /srv/dhcpd/dhcpd.conf
"""
PRETEND = (
    'bash -c \'exec -a qemu-system-x86_64 python3 -c "import time; time.sleep(300)" -uuid {uuid} '
    "-device virtio-net-pci,mac={mac} -qmp unix:/run/tashi/{cluster}/{uuid}/qmp.sock' "
    ">/dev/null 2>&1 & echo $!"
)


@dataclass
class Site:
    """A cluster of two hosts, its servers, and three VMs."""

    lab: Lab
    tashictl: Tashictl
    bind: Bind
    dhcpd: Dhcpd
    cluster: str
    vms: dict[str, dict[str, Any]]

    @property
    def net(self) -> str:
        return self.lab.wiring.vm_subnet

    @property
    def reverse(self) -> str:
        return f"{self.net}.0/24"

    def mark(self, vm: str = "") -> str:
        """The mark of a VM, or of one that is gone."""
        return f"tashictl:{self.cluster}:{self.vms[vm]['uuid'] if vm else GONE}"

    def audit(self, *words: str) -> Result:
        return self.tashictl.run("audit", *words, check=False)

    def told(self, *words: str) -> set[tuple[str, str]]:
        """What is told now, by kind and subject."""
        return {(row["kind"], row["subject"]) for row in self.audit("-o", "json", *words).json()}

    def pointer(self, number: int) -> str:
        """The name of an address."""
        return f"{number}.{reverse_zone(self.reverse)}"

    def records(self) -> set[Record]:
        return {*self.bind.records(ZONE), *self.bind.records(self.reverse)}


@pytest.fixture(scope="module")
def site(
    machine: None, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))
    folder = tmp_path_factory.mktemp("audit")
    key = Key.generate("tashi")
    with Lab(2) as lab:
        net = lab.wiring.vm_subnet
        bind = Bind(folder / "named", (ZONE, f"{net}.0/24"), (key,))
        dhcpd = Dhcpd(
            Path("/srv/dhcpd"), key, at=On(lab.host("h1")), device="vmbr", cidr=f"{net}.253/24"
        )
        with bind, dhcpd:
            cluster = folder / "cluster"
            config = CONFIG.format(dns=f"127.0.0.1 {bind.port}", key=key)
            tashictl = invariants.blank_cluster(lab, cluster, tashictl_argv, config)
            (cluster / "Tashi.cfg").chmod(0o600)
            vms = {
                name: tashictl.run(
                    *("vm", "create", name, "--disk", invariants.IMAGE, "--memory", "64M"),
                    *("--nic", f"lan:{net}.{21 + place}", "-o", "json"),
                ).json()
                for place, name in enumerate(NAMES)
            }
            text = (cluster / "Tashi.cfg").read_text(encoding="utf-8")
            own = text.split("clusterId = ")[1][:12]
            yield Site(lab, tashictl, bind, dhcpd, own, vms)
            tashictl.run("vm", "destroy", *NAMES, "-y", check=False)


def spoil_names(site: Site) -> None:
    """Missing, wrong, orphan and foreign, forward and reverse."""
    bind, net = site.bind, site.net
    bind.drop(ZONE, "web1 A", "_tashictl.web1 TXT", "web2 A", "_tashictl.web3 TXT")
    bind.put(ZONE, f"web2 60 A {net}.77", f'_tashictl.web3 60 TXT "{THEIRS}"')
    bind.put(ZONE, f"old 60 A {net}.90", f'_tashictl.old 60 TXT "{site.mark()}"')
    bind.drop(site.reverse, "21 PTR", "_tashictl.21 TXT", "22 PTR")
    bind.put(site.reverse, "22 60 PTR other.cloud.test.", "90 60 PTR old.cloud.test.")
    bind.put(site.reverse, f'_tashictl.90 60 TXT "{site.mark()}"')


def spoil_leases(site: Site) -> None:
    """The same in DHCP; the foreign one stands in dhcpd.conf."""
    dhcpd, net = site.dhcpd, site.net
    for name in ("web1", "web2"):
        dhcpd.omshell("new host", f'set name = "{name}"', "open", "remove")
    for name, owner, number in (("web2", "web2", 77), ("old", "", 90)):
        mac = site.vms["web2"]["nics"][0]["mac"] if owner else "52:54:00:00:00:90"
        lines = [f'set name = "{name}"', f"set hardware-address = {mac}", "set hardware-type = 1"]
        lines += [f'set dhcp-client-identifier = "{site.mark(owner)}/0123456789abcdef"']
        said = dhcpd.omshell("new host", *lines, f"set ip-address = {net}.{number}", "create")
        assert "hardware-type = 00:00:00:01" in said, said
    dhcpd.more = printer(site, 23)
    dhcpd.restart()


def printer(site: Site, number: int) -> str:
    """A host for dhcpd.conf."""
    return f"host printer {{ hardware ethernet {PRINTER}; fixed-address {site.net}.{number}; }}"


def spoil_host(site: Site) -> int:
    """A rogue neighbour, a TAP of nobody, a QEMU that the database does not know; its pid."""
    host, mac = site.lab.host("h1"), site.vms["web1"]["nics"][0]["mac"]
    host.run(f"ip neigh replace {site.net}.22 lladdr {ROGUE} dev vmbr nud permanent", check=True)
    host.run("ip tuntap add tashi1.7 mode tap", check=True)
    words = PRETEND.format(uuid=STRANGE, mac=mac, cluster=site.cluster)
    return int(host.run(words, check=True).stdout)


def test_faults_of_every_kind_are_told_and_ours_are_mended(site: Site) -> None:
    assert site.told() == set()
    theirs = [f"theirs 60 A {site.net}.91", f'_tashictl.theirs 60 TXT "{THEIRS}"']
    site.bind.put(ZONE, *theirs, f"www 60 A {site.net}.92")
    site.bind.put(site.reverse, "92 60 PTR www.cloud.test.")
    assert site.told() == set()
    untouched = {r for r in site.records() if "theirs" in r.name or "www" in r.name + r.data}

    spoil_names(site)
    spoil_leases(site)
    pid = spoil_host(site)
    untouched |= {r for r in site.records() if r.name.endswith("web3.cloud.test.")}
    mac = site.vms["web1"]["nics"][0]["mac"]
    mine = {
        *(("dns-missing", "web1.cloud.test"), ("dns-wrong", "web2.cloud.test")),
        *(("dns-orphan", "old.cloud.test"), ("ptr-missing", site.pointer(21))),
        *(("ptr-wrong", site.pointer(22)), ("ptr-orphan", site.pointer(90))),
        *(("dhcp-missing", "web1"), ("dhcp-wrong", "web2"), ("dhcp-orphan", "old")),
    }
    yours = {
        *(("dns-foreign", "web3.cloud.test"), ("dhcp-foreign", "web3")),
        *(("address-taken", f"{site.net}.22"), ("mac-unknown", mac), ("mac-twice", mac)),
        ("tap-orphan", "tashi1.7"),
    }
    assert site.told() == mine | yours

    dry = site.audit("--repair", "--dry-run")
    assert dry.rc == 9
    assert "remove old.cloud.test" in dry.out
    assert site.told() == mine | yours

    done = site.audit("--repair")
    assert done.rc == 9, done
    assert f"{len(mine)} mended, {len(yours)} disagree" in done.out
    assert "in 15 s" in done.err
    assert site.told() == yours
    assert untouched <= site.records()
    assert site.bind.dig("web2.cloud.test") == (f"{site.net}.22",)
    assert site.bind.dig_x(f"{site.net}.22") == ("web2.cloud.test.",)
    again = site.audit("--repair", "-o", "json")
    assert [row for row in again.json() if row["mended"]] == []
    assert "remove" not in again.err

    put_right(site, pid)
    assert site.told() == {("dns-missing", "web3.cloud.test")}
    assert site.audit("--repair").rc == 0
    last = site.audit()
    assert (last.rc, last.err) == (0, "")
    assert "nothing disagrees" in last.out


def put_right(site: Site, pid: int) -> None:
    """What only people can do."""
    site.bind.drop(ZONE, "web3 A", "_tashictl.web3 TXT")
    site.dhcpd.more = ""
    site.dhcpd.restart()
    site.lab.host("h1").run(
        f"kill {pid}; ip link del tashi1.7; ip neigh del {site.net}.22 dev vmbr", check=True
    )


def test_addresses_of_others_are_reserved_until_they_are_gone(site: Site) -> None:
    site.bind.put(ZONE, f"mail 60 A {site.net}.60")
    site.dhcpd.more = (
        f"host printer {{ hardware ethernet {PRINTER}; fixed-address {site.net}.61; }}"
    )
    site.dhcpd.restart()
    site.tashictl.run("audit", "--import")
    taken = site.tashictl.run(
        *("vm", "create", "late", "--disk", invariants.IMAGE, "--nic", f"lan:{site.net}.61"),
        check=False,
    )
    assert taken.rc == 5, taken
    assert "in DHCP: printer" in taken.err
    site.bind.drop(ZONE, "mail A")
    rows = json.loads(site.tashictl.run("audit", "--import", "-o", "json").out)
    changes = {row["ip"]: row["change"] for row in rows}
    assert changes[f"{site.net}.60"] == "release"
    assert changes[f"{site.net}.61"] == "keep"
