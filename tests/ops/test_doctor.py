"""A close look at hosts, and what is mended under a guard."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.script import Fault
from tashictl.model.steps import MendIfup
from tashictl.ops import doctor as ops
from tashictl.planning.doctor.findings import Finding, Severity
from tests.ops.hosts import Trouble
from tests.ops.stage import CLUSTER, Stage
from tests.planning.doctor import cases


def answers(stage: Stage, **parts: str) -> Callable[[str], bytes]:
    """A host that answers now, by its own clock."""

    def out(nonce: str) -> bytes:
        golden = cases.out(**parts)
        then = str(int(cases.clock_of(golden).timestamp())).encode()
        now = str(int(stage.clock.now().timestamp())).encode()
        golden = golden.replace(b"time " + then, b"time " + now)
        return golden.replace(cases.NONCE.encode(), nonce.encode())

    return out


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts that are ours; the file of the one network is not executable there."""
    made = Stage(tmp_path)
    for name, host in made.remote.hosts.items():
        host.claimed = (CLUSTER, 1, 0, "host")
        made.remote.probes[name] = answers(made)
    return made


def look(stage: Stage) -> dict[str, ops.Examination]:
    seen = ops.examine(stage.world, stage.context, stage.context.inventory.hosts)
    return {one.host.name: one for one in seen}


def found(one: ops.Examination, check: str) -> Finding:
    return next(f for f in one.findings if f.id == check)


def test_every_host_is_asked_once_and_nothing_is_written(stage: Stage) -> None:
    before = stage.bytes()
    seen = look(stage)

    assert list(seen) == ["node1", "node2"]
    assert len(stage.remote.asked) == 2
    assert all(one.error is None and one.findings for one in seen.values())
    assert found(seen["node1"], "host.clock").severity is Severity.OK
    assert stage.remote.scripts == []
    assert stage.bytes() == before


def test_a_host_that_is_silent_has_one_finding_and_its_error(stage: Stage) -> None:
    stage.remote.probe_fault["node2"] = Fault.TCP_TIMEOUT
    seen = look(stage)

    assert [f.id for f in seen["node2"].findings] == ["host.reach"]
    assert isinstance(seen["node2"].error, errors.Unreachable)
    assert "ping node2" in seen["node2"].error.hint
    assert seen["node1"].error is None


def test_an_answer_that_is_cut_short_is_no_answer(stage: Stage) -> None:
    whole = stage.remote.probes["node1"]
    stage.remote.probes["node1"] = lambda nonce: whole(nonce)[:-20]

    assert look(stage)["node1"].error is not None


def test_a_host_that_was_not_added_is_told_to_be_added(stage: Stage) -> None:
    host = replace(stage.context.inventory.hosts[0], name="node9", address="node9")
    stage.remote.probes["node9"] = answers(stage)
    (one,) = ops.examine(stage.world, stage.context, [host])
    assert found(one, "host.added").remedy == "tashictl host add node9"

    stage.remote.probe_fault["node9"] = Fault.HOSTKEY_UNKNOWN
    (one,) = ops.examine(stage.world, stage.context, [host])
    assert one.error is not None
    assert one.error.hint == "tashictl host add node9"


def test_a_bad_template_is_no_fault_of_a_host(stage: Stage) -> None:
    stage.context = replace(stage.context, ifup_template="{{ nothing.there }}")

    assert not [f for f in look(stage)["node1"].findings if f.id == "net.ifup"]


def test_what_is_ours_is_mended_by_one_script_under_a_guard(stage: Stage) -> None:
    sick = look(stage)["node1"]
    assert [type(step) for step in sick.steps] == [MendIfup]

    ops.mend(stage.world, stage.context, sick)

    (script,) = stage.remote.scripts
    assert script.guard is not None and script.fence is None
    assert (script.guard.cluster, script.guard.epoch) == (CLUSTER, 1)
    assert not script.guard.claims
    assert script.steps == sick.steps


def test_a_host_of_nobody_or_of_others_is_not_mended(stage: Stage) -> None:
    sick = look(stage)["node1"]
    stage.host().claimed = None
    with pytest.raises(errors.TashiError, match="nobody has claimed"):
        ops.mend(stage.world, stage.context, sick)

    stage.host().claimed = ("f" * 12, 1, 0, "host")
    with pytest.raises(errors.NotPermitted):
        ops.mend(stage.world, stage.context, sick)
    assert stage.remote.scripts == [] or all(s.guard for s in stage.remote.scripts)


def test_a_step_that_fails_is_an_error_with_its_words(stage: Stage) -> None:
    stage.remote.upon("MendIfup", Trouble.FAILS)
    with pytest.raises(errors.StepFailed, match="MendIfup failed on node1"):
        ops.mend(stage.world, stage.context, look(stage)["node1"])


def test_only_hosts_that_were_mended_are_looked_at_again(stage: Stage) -> None:
    before = list(look(stage).values())
    stage.remote.asked.clear()
    stage.remote.probes["node2"] = answers(
        stage, ifup_1=f"executable\nmode 755 0\ntext\n{cases.IFUP}."
    )
    after = ops.again(stage.world, stage.context, before, ["node2"])

    assert len(stage.remote.asked) == 1
    assert after[0] is before[0]
    assert after[1].host.name == "node2" and after[1] is not before[1]
    assert ops.again(stage.world, stage.context, before, []) == before
