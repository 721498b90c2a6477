"""`host remove` on real hosts: nothing stays, whatever interrupts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

CONFIG = "connectTimeout = 2\nlockTimeout = 2\n"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts."""
    with Lab(2) as raised:
        yield raised


@pytest.fixture
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tashictl]:
    """A cluster of one host, whose disk was bare before; the hosts are wiped behind it."""
    directory = tmp_path_factory.mktemp("remove") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write(CONFIG)
    (directory / "inventory/net.yaml").write_text(
        f"defaults: {{identity_file: {lab.key}}}\n"
        "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n",
        encoding="utf-8",
    )
    yield made
    for host in lab.hosts:
        host.heal()
        host.wipe()


def add(cluster: Tashictl, host: Host) -> None:
    """Add a host that no file lists, and the image."""
    argv = ("--address", host.address, "--fingerprint", host.host_key_fingerprint)
    cluster.run("host", "add", host.name, *argv)
    clusters.import_image(cluster, invariants.blank_image(cluster.home))


def disk(host: Host) -> dict[str, tuple[int, str]]:
    """All on it, but that a folder above ours was looked at (an overlay then has a copy of it)."""
    return {path: what for path, what in host.snapshot().items() if path != "/var/lib"}


def remove(cluster: Tashictl, *more: str, fault: str = "") -> Result:
    """`host remove h1 -y -o json`."""
    env = {"TASHICTL_FAULT": fault} if fault else {}
    argv = ("host", "remove", "h1", "-y", "-o", "json", *more)
    return cluster.run(*argv, env=env, check=False)


def here(cluster: Tashictl) -> list[str]:
    """What of our side speaks of h1."""
    known = (cluster.cluster / "state/known_hosts").read_text(encoding="utf-8")
    listed = [h["name"] for h in cluster.run("host", "list", "-o", "json").json()]
    files = [p.name for p in (cluster.cluster / "inventory").iterdir() if p.name == "h1.yaml"]
    return [*listed, *files, *(["known_hosts"] if "h1 " in known else [])]


def test_a_host_that_had_vms_is_as_it_was_before(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    before = disk(host)
    add(cluster, host)
    cluster.run("vm", "create", "v1", "--disk", invariants.IMAGE)
    busy = disk(host)
    error = invariants.refused(remove(cluster), 5, "v1")
    assert error["hint"] == "tashictl vm destroy v1"
    assert disk(host) == busy
    cluster.run("vm", "destroy", "v1", "-y")
    own = host.root / "etc/qemu-ifup.7"
    own.write_text("#!/bin/sh\n# the operator's\n", encoding="utf-8")

    (gone,) = remove(cluster).json()

    assert (gone["host"], gone["images"]) == ("h1", [invariants.IMAGE])
    assert Path(gone["inventory_removed"]).name == "h1.yaml"
    assert own.exists()
    own.unlink()
    assert disk(host) == before
    assert here(cluster) == []
    add(cluster, host)  # and it comes back as new
    assert cluster.run("vm", "create", "v2", "--disk", invariants.IMAGE).rc == 0
    cluster.run("vm", "destroy", "v2", "-y")


def test_a_host_that_is_down_is_not_forgotten_but_by_force(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    add(cluster, host)
    host.pause_network()
    error = invariants.refused(remove(cluster), 6, "h1")
    assert "--force" in error["hint"]
    assert here(cluster) == ["h1", "h1.yaml", "known_hosts"]
    forced = remove(cluster, "--force")
    assert forced.json()[0]["forced"] is True
    assert "/var/lib/tashi/" in forced.json()[0]["left"]
    assert here(cluster) == []


@pytest.mark.parametrize("moment", ["before", "sent", "after"])
def test_killed_in_the_middle_the_repeat_finishes(lab: Lab, cluster: Tashictl, moment: str) -> None:
    host = lab.host("h1")
    before = disk(host)
    add(cluster, host)
    killed = remove(cluster, fault=f"ReleaseHost:{moment}:kill")
    assert killed.rc not in (0, 1), str(killed)
    (operation,) = cluster.run("op", "list", "-o", "json").json()
    assert (operation["kind"], operation["status"]) == ("host-remove", "interrupted")
    repeat = ("op", "resume", str(operation["id"])) if moment == "sent" else ()
    done = cluster.run(*repeat, check=False) if repeat else remove(cluster)
    assert done.rc == 0, str(done)
    assert disk(host) == before
    assert here(cluster) == []
    assert cluster.run("op", "list", "-o", "json").json() == []


def test_a_script_that_may_still_arrive_is_waited_for(lab: Lab, cluster: Tashictl) -> None:
    add(cluster, lab.host("h1"))
    cut = {"TASHICTL_FAULT": "StartQemu:sent:cut"}
    cluster.run("vm", "create", "v1", "--disk", invariants.IMAGE, env=cut, check=False)
    assert invariants.records(cluster) == []
    error = invariants.refused(remove(cluster), 5, "h1")
    assert error["code"] == "E-HOST-UNQUIET"
    assert "wait" in error["hint"]
    assert here(cluster) == ["h1", "h1.yaml", "known_hosts"]
