"""The state lost, damaged or old: made anew from real hosts, while every VM runs on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl

CREATE = ("vm", "create", "--disk", invariants.IMAGE, "--memory", "128M")
KILLED = -9
SAME = ("id", "name", "uuid", "state", "wanted", "host", "user", "cores", "memory_mib")
SAME += ("disks", "nics", "hints", "machine", "created", "pid")


@pytest.fixture
def cluster(lab: Lab, tashictl_argv: list[str], tmp_path: Path) -> Iterator[Tashictl]:
    """A cluster with a VM on each of three hosts and one more, one of them paused."""
    made = invariants.blank_cluster(lab, tmp_path / "cluster", tashictl_argv)
    for number, host in enumerate(lab.hosts, 1):
        nic = f"lan:{lab.wiring.vm_subnet}.{10 + number}"
        made.run(*CREATE, f"web{number}", "--host", host.name, "--nic", nic)
    made.run("vm", "pause", "web2")
    made.run(*CREATE, "web4", "--host", "h1")
    yield made
    if not (made.cluster / "state/tashi.json").exists():
        made.run("state", "rebuild", "-y")
    for vm in invariants.records(made):
        made.run("vm", "destroy", vm["name"], "-y")
    assert invariants.complaints(lab, made) == []
    for host in lab.hosts:
        host.wipe()


def shown(cluster: Tashictl) -> list[dict[str, Any]]:
    """`vm list`, without what was only observed."""
    listed = cluster.run("vm", "list", "-o", "json").json()
    return [{key: vm[key] for key in SAME} for vm in listed]


def running(lab: Lab) -> set[tuple[str, int, str | None]]:
    return {(host.name, q.pid, q.uuid) for host in lab.hosts for q in observe(host).qemus}


def test_a_lost_state_file_is_made_anew_and_every_vm_runs_on(lab: Lab, cluster: Tashictl) -> None:
    before, alive = shown(cluster), running(lab)
    state = cluster.cluster / "state/tashi.json"
    old = state.read_bytes()
    state.unlink()

    done = cluster.run("state", "rebuild", "-y")

    assert "rebuilt: 4 VMs and 3 hosts" in done.out
    assert shown(cluster) == before
    assert running(lab) == alive
    assert cluster.run("state", "check").rc == 0
    assert cluster.run("host", "list", "-o", "json").json()[0]["name"] == "h1"

    cluster.run("vm", "destroy", "web4", "-y")
    cluster.run(*CREATE, "web5", "--host", "h2")
    assert [vm["name"] for vm in shown(cluster)] == ["web1", "web2", "web3", "web5"]

    today = state.read_bytes()
    state.write_bytes(old)
    for verb in (("vm", "destroy", "web1", "-y"), (*CREATE, "web6", "--host", "h3")):
        error = invariants.refused(cluster.run(*verb, "-o", "json", check=False), 7)
        assert error["code"] == "E-OLD-DATABASE"
        assert "state rebuild" in error["hint"]
    state.write_bytes(today)
    assert len(running(lab)) == 4


def test_with_nothing_but_the_hosts_the_vms_come_back_from_their_manifests(
    lab: Lab, cluster: Tashictl
) -> None:
    before, alive = shown(cluster), running(lab)
    folder = cluster.cluster / "state"
    keys = (folder / "known_hosts").read_bytes()
    shutil.rmtree(folder)

    refused = cluster.run("state", "rebuild", "-y", "-o", "json", check=False)
    error = invariants.refused(refused, 6, "host trust h1")
    assert error["code"] == "E-HOSTS-MISSING"

    (folder / "known_hosts").write_bytes(keys)
    (folder / "known_hosts").chmod(0o600)
    told = cluster.run("state", "rebuild", "-y", "-o", "json").json()

    assert told["base"] is None
    assert {f["kind"] for f in told["findings"]} == {"added"}
    after = shown(cluster)
    for vm in before:  # what the operator had wanted of a guest is in no manifest
        vm["state"], vm["wanted"] = "Running", "running"
    assert after == before
    assert running(lab) == alive
    cluster.run("vm", "pause", "web2")
    cluster.run(*CREATE, "web5", "--host", "h2")
    assert max(vm["id"] for vm in shown(cluster)) > max(vm["id"] for vm in before)


def test_the_replica_of_the_sweep_brings_back_what_no_manifest_says(
    lab: Lab, cluster: Tashictl
) -> None:
    cluster.run(*CREATE, "waits", "--host", "h1", "--cores", "2", check=False)
    cluster.run("sweep", check=False)
    before = shown(cluster)
    assert "Pending" in {vm["state"] for vm in before}
    for host in lab.hosts:
        (head,) = host.root.glob("var/lib/tashi/*/replica/head")
        assert head.parent.stat().st_mode & 0o777 == 0o700
    folder = cluster.cluster / "state"
    keys = (folder / "known_hosts").read_bytes()
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_bytes(keys)
    (folder / "known_hosts").chmod(0o600)

    told = cluster.run("state", "rebuild", "-y", "-o", "json").json()

    assert told["base"]["from"].startswith("the replica on h")
    assert told["findings"] == []
    assert shown(cluster) == before
    cluster.run("vm", "destroy", "waits", "-y")


def test_a_host_that_is_down_must_be_named_and_its_vms_are_kept(
    lab: Lab, cluster: Tashictl
) -> None:
    state = cluster.cluster / "state/tashi.json"
    _flip(state)
    spoilt = state.read_bytes()
    lab.host("h3").stop_sshd()
    try:
        refused = cluster.run("state", "rebuild", "-y", "-o", "json", check=False)
        error = invariants.refused(refused, 6, "--without h3")
        assert "h3" in error["message"]
        assert state.read_bytes() == spoilt
        told = cluster.run("state", "rebuild", "--without", "h3", "-y", "-o", "json").json()
        assert Path(told["kept"]).read_bytes() == spoilt
        states = {vm["name"]: vm["state"] for vm in shown(cluster)}
        assert (states["web3"], states["web1"]) == ("Orphaned", "Running")
    finally:
        lab.host("h3").start_sshd()
    cluster.run("host", "check", check=False)
    assert {vm["state"] for vm in shown(cluster)} == {"Running", "Paused"}


@pytest.mark.parametrize("point", ["MarkFences:before", "MarkFences:after", "ReplaceState:before"])
def test_killed_anywhere_the_next_rebuild_finishes(lab: Lab, cluster: Tashictl, point: str) -> None:
    before, alive = shown(cluster), running(lab)
    (cluster.cluster / "state/tashi.json").unlink()
    fault = {"TASHICTL_FAULT": f"{point}:kill"}
    assert cluster.run("state", "rebuild", "-y", env=fault, check=False).rc == KILLED
    assert not (cluster.cluster / "state/tashi.json").exists()
    cluster.run("state", "rebuild", "-y")
    assert shown(cluster) == before
    assert running(lab) == alive
    cluster.run("vm", "reset", "web1")


def test_a_dry_run_tells_all_and_changes_nothing(lab: Lab, cluster: Tashictl) -> None:
    (cluster.cluster / "state/tashi.json").unlink()
    with invariants.untouched(lab, cluster):
        shown_plan = cluster.run("state", "rebuild", "--dry-run", "-o", "json").json()
        assert [s["host"] for s in shown_plan["steps"]] == ["h1", "h2", "h3"]
        assert shown_plan["report"]["vms"] == 4
        assert "would record 4 VMs" in cluster.run("state", "rebuild", "--dry-run").out
    assert json.dumps(shown_plan).count("MarkFences") >= 3


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
