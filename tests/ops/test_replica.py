"""The replica of the state on its way to the hosts."""

from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.script import Fault, Reply
from tashictl.model.sighting import Sighting
from tashictl.ops import replica as ops
from tashictl.ops import vm as vm_ops
from tashictl.planning import replica
from tests.ops.hosts import Trouble
from tests.ops.stage import CLUSTER, Stage, raw

FOLDER = f"/var/lib/tashi/{CLUSTER}/replica"
FILE = f"{FOLDER}/state.json"


def seen(stage: Stage, **values: Any) -> dict[str, Sighting]:
    """What a look at all hosts says."""
    found = {}
    for name, host in stage.remote.hosts.items():
        claim = host.claimed[:3] if host.claimed else None
        usual = {"at": "2026-03-01T12:00:00Z", "claim": claim, "replica": host.replica}
        found[name] = Sighting(**{**usual, **values})  # type: ignore[arg-type]
    return found


@pytest.fixture
def stage(tmp_path: Any) -> Stage:
    """Two hosts that are ours, and a VM."""
    stage = Stage(tmp_path)
    for host in stage.remote.hosts.values():
        host.claimed = (CLUSTER, 1, 0, "host")
    vm_ops.create(stage.world, stage.context, raw(host="node1"))
    return stage


def spread(stage: Stage) -> int:
    return ops.spread(stage.world, stage.context, seen(stage)).done


def spread_to(stage: Stage) -> tuple[int, list[str]]:
    """How many got it, and which hosts failed."""
    done = ops.spread(stage.world, stage.context, seen(stage))
    return done.done, list(done.failed)


def test_every_keeper_gets_the_state_whole(stage: Stage) -> None:
    assert spread(stage) == 2
    for host in stage.remote.hosts.values():
        assert replica.read(host.files[FILE], CLUSTER) == stage.state
        assert host.replica == (1, stage.state.meta.generation, replica.digest(stage.state))
        assert f"{FILE}.part" not in host.files


def test_who_has_it_is_not_sent_it_again(stage: Stage) -> None:
    spread(stage)
    stage.remote.scripts.clear()
    assert spread(stage) == 0
    assert stage.remote.scripts == []
    vm_ops.create(stage.world, stage.context, raw("web2", host="node1"))
    assert spread(stage) == 2


def test_it_takes_no_operation_and_leaves_no_journal(stage: Stage) -> None:
    before = stage.bytes()
    spread(stage)
    assert stage.bytes() == before
    assert stage.journals.ids() == (1,)


def test_a_newer_replica_is_kept(stage: Stage) -> None:
    for host in stage.remote.hosts.values():
        host.replica = (1, 999, "0011")
    assert spread_to(stage) == (0, ["node2", "node1"])
    assert {h.replica for h in stage.remote.hosts.values()} == {(1, 999, "0011")}


def test_hosts_of_nobody_or_of_others_or_that_are_busy_get_none(stage: Stage) -> None:
    others = ("ffffffffffff", 1, 1)
    for values in ({"claim": None}, {"claim": others}, {"busy_s": 70}, {"hidden": True}):
        assert ops.spread(stage.world, stage.context, seen(stage, **values)).done == 0
    assert len(stage.remote.scripts) == 1  # of the VM


def test_a_host_that_was_taken_over_since_it_was_seen_refuses(stage: Stage) -> None:
    before = seen(stage)
    stage.host("node2").claimed = ("ffffffffffff", 1, 1, "host")
    stage.host("node1").claimed = None
    assert ops.spread(stage.world, stage.context, before).done == 0
    assert all(FILE not in h.files and h.replica is None for h in stage.remote.hosts.values())


def test_an_old_copy_is_not_spread(stage: Stage) -> None:
    with stage.store.transaction() as tx:
        tx.mark_stale("node1 knows more")
    assert spread(stage) == 0


def test_one_sick_host_keeps_nobody_else_from_it(stage: Stage) -> None:
    stage.remote.down.add("node1")
    found = seen(stage)
    done = ops.spread(stage.world, stage.context, found)
    assert (done.done, list(done.failed)) == (1, ["node1"])
    assert stage.host("node2").replica is not None


@pytest.mark.parametrize("step", ["MakeReplicaFolder", "PutReplica", "PlaceReplica"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_anywhere_the_next_one_brings_it(stage: Stage, step: str, moment: str) -> None:
    class Killed(BaseException):
        pass

    def die(_cut: object) -> None:
        raise Killed

    stage.faults.reactions[step, moment] = die
    with pytest.raises(Killed):
        spread(stage)
    stage.faults.reactions.clear()
    spread(stage)
    assert all(
        replica.read(h.files[FILE], CLUSTER) == stage.state for h in stage.remote.hosts.values()
    )


@pytest.mark.parametrize("trouble", [Trouble.FAILS, Trouble.LOST, Trouble.MUTE, Trouble.UNSENT])
def test_what_goes_wrong_on_the_way_is_told_and_done_the_next_time(
    stage: Stage, trouble: Trouble
) -> None:
    stage.remote.upon("PlaceReplica", trouble)
    done, failed = spread_to(stage)
    assert (done, len(failed)) == (1, 1)
    spread(stage)
    assert all(h.replica is not None for h in stage.remote.hosts.values())


@pytest.mark.parametrize(
    "reply", [Reply(rc=1, err=b"No space left", sent=True), Reply(fault=Fault.CUT, sent=True)]
)
def test_a_stream_that_does_not_arrive_is_told(stage: Stage, reply: Reply) -> None:
    stage.remote.put_fault = reply
    assert spread_to(stage) == (0, ["node2", "node1"])


def test_a_late_copy_of_an_older_state_changes_nothing(stage: Stage) -> None:
    spread(stage)
    newer = stage.host().replica
    old = replace(stage.state, meta=replace(stage.state.meta, generation=1))
    data = replica.content(old)
    place = replica.copies(old, data, "node1", stage.context.settings).place
    stage.host().files[place.part] = data
    with pytest.raises(Exception, match="newer"):
        stage.host().do(place)
    assert stage.host().replica == newer
