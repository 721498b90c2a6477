"""A controller that is killed while it registers or takes back: one repair, and all agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tashictl.model.vm import TashiState
from tashictl.ops import audit as ops
from tashictl.ops import audit_repair
from tashictl.ops import vm as vm_ops
from tests.ops.audits import a_stage, answer
from tests.ops.stage import Stage, raw
from tests.ops.test_recover import MOMENTS, die

CREATE = ("AddDhcp", "AddDns", "WriteManifest", "StartQemu", "AwaitQmp")
DESTROY = ("KillQemu", "RemoveDir", "RemoveDns", "RemoveDhcp")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return a_stage(tmp_path)


def create(stage: Stage) -> None:
    vm_ops.create(stage.world, stage.context, raw())


def destroy(stage: Stage) -> None:
    vm_ops.destroy(stage.world, stage.context, "web1")


def registered(stage: Stage) -> tuple[int, int, int]:
    return len(stage.tables.dns), len(stage.tables.pointers), len(stage.tables.dhcp)


def mended(stage: Stage) -> audit_repair.Repaired:
    first = ops.audit(stage.world, stage.context)
    return audit_repair.repair(stage.world, stage.context, first)


def killed(stage: Stage, step: str, moment: str, act: Callable[[Stage], None]) -> None:
    die(stage, step, moment, lambda: act(stage))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", CREATE)
def test_a_creation_that_was_killed_is_whole_or_gone(stage: Stage, step: str, moment: str) -> None:
    killed(stage, step, moment, create)
    done = mended(stage)
    assert done.after.rows == ()
    vm = stage.state.vm_named("web1")
    if vm is None:
        assert registered(stage) == (0, 0, 0)
    else:
        assert (vm.state, vm.operation) == (TashiState.Running, None)
        assert registered(stage) == (1, 1, 1)
    assert mended(stage).done == ()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", DESTROY)
def test_a_removal_that_was_killed_leaves_nothing(stage: Stage, step: str, moment: str) -> None:
    create(stage)
    assert registered(stage) == (1, 1, 1)
    killed(stage, step, moment, destroy)
    assert mended(stage).after.rows == ()
    assert stage.state.vms == {}
    assert registered(stage) == (0, 0, 0)


def test_names_of_a_vm_that_is_nowhere_any_more_go(stage: Stage) -> None:
    create(stage)
    with stage.store.transaction() as tx:
        tx.remove_vm(1)
    assert len(mended(stage).done) == 3
    assert registered(stage) == (0, 0, 0)


@pytest.mark.parametrize("what", ["folders", "qemus"])
def test_names_of_a_vm_that_a_host_has_stay_whatever_the_database_says(
    stage: Stage, what: str
) -> None:
    """As with an old backup of it: the sweep takes such a VM in."""
    create(stage)
    vm = stage.state.vms[1]
    with stage.store.transaction() as tx:
        tx.remove_vm(1)
    there = {"folders": [vm.uuid]} if what == "folders" else {"qemus": [f"7 1 {vm.uuid}"]}
    stage.remote.probes["node1"] = lambda nonce: answer(nonce, stage.tables, **there)
    done = mended(stage)
    assert (done.done, done.after.rows) == ((), ())
    assert registered(stage) == (1, 1, 1)
