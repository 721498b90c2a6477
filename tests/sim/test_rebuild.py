"""The state is lost and made anew, while scripts of the old epoch are still on their way."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters.locks import FileLocks
from tashictl.adapters.sim.faults import Planned
from tashictl.adapters.store.whole import WholeStateFile
from tashictl.model.sighting import Sighting
from tashictl.model.vm import TashiState
from tashictl.ops import rebuild as ops
from tashictl.ops import replica
from tests.sim.cases import parse
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.play import check_owned, replay
from tests.sim.things import NAME, SETTINGS, traces_on

SMALL = {"disks": ("base.qcow2",)}
LIB = SETTINGS.tashictl.lib_dir
FAR_S = 4_000_000_000


def rebuild(controller: Controller, *without: str) -> str:
    """`state rebuild -y`."""
    cluster = controller.cluster
    locks = FileLocks(f"{cluster.folder}/locks", cluster.timeline, "dev@ws", 10.0)
    file = WholeStateFile(cluster.folder, locks, cluster.timeline)

    def do() -> None:
        file.make_folders()
        found = ops.survey(controller.world, controller.context, file, without)
        ops.carry_out(controller.world, controller.context, file, found)

    return controller.command(do)


def spread(controller: Controller) -> str:
    """What the sweep does with the replica."""
    seen = {}
    for host in controller.cluster.hosts:
        name, epoch, counter = host.text(f"{LIB}/cluster").split()[:3]
        head = host.text(f"{LIB}/{name}/replica/head").split()
        seen[host.name] = Sighting(
            at="2026-03-01T12:00:00Z",
            claim=(name, int(epoch), int(counter)),
            replica=(int(head[0]), int(head[1]), head[2]) if head else None,
        )
    return controller.command(partial(replica.spread, controller.world, controller.context, seen))


def lose(cluster: Cluster) -> None:
    """The whole state folder is gone."""
    shutil.rmtree(cluster.folder)
    Path(cluster.folder).mkdir(mode=0o700)


def faults(text: str) -> tuple[Planned, ...]:
    (command,) = parse(f"x/{text}").commands
    return command.faults


def running(cluster: Cluster) -> set[tuple[str, str]]:
    return {(h.name, p.uuid) for h in cluster.hosts for p in h.processes.values() if not p.foreign}


def recorded(cluster: Cluster) -> dict[str, tuple[int, str, str | None, TashiState]]:
    vms = cluster.state().vms.values()
    return {vm.name: (vm.id, vm.uuid, vm.host, vm.state) for vm in vms}


@pytest.mark.parametrize("kept", [True, False], ids=["with replica", "manifests alone"])
def test_a_lost_state_comes_back_and_the_cluster_goes_on(kept: bool) -> None:
    with a_cluster(1) as cluster:
        for name, host in (("one", "node1"), ("two", "node2")):
            assert cluster.controller().create(name, host=host, **SMALL) == "ok"
        if kept:
            assert spread(cluster.controller()) == "ok"
        before, alive = recorded(cluster), running(cluster)
        lose(cluster)
        assert rebuild(cluster.controller()) == "ok"
        assert recorded(cluster) == before
        assert running(cluster) == alive
        assert cluster.controller().destroy("one") == "ok"
        assert cluster.controller().create("three", **SMALL) == "ok"
        cluster.run_out()
        check_owned(cluster)
        assert cluster.watch.problems == []


LATE = [
    f"~create/{step}/before/{kind}"
    for step in ("WriteManifest", "CreateOverlay", "AddTap", "StartQemu")
    for kind in ("late", "lost")
]
KILLED = [
    f"create/{step}/{moment}/kill"
    for step in ("WriteManifest", "CreateOverlay", "StartQemu", "AwaitQmp")
    for moment in ("before", "after")
]


@pytest.mark.parametrize("kept", [True, False], ids=["with replica", "manifests alone"])
@pytest.mark.parametrize("case", [*LATE, *KILLED])
def test_a_script_of_the_old_epoch_that_comes_late_does_nothing(case: str, kept: bool) -> None:
    with a_cluster(1) as cluster:
        for name, host in (("other", "node1"), ("others", "node2")):
            assert cluster.controller().create(name, host=host, **SMALL) == "ok"
        (command,) = parse(case).commands
        split_at = command.faults[0].point.step if command.alone else None
        cluster.controller(command.faults, split_at=split_at).create(**SMALL)
        cluster.heal()
        if kept:
            assert spread(cluster.controller()) == "ok"
        lose(cluster)
        assert rebuild(cluster.controller()) == "ok"
        before = _there(cluster)
        _deliver_held(cluster)
        replay(cluster)
        assert _there(cluster) == before
        _converge(cluster)


def _deliver_held(cluster: Cluster) -> None:
    """What was held up arrives, as if its time had not passed: the fence alone holds."""
    held, cluster.network.held = cluster.network.held, []
    for host, script in held:
        assert script.fence is not None
        fence = replace(script.fence, not_after_s=FAR_S)
        cluster.network.deliver(host, replace(script, fence=fence))
        cluster.run_out()


def _there(cluster: Cluster) -> list[tuple[str, list[str]]]:
    ids = cluster.commits.seen_ids
    return [(h.name, sorted(traces_on(h, ids[i], i))) for h in cluster.hosts for i in ids]


def _converge(cluster: Cluster) -> None:
    """Everything that is recorded can be destroyed, and then nothing is there."""
    for vm in list(cluster.state().vms.values()):
        assert cluster.controller().destroy(str(vm.id)) == "ok"
    cluster.run_out()
    assert [found for _, found in _there(cluster) if found] == []
    assert cluster.controller().create("next", **SMALL) == "ok"
    new = cluster.state().vm_named("next")
    assert new is not None
    assert list(cluster.commits.seen_ids).count(new.id) == 1
    assert [p for p in cluster.watch.problems if "given out twice" not in p] == []


def test_an_old_copy_is_refused_by_every_host_afterwards() -> None:
    with a_cluster(1) as cluster:
        for name, host in (("one", "node1"), ("two", "node2")):
            assert cluster.controller().create(name, host=host, **SMALL) == "ok"
        copy = Path(f"{cluster.folder}/tashi.json").read_bytes()
        assert rebuild(cluster.controller()) == "ok"
        Path(f"{cluster.folder}/tashi.json").write_bytes(copy)
        for host in ("node1", "node2"):
            assert cluster.controller().create("new", host=host, **SMALL) == "E-OLD-DATABASE"
        assert cluster.controller().destroy("one") == "E-OLD-DATABASE"
        assert rebuild(cluster.controller()) == "ok"
        assert cluster.controller().destroy("one") == "ok"


POINTS = [f"MarkFences{nth}/{m}" for nth in ("", ".2") for m in ("before", "sent", "done", "after")]
KINDS = ("kill", "int", "down", "reboot")
INTERRUPTIONS = [(point, kind) for point in POINTS for kind in KINDS]
# No host has a part in the replacement itself.
INTERRUPTIONS += [(f"ReplaceState/{m}", k) for m in ("before", "after") for k in ("kill", "int")]


@pytest.mark.parametrize(("point", "kind"), INTERRUPTIONS)
def test_whatever_interrupts_a_rebuild_the_next_one_finishes_it(point: str, kind: str) -> None:
    with a_cluster(1) as cluster:
        for name, host in (("one", "node1"), ("two", "node2")):
            assert cluster.controller().create(name, host=host, **SMALL) == "ok"
        before = recorded(cluster)
        Path(f"{cluster.folder}/tashi.json").unlink()
        outcome = rebuild(cluster.controller(faults(f"{point}/{kind}")))
        cluster.heal()
        cluster.run_out()
        if outcome != "ok" and point != "ReplaceState/after":
            assert not Path(f"{cluster.folder}/tashi.json").exists()
        assert rebuild(cluster.controller()) == "ok"
        after = recorded(cluster)
        assert {n: v[:3] for n, v in after.items()} == {n: v[:3] for n, v in before.items()}
        for name in after:
            assert cluster.controller().destroy(name) == "ok"
        assert cluster.watch.problems == []


def test_a_host_that_says_nothing_stops_it_unless_it_is_named() -> None:
    with a_cluster(1) as cluster:
        assert cluster.controller().create("one", host="node1", **SMALL) == "ok"
        assert cluster.controller().create("two", host="node2", **SMALL) == "ok"
        claims = [h.text(f"{LIB}/cluster") for h in cluster.hosts]
        cluster.hosts[1].reachable = False
        before = Path(f"{cluster.folder}/tashi.json").read_bytes()
        assert rebuild(cluster.controller()) == "E-HOSTS-MISSING"
        assert [h.text(f"{LIB}/cluster") for h in cluster.hosts] == claims
        assert Path(f"{cluster.folder}/tashi.json").read_bytes() == before
        assert rebuild(cluster.controller(), "node7") == "E-HOST"
        assert rebuild(cluster.controller(), "node2") == "ok"
        assert recorded(cluster)["two"][3] is TashiState.Orphaned
        cluster.heal()
        assert cluster.controller().destroy("two") == "ok"


def test_without_the_marks_a_late_script_would_bring_a_vm_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ops, "_mark", lambda *_: 0)
    with a_cluster(1) as cluster:
        assert cluster.controller().create("other", host="node1", **SMALL) == "ok"
        (command,) = parse("create/WriteManifest/before/lost").commands
        cluster.controller(command.faults).create(host="node1", **SMALL)
        cluster.heal()
        lose(cluster)
        assert rebuild(cluster.controller()) == "ok"
        _deliver_held(cluster)
        assert cluster.state().vm_named(NAME) is None
        assert len(running(cluster)) == 2
