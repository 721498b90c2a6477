"""VMs on a network whose addresses and names are dnsmasq's, by the commands that people type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import cluster, needs
from tests.live.lab.client import Client
from tests.live.lab.dnsmasq import Dnsmasq
from tests.live.lab.hosts import Lab
from tests.live.lab.place import On
from tests.live.lab.runner import Tashictl

INVENTORY = """
networks:
  - {id: 1, name: lan, bridge: vmbr, default: true, cidr: 172.16.0.0/16, dhcp: dnsmasq,
     range: 172.16.9.1-172.16.9.3}
"""
CONFIG = """
[DhcpDns]
dnsDomain = cloud.test
dnsmasqHost = {host}
dnsmasqHostsDir = {hosts}
dnsmasqNamesDir = {names}
dnsmasqPidFile = {pid}
"""


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))
    with Lab(1) as raised:
        yield raised


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Dnsmasq]:
    with Dnsmasq(Path("/srv/dnsmasq"), at=On(lab.hosts[0]), device="vmbr") as made:
        yield made


@pytest.fixture(scope="module")
def tashictl(
    lab: Lab, server: Dnsmasq, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    folder = tmp_path_factory.mktemp("dnsmasq") / "cluster"
    made = cluster.init_cluster(lab, folder, tashictl_argv)
    path = folder / "inventory" / "lab.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(cluster.inventory(lab).partition("networks:")[0] + INVENTORY)
    with (folder / "Tashi.cfg").open("a") as config:
        config.write(
            CONFIG.format(
                host=lab.hosts[0].name,
                hosts=server.dhcp_hosts,
                names=server.names,
                pid=server.pid_file,
            )
        )
    cluster.add_host(made, lab.hosts[0])
    made.run("image", "import", str(invariants.blank_image(folder.parent)))
    return made


def test_a_vm_has_its_address_and_name_from_dnsmasq_until_it_is_destroyed(
    lab: Lab, server: Dnsmasq, tashictl: Tashictl
) -> None:
    argv = ("vm", "create", "web1", "--disk", invariants.IMAGE, "-o", "json")
    (nic,) = tashictl.run(*argv).json()["nics"]
    assert (nic["ip"], nic["fqdn"]) == ("172.16.9.1", "web1.cloud.test")
    with Client(On(lab.hosts[0]), "vmbr", nic["mac"]) as guest:
        lease = guest.lease()
        assert lease is not None
        assert (lease.address, lease.hostname) == ("172.16.9.1", "web1")
        assert guest.dig("web1.cloud.test") == ("172.16.9.1",)
        assert guest.dig_x("172.16.9.1") == ("web1.cloud.test.",)
    tashictl.run("audit")
    tashictl.run("vm", "destroy", "web1", "-y")
    at = server.at
    assert [p.name for p in at.path(server.dhcp_hosts).iterdir() if p.name[0] != "."] == []
    assert [p.name for p in at.path(server.names).iterdir() if p.name[0] != "."] == []
    tashictl.run("audit")


def test_a_full_range_is_told_with_numbers(tashictl: Tashictl) -> None:
    made = []
    for number in range(2, 9):
        argv = ("vm", "create", f"web{number}", "--disk", invariants.IMAGE)
        done = tashictl.run(*argv, check=False)
        if done.rc != 0:
            break
        made.append(f"web{number}")
    assert (done.rc, len(made)) == (8, 2)
    assert "E-RANGE-FULL" in done.err and "1 resting" in done.err
    tashictl.run("vm", "destroy", *made, "-y")
