"""Worlds that are not as the database thinks: old copies, other clusters, wrong clocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tashictl.adapters.sim.host import File, SimHost
from tests.sim.cases import parse
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.play import play
from tests.sim.things import SETTINGS, traces_on

OLD = "E-OLD-DATABASE"
CLUSTER_FILE = f"{SETTINGS.tashictl.lib_dir}/cluster"
SMALL = {"disks": ("base.qcow2",)}
CHANGES: dict[str, Callable[[Controller], str]] = {
    "create": lambda c: c.create("new", **SMALL),
    "destroy one that runs": lambda c: c.destroy("stays"),
    "destroy one that is gone": lambda c: c.destroy("leaves"),
    "resume": lambda c: c.resume(),
    "undo": lambda c: c.undo(),
    "schedule": lambda c: c.schedule(),
    "import": lambda c: c.bring(),
    "sweep": lambda c: c.sweep(),
}


def what_is_there(host: SimHost) -> tuple[object, ...]:
    files = {p: f.text for p, f in host.files.items() if "/fence/" not in p}
    return (files, dict(host.taps), {(p.pid, p.uuid) for p in host.processes.values()})


def an_old_copy(cluster: Cluster, *, interrupted: bool, journals: bool) -> None:
    """Two VMs; then a copy is made, one VM is destroyed, another made, and the copy put back."""
    assert cluster.controller().create("stays", **SMALL) == "ok"
    assert cluster.controller().create("leaves", **SMALL) == "ok"
    if interrupted:
        (command,) = parse("create/StartQemu/done/kill").commands
        assert cluster.controller(command.faults).create() == "killed"
        cluster.run_out()
    copy = f"{cluster.folder}.copy"
    shutil.copytree(cluster.folder, copy)
    assert cluster.controller().destroy("leaves") == "ok"
    assert cluster.controller().create("later", **SMALL) == "ok"
    if interrupted:
        assert cluster.controller().destroy() == "ok"
    if journals:
        shutil.rmtree(cluster.folder)
        shutil.copytree(copy, cluster.folder)
    else:
        shutil.copy(f"{copy}/tashi.json", f"{cluster.folder}/tashi.json")
    shutil.rmtree(copy)


@pytest.mark.parametrize("journals", [False, True], ids=["state only", "journals too"])
@pytest.mark.parametrize("change", CHANGES)
def test_with_a_state_file_of_yesterday_no_change_is_made(change: str, journals: bool) -> None:
    interrupted = change in ("resume", "undo")
    with a_cluster(1, hosts=1) as cluster:
        an_old_copy(cluster, interrupted=interrupted, journals=journals)
        (host,) = cluster.hosts
        before = what_is_there(host)
        outcome = CHANGES[change](cluster.controller())
        assert outcome == (OLD if change != "schedule" else "ok"), outcome
        assert what_is_there(host) == before
        assert [p for p in cluster.watch.problems if "double" in p or "came back" in p] == []


def test_a_state_file_that_lacks_a_single_operation_is_noticed_by_the_host_of_it() -> None:
    with a_cluster(1, hosts=1) as cluster:
        assert cluster.controller().create("stays", **SMALL) == "ok"
        copy = f"{cluster.folder}.copy"
        shutil.copytree(cluster.folder, copy)
        assert cluster.controller().create("later", **SMALL) == "ok"
        shutil.rmtree(cluster.folder)
        shutil.move(copy, cluster.folder)
        (host,) = cluster.hosts
        before = what_is_there(host)
        for verb in ("create", "destroy one that runs", "create"):
            assert CHANGES[verb](cluster.controller()) == OLD
        assert what_is_there(host) == before


def test_an_old_copy_that_has_caught_up_on_another_host_is_noticed_where_it_lacks_something() -> (
    None
):
    with a_cluster(1, hosts=2) as cluster:
        first, second = (host.name for host in cluster.hosts)
        copy = f"{cluster.folder}.copy"
        assert cluster.controller().create("stays", host=second, **SMALL) == "ok"
        shutil.copytree(cluster.folder, copy)
        assert cluster.controller().create("lost", host=first, **SMALL) == "ok"
        shutil.rmtree(cluster.folder)
        shutil.move(copy, cluster.folder)
        before = what_is_there(cluster.hosts[0])
        for name in ("one", "two"):  # these take the ids that the copy has forgotten
            assert cluster.controller().create(name, host=second, **SMALL) == "ok"
        assert cluster.controller().create("three", host=first, **SMALL) == OLD
        assert cluster.state().meta.stale
        assert what_is_there(cluster.hosts[0]) == before


def test_a_host_that_has_proved_the_database_old_stops_changes_on_all_hosts() -> None:
    with a_cluster(1, hosts=1) as cluster:
        an_old_copy(cluster, interrupted=False, journals=True)
        assert cluster.controller().create("new", **SMALL) == OLD
        assert cluster.state().meta.stale
        sent = len(cluster.network.sent)
        assert cluster.controller().create("newer", **SMALL) == OLD
        assert cluster.controller().destroy("stays") == OLD
        assert len(cluster.network.sent) == sent


@pytest.mark.parametrize("offset_s", [-3000.0, -40.0, 40.0, 3000.0])
def test_a_host_whose_clock_has_jumped_since_it_was_asked_still_takes_a_vm(offset_s: float) -> None:
    with a_cluster(2) as cluster:
        for host in cluster.hosts:
            host.offset_s = offset_s
        assert cluster.controller().create() == "ok"
        assert cluster.controller().destroy() == "ok"
        assert cluster.watch.problems == []


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("deadbeef0000 1 1 x them@there", "E-FOREIGN"),
        (f"{SETTINGS.tashictl.cluster_id} 2 0 x dev@old", OLD),
        (f"{SETTINGS.tashictl.cluster_id} 1 99 x dev@old", OLD),
    ],
    ids=["another cluster", "a later epoch", "a higher counter"],
)
def test_a_host_that_others_hold_is_left_as_it_is(line: str, outcome: str) -> None:
    with a_cluster(3, hosts=1) as cluster:
        (host,) = cluster.hosts
        host.files[CLUSTER_FILE] = File(line)
        before = what_is_there(host)
        assert cluster.controller().create() == outcome
        assert what_is_there(host) == before
        assert cluster.state().vms == {}
        assert cluster.watch.problems == []


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (('"generation":1', '"generation":7'), OLD),
        (('"uuid":"', '"uuid":"0'), "E-MANIFEST"),
    ],
    ids=["a newer generation", "another uuid"],
)
def test_a_folder_with_an_unexpected_manifest_is_not_destroyed(
    change: tuple[str, str], outcome: str
) -> None:
    with a_cluster(4, hosts=1) as cluster:
        assert cluster.controller().create() == "ok"
        (host,), vm = cluster.hosts, cluster.state().vm_named("web")
        assert vm is not None
        (path,) = [p for p in host.files if p.endswith(f"{vm.uuid}/manifest.json")]
        host.files[path].text = host.files[path].text.replace(*change)
        before = traces_on(host, vm.uuid, vm.id)
        assert cluster.controller().destroy() == outcome
        assert traces_on(host, vm.uuid, vm.id) == before


def test_an_operators_own_ifup_script_is_used_and_kept() -> None:
    with a_cluster(5) as cluster:
        for host in cluster.hosts:
            host.files["/etc/qemu-ifup.1"] = File("#!/bin/sh\n# mine\n")
        assert cluster.controller().create() == "ok"
        assert cluster.controller().destroy() == "ok"
        assert {h.text("/etc/qemu-ifup.1") for h in cluster.hosts} == {"#!/bin/sh\n# mine\n"}


def test_a_vm_that_cannot_be_reached_keeps_its_name_and_its_claim() -> None:
    with a_cluster(6, hosts=1) as cluster:
        assert cluster.controller().create() == "ok"
        (host,) = cluster.hosts
        host.reachable = False
        assert cluster.controller().destroy() == "E-TCP-TIMEOUT"
        vm = cluster.state().vm_named("web")
        assert vm is not None and vm.host == host.name
        assert cluster.controller().create() in ("E-TCP-TIMEOUT", "E-EXISTS")
        host.reachable = True
        assert cluster.controller().destroy() == "ok"
        assert cluster.watch.problems == []


@pytest.mark.parametrize(
    "case",
    [
        "seeded+crash+start+check",
        "seeded+crash+start/AwaitQmp/before/kill+start",
        "seeded+crash+start/StartQemu/sent/full+start",
        "create+crash+start+pause+unpause+shutdown",
        "create+crash+start+crash+start/WriteManifest/sent/kill+undo+start+destroy",
        "create+crash+start/CheckDisk/sent/reboot+start",
    ],
)
def test_what_has_exited_goes_on_with_its_own_disks(case: str) -> None:
    assert play(parse(case), 1).problems == ()
