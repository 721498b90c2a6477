"""What runs, or lies there, and is not where the database has it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tashictl.model.sighting import ForeignQemu
from tashictl.model.vm import Observed, TashiState
from tashictl.planning import reconcile
from tashictl.planning.verdict import Verdict
from tests.planning.sweep_cases import manifest_of, sample, scene, sighting, vm


def ids(verdict: Verdict) -> list[str]:
    return [problem.id for problem in verdict.problems]


def kinds(verdict: Verdict) -> list[str]:
    return [event.kind for event in verdict.events]


@pytest.mark.parametrize("alive", [True, False])
def test_a_vm_with_our_manifest_that_nobody_knows_is_taken_in(alive: bool) -> None:
    strange = vm(9, host="node2")
    found = sample(strange, alive=alive, manifest=manifest_of(strange))

    verdict = reconcile.judge(scene([vm(1)], {"node2": sighting(found)}))

    taken = next(one for one in verdict.vms if one.id == 9)
    state = TashiState.Running if alive else TashiState.Exited
    assert (taken.name, taken.host, taken.uuid, taken.state) == (
        *("web9", "node2", strange.uuid),
        state,
    )
    assert taken.spec == strange.spec
    assert "vm-adopted" in kinds(verdict)


def test_one_whose_name_or_id_is_taken_is_told_and_not_taken_in() -> None:
    for other in (vm(9, name="web1"), vm(1, name="web9", uuid=vm(9).uuid)):
        found = sample(other, manifest=manifest_of(other))

        verdict = reconcile.judge(scene([vm(1)], {"node2": sighting(found)}))

        assert [one.id for one in verdict.vms] == [1]
        assert ids(verdict) == [f"vm-double:{other.uuid}"]


def test_one_that_was_removed_while_its_host_was_asked_does_not_come_back() -> None:
    before = scene([vm(1)], {"node1": sighting(sample(vm(1), manifest=manifest_of(vm(1))))})

    verdict = reconcile.judge(replace(before, state=replace(before.state, vms={})))

    assert (verdict.vms, verdict.problems) == ((), ())


def test_one_that_was_made_and_removed_while_the_hosts_were_asked_does_not_come_back() -> None:
    brief = sample(vm(9), manifest=manifest_of(vm(9)))  # of operation 3

    found = [
        reconcile.judge(scene([], {"node1": sighting(brief)}, last_known=last)).vms
        for last in (2, 3)
    ]

    assert [[one.name for one in vms] for vms in found] == [[], ["web9"]]


def test_one_that_was_placed_elsewhere_while_the_hosts_were_asked_has_not_moved_back() -> None:
    before = vm(1, host=None, observed=Observed())
    looks = {"node1": sighting(), "node2": sighting(sample(vm(1)))}

    verdict = reconcile.judge(scene([vm(1)], looks, known={1: before}))

    assert (verdict.vms, verdict.events) == ((), ())


def test_a_folder_that_nobody_can_account_for_is_told_and_not_touched() -> None:
    for manifest in (None, {"cluster": "0123456789ab"}):
        remains = sample(vm(9), alive=False, manifest=manifest)

        verdict = reconcile.judge(scene([], {"node2": sighting(remains)}))

        assert ids(verdict) == [f"remains:node2:{vm(9).uuid}"]
        assert verdict.repairs == ()


def test_a_qemu_that_is_not_ours_is_told_once_by_what_names_it() -> None:
    strangers = (ForeignQemu(pid=5, starttime=1, name="hand"), ForeignQemu(pid=6, starttime=1))

    verdict = reconcile.judge(scene([], {"node1": sighting(foreign=strangers)}))

    assert ids(verdict) == ["foreign-qemu:node1:5", "foreign-qemu:node1:6"]


def test_a_vm_that_runs_twice_is_told_and_left_alone() -> None:
    verdict = reconcile.judge(scene([vm(1)], {"node2": sighting(sample(vm(1)))}))

    assert ids(verdict) == ["vm-twice:web1"]
    assert [one.host for one in verdict.vms] == ["node1"]
    assert verdict.repairs == ()


def test_a_vm_that_runs_on_another_host_has_moved_when_its_own_says_so() -> None:
    looks = {"node1": sighting(), "node2": sighting(sample(vm(1)))}

    verdict = reconcile.judge(scene([vm(1)], looks))

    assert [(one.host, one.state) for one in verdict.vms] == [("node2", TashiState.Running)]
    assert kinds(verdict) == ["vm-moved"]


def test_a_vm_that_runs_on_another_host_while_its_own_is_silent_is_only_told() -> None:
    looks = {"node2": sighting(sample(vm(1)))}

    verdict = reconcile.judge(scene([vm(1)], looks, {"node1": "no route to host"}))

    assert ids(verdict) == ["host-down:node1", "vm-elsewhere:web1"]
    assert [(one.host, one.state) for one in verdict.vms] == [("node1", TashiState.Orphaned)]


def test_a_qemu_that_says_it_is_ours_and_has_no_lock_is_told_as_that() -> None:
    copy = ForeignQemu(pid=7, starttime=1, uuid=vm(1).uuid)

    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(sample(vm(1)), foreign=(copy,))}))

    assert ids(verdict) == ["vm-unlocked:web1"]
