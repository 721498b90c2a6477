"""The state made anew: what comes back, what goes, what is told instead of chosen."""

from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from tashictl.model.event import Severity
from tashictl.model.host import HostState, ImageFact
from tashictl.model.rebuild import Counters, Evidence, Finding, Rebuilt
from tashictl.model.state import Quarantined, State
from tashictl.model.vm import Observed, OperationKind, OperationRef, Seen, TashiState, Vm, Wanted
from tashictl.planning.rebuild import rebuild
from tests.planning import cases
from tests.planning.rebuild_cases import (
    CLUSTER,
    SEEN,
    damaged,
    evidence,
    fact,
    look,
    looks_of,
    state,
    states,
    uuid,
    vm,
)


def kinds(made: Rebuilt) -> list[tuple[str, str | None]]:
    return [(f.kind, f.vm) for f in made.findings]


def only(made: Rebuilt) -> Finding:
    (found,) = made.findings
    return found


def unobserved(found: State) -> tuple[Any, ...]:
    """A state without what is only seen."""
    vms = {i: replace(v, observed=Observed(), pid=None, reason=None) for i, v in found.vms.items()}
    hosts = {
        n: replace(h, up=None, last_contact=None, facts=None, seen_operation=0)
        for n, h in found.hosts.items()
    }
    meta = replace(found.meta, epoch=0, generation=0)
    return vms, hosts, found.images, meta, found.quarantine


# -- what holds for every cluster


@given(states())
def test_a_state_that_is_as_the_hosts_are_comes_back_as_it_was(before: State) -> None:
    made = rebuild(evidence(before, looks_of(before)))

    assert made.findings == ()
    assert made.quarantined == ()
    assert unobserved(made.state) == unobserved(before)
    assert {i: v.state for i, v in made.state.vms.items()} == {
        i: v.state for i, v in before.vms.items()
    }
    assert made.state.meta.epoch == 2


@given(states())
def test_from_the_hosts_alone_every_vm_that_has_a_folder_comes_back(before: State) -> None:
    made = rebuild(evidence(None, looks_of(before)))

    placed = {i: v for i, v in before.vms.items() if v.host is not None}
    assert made.state.vms.keys() == placed.keys()
    for number, one in placed.items():
        found = made.state.vms[number]
        for field in ("name", "uuid", "user", "spec", "host", "created", "generation", "pid"):
            assert getattr(found, field) == getattr(one, field)
    assert {f.kind for f in made.findings} <= {"added"}


@settings(max_examples=150)
@given(damaged())
def test_nothing_is_given_twice_nor_forgotten_in_silence(found: Evidence) -> None:
    made = rebuild(found)

    vms = made.state.vms
    assert all(number == one.id for number, one in vms.items())
    for field in ("name", "uuid"):
        values = [getattr(one, field) for one in vms.values()]
        assert len(values) == len(set(values))
    meta = made.state.meta
    assert meta.last_vm_id >= max([0, *vms])
    assert all(one.operation is None for one in vms.values())
    _every_uuid_is_accounted_for(found, made)
    _every_address_is_accounted_for(found, made)


def _every_uuid_is_accounted_for(found: Evidence, made: Rebuilt) -> None:
    accounted = {v.uuid for v in made.state.vms.values()} | {f.uuid for f in made.findings}
    shown = {f.uuid for seen in found.looks.values() for f in seen.vms}
    kept = found.base.vms.values() if found.base else ()
    known = {v.uuid for v in kept if v.wanted is not Wanted.ABSENT}
    assert (shown | known) <= accounted


def _every_address_is_accounted_for(found: Evidence, made: Rebuilt) -> None:
    """It is one VM's, or is kept back."""
    kept_back = {(q.network, q.ip) for q in made.state.quarantine.values()}
    held = [(n.network, n.ip) for v in made.state.vms.values() for n in v.spec.nics]
    assert {a for a in held if held.count(a) > 1} <= kept_back
    for one in found.base.vms.values() if found.base else ():
        if one.wanted is not Wanted.ABSENT and one.uuid not in _shown(found):
            assert {(n.network, n.ip) for n in one.spec.nics} <= {*held, *kept_back}


def _shown(found: Evidence) -> set[str]:
    return {f.uuid for seen in found.looks.values() for f in seen.vms}


@settings(max_examples=100)
@given(damaged())
def test_to_rebuild_what_was_rebuilt_changes_nothing_but_the_epoch(found: Evidence) -> None:
    once = rebuild(found)
    again = rebuild(replace(found, base=once.state, epoch=3))

    assert again.state.vms == once.state.vms
    assert again.state.hosts == once.state.hosts
    assert {f.kind for f in again.findings}.isdisjoint({"added", "dropped"})
    assert again.state.quarantine.keys() == once.state.quarantine.keys()


# -- one thing each


def test_a_vm_whose_folder_is_gone_is_dropped_and_its_address_kept_back() -> None:
    made = rebuild(evidence(state(vm(1), vm(2)), {"node1": look(fact(vm(1))), "node2": look()}))

    assert list(made.state.vms) == [1]
    found = only(made)
    assert (found.kind, found.severity, found.vm, found.host) == (
        "dropped", Severity.WARNING, "web2", "node1",
    )  # fmt: skip
    assert found.folder == f"/var/lib/tashi/{CLUSTER}/{uuid(2)}"
    assert made.state.quarantine["1/10.0.0.2"] == Quarantined(
        network=1,
        ip="10.0.0.2",
        until="2026-03-02T12:00:00Z",
        why="nothing of web2 (id 2) is on node1",
    )


def test_one_that_was_to_go_and_has_gone_is_no_news() -> None:
    made = rebuild(evidence(state(vm(1, wanted=Wanted.ABSENT)), {"node1": look()}))
    assert (made.state.vms, made.findings, made.quarantined) == ({}, (), ())


def test_one_that_was_to_go_and_is_there_is_still_to_go() -> None:
    base = state(vm(1, wanted=Wanted.ABSENT))
    for alive in (True, False):
        made = rebuild(evidence(base, {"node1": look(fact(vm(1), alive))}))
        assert made.state.vms[1].state is TashiState.Destroying


def test_what_waits_for_a_host_goes_on_waiting() -> None:
    waiting = vm(1, host=None, observed=Observed(), reason="no room", pid=None)
    made = rebuild(evidence(state(waiting), {"node1": look()}))
    assert made.state.vms == {1: waiting}


def operation(kind: OperationKind, hold: bool = False) -> OperationRef:
    return OperationRef(id=9, kind=kind, started="2026-03-01T11:59:00Z", hold=hold)


def test_a_start_of_which_nothing_is_there_leaves_what_had_waited_held() -> None:
    begun = vm(1, operation=operation(OperationKind.CREATE, hold=True), observed=Observed())
    made = rebuild(evidence(state(begun), {"node1": look()}))
    assert (made.state.vms[1].state, made.state.vms[1].host) == (TashiState.Held, None)
    assert made.quarantined == ()


def test_the_vms_of_a_host_that_was_left_out_are_orphaned() -> None:
    base = state(vm(1), vm(2, host="node2"))
    made = rebuild(evidence(base, {"node1": look(fact(vm(1)))}, without=frozenset({"node2"})))
    lost = made.state.vms[2]
    assert (lost.state, lost.host, lost.observed.at) == (TashiState.Orphaned, "node2", SEEN.at)
    assert kinds(made) == [("orphaned", "web2")]
    assert made.state.hosts["node2"].up is False


def test_a_manifest_of_a_higher_generation_wins_and_a_lower_one_does_not() -> None:
    larger = replace(vm(1).spec, memory_mib=4096)
    newer = vm(1, generation=2, spec=larger)
    for base, shown in ((vm(1), newer), (newer, vm(1))):
        made = rebuild(evidence(state(base), {"node1": look(fact(shown))}))
        assert (made.state.vms[1].generation, made.state.vms[1].spec) == (2, larger)


def test_a_vm_that_is_elsewhere_than_was_known_is_where_it_is() -> None:
    made = rebuild(evidence(state(vm(1)), {"node1": look(), "node2": look(fact(vm(1)))}))
    assert (made.state.vms[1].host, made.findings) == ("node2", ())


def test_a_creation_that_ended_in_the_middle_is_to_be_removed() -> None:
    made = rebuild(evidence(None, {"node1": look(fact(vm(1), False, "creating"))}))
    assert made.state.vms[1].state is TashiState.Destroying
    assert kinds(made) == [("leftover", "web1")]
    begun = vm(1, operation=operation(OperationKind.CREATE), observed=Observed())
    made = rebuild(evidence(state(begun), {"node1": look(fact(vm(1), False, "creating"))}))
    assert made.state.vms[1].state is TashiState.Destroying


def test_one_that_was_seen_to_run_is_no_leftover_whatever_its_manifest_says() -> None:
    made = rebuild(evidence(state(vm(1)), {"node1": look(fact(vm(1), False, "creating"))}))
    assert made.state.vms[1].state is TashiState.Exited


def test_a_creation_whose_qemu_runs_is_a_vm() -> None:
    made = rebuild(evidence(None, {"node1": look(fact(vm(1), True, "creating"))}))
    assert made.state.vms[1].state is TashiState.Running


def test_one_that_ran_and_does_not_run_any_more_is_exited() -> None:
    for base in (None, state(vm(1))):
        made = rebuild(evidence(base, {"node1": look(fact(vm(1), False))}))
        assert made.state.vms[1].state is TashiState.Exited


def test_one_that_was_stopped_stays_so() -> None:
    for base in (None, state(vm(1))):
        made = rebuild(evidence(base, {"node1": look(fact(vm(1), False, "stopped"))}))
        assert (made.state.vms[1].wanted, made.state.vms[1].observed.what) == (
            Wanted.STOPPED,
            Seen.STOPPED,
        )


def test_whatever_was_under_way_is_not_any_more() -> None:
    base = state(vm(1, operation=operation(OperationKind.SHUTDOWN)))
    made = rebuild(evidence(base, {"node1": look(fact(vm(1)))}))
    assert (made.state.vms[1].operation, made.state.vms[1].state) == (None, TashiState.Running)


# -- doubles


def test_one_that_runs_twice_is_told_with_both_places_and_not_recorded() -> None:
    twice = {"node1": look(fact(vm(1))), "node2": look(fact(vm(1), pid=77))}
    for base in (None, state(vm(1))):
        made = rebuild(evidence(base, twice))
        assert made.state.vms == {}
        assert [(f.kind, f.severity, f.host) for f in made.findings] == [
            ("runs-twice", Severity.ERROR, "node1"),
            ("runs-twice", Severity.ERROR, "node2"),
        ]
        assert "pid 77" in made.findings[1].text
        assert list(made.state.quarantine) == ["1/10.0.0.1"]
        assert made.state.meta.last_vm_id >= 1


def test_one_that_runs_here_and_lies_there_is_here() -> None:
    newer = vm(1, generation=5)
    twice = {"node1": look(fact(newer, False)), "node2": look(fact(vm(1)))}
    made = rebuild(evidence(state(vm(1)), twice))
    assert made.state.vms[1].host == "node2"
    assert (only(made).kind, only(made).host) == ("remains", "node1")


def test_one_that_lies_twice_is_where_its_manifest_is_newer_or_where_it_was_known() -> None:
    newer = vm(1, generation=2)
    old, new = fact(vm(1), False), fact(newer, False)
    made = rebuild(evidence(None, {"node1": look(old), "node2": look(new)}))
    assert (made.state.vms[1].host, kinds(made)[0]) == ("node2", ("remains", "web1"))
    made = rebuild(evidence(state(vm(1)), {"node1": look(old), "node2": look(old)}))
    assert made.state.vms[1].host == "node1"
    made = rebuild(evidence(None, {"node1": look(old), "node2": look(old)}))
    assert made.state.vms == {}
    assert {f.kind for f in made.findings} == {"double"}


def test_remains_of_a_vm_whose_host_was_left_out_are_not_taken_for_it() -> None:
    base = state(vm(1, host="node2"))
    without = frozenset({"node2"})
    made = rebuild(evidence(base, {"node1": look(fact(vm(1), False))}, without=without))
    assert (made.state.vms[1].host, made.state.vms[1].state) == ("node2", TashiState.Orphaned)
    assert {f.kind for f in made.findings} == {"orphaned", "remains"}
    made = rebuild(evidence(base, {"node1": look(fact(vm(1)))}, without=without))
    assert (made.state.vms[1].host, made.findings) == ("node1", ())


def test_of_two_with_one_name_the_known_one_keeps_it_and_the_other_is_told() -> None:
    other = vm(2, name="web1", created="2020-01-01T00:00:00Z")
    made = rebuild(evidence(state(vm(1)), {"node1": look(fact(vm(1))), "node2": look(fact(other))}))
    assert {v.uuid for v in made.state.vms.values()} == {uuid(1)}
    clash = made.findings[0]
    assert (clash.kind, clash.severity, clash.host, clash.uuid) == (
        "clash", Severity.ERROR, "node2", uuid(2),
    )  # fmt: skip
    assert clash.folder == f"/var/lib/tashi/{CLUSTER}/{uuid(2)}"
    assert list(made.state.quarantine) == ["1/10.0.0.2"]


def test_of_two_with_one_id_the_second_gets_a_free_one() -> None:
    other = vm(2, id=1)
    looks = {"node1": look(fact(vm(1))), "node2": look(fact(other))}
    made = rebuild(evidence(state(vm(1)), looks))
    assert {i: v.name for i, v in made.state.vms.items()} == {1: "web1", 2: "web2"}
    assert made.state.meta.last_vm_id == 2
    assert "tashi1.0" in made.findings[0].text
    again = rebuild(evidence(made.state, looks, epoch=3))
    assert again.state.vms == made.state.vms


@pytest.mark.parametrize("field", ["ip", "mac"])
def test_of_two_with_one_address_both_are_recorded_and_it_is_kept_back(field: str) -> None:
    (nic,) = vm(2).spec.nics
    same = replace(nic, **{field: getattr(vm(1).spec.nics[0], field)})
    other = vm(2, host="node2", spec=replace(vm(2).spec, nics=(same,)))
    looks = {"node1": look(fact(vm(1))), "node2": look(fact(other))}
    made = rebuild(evidence(state(vm(1), other), looks))
    assert list(made.state.vms) == [1, 2]
    assert (only(made).kind, only(made).severity) == ("clash", Severity.WARNING)
    assert list(made.state.quarantine) == [f"1/{same.ip}"]


# -- what cannot be read


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": "ffffffffffff"},
        {"uuid": uuid(9)},
        {"name": "No Name"},
        {"id": -1},
        {"schema": 99},
        {"spec": {"nics": [{"index": 0, "network": 1, "mac": "x", "ip": "10.0.0.1"}, 7], "x": 1}},
    ],
)
def test_a_manifest_that_is_none_is_told_and_its_addresses_kept_back(
    change: dict[str, Any],
) -> None:
    shown = fact(vm(1))
    shown = replace(shown, manifest={**(shown.manifest or {}), **change})
    made = rebuild(evidence(None, {"node1": look(shown)}))
    assert made.state.vms == {}
    assert (only(made).kind, only(made).severity) == ("unreadable", Severity.ERROR)
    assert "pid 4001" in only(made).text
    assert list(made.state.quarantine) == ["1/10.0.0.1"]
    made = rebuild(evidence(state(vm(1)), {"node1": look(shown)}))
    assert (made.state.vms[1].state, only(made).severity) == (TashiState.Running, Severity.WARNING)
    assert made.state.quarantine == {}


def test_a_folder_without_any_manifest_is_told() -> None:
    made = rebuild(evidence(None, {"node1": look(replace(fact(vm(1)), manifest=None))}))
    assert only(made).kind == "unreadable"


# -- counters, hosts, images


def test_counters_are_above_everything_that_was_seen() -> None:
    shown = fact(vm(7), operation=30, fence=(1, 31, 1))
    looks = {"node1": look(shown, claimed_counter=29)}
    made = rebuild(evidence(None, looks, counters=Counters(vm=3, operation=12)))
    meta = made.state.meta
    assert (meta.last_operation_id, meta.last_host_id) == (31, 1)
    assert meta.last_vm_id == 31  # so many may have been made, and be gone again
    made = rebuild(evidence(state(vm(7)), looks, counters=Counters(operation=40)))
    assert (made.state.meta.last_operation_id, made.state.meta.last_vm_id) == (40, 7 + 33)


def test_a_host_keeps_its_number_and_what_was_decided_of_it() -> None:
    base = state(hosts=("node1", "node2"))
    drained = replace(base.hosts["node2"], state=HostState.Drained, notes="loud")
    base = replace(base, hosts={**base.hosts, "node2": drained})
    made = rebuild(evidence(base, {"node2": look(claimed_counter=5), "node3": look()}))
    two, three = made.state.hosts["node2"], made.state.hosts["node3"]
    assert (two.id, two.state, two.notes, two.seen_operation) == (2, HostState.Drained, "loud", 5)
    assert (three.id, three.up, made.state.meta.last_host_id) == (3, True, 3)
    assert two.facts is not None
    assert two.facts.vms == ()


def test_a_host_whose_qemu_is_too_old_is_unfit() -> None:
    made = rebuild(evidence(None, {"node1": look(qemu_version="6.2.0")}))
    assert made.state.hosts["node1"].state is HostState.VersionMismatch


def test_images_are_where_they_lie() -> None:
    there = ImageFact(name="demo.qcow2", size_bytes=5, format="qcow2", virtual_size_bytes=1 << 20)
    strange = ImageFact(name="new.img", size_bytes=9, format="raw")
    base = replace(
        state(), images={"demo.qcow2": cases.image("demo.qcow2", "node1", "node9", sha256="ab")}
    )
    looks = {"node1": look(), "node2": look(images=(there, strange))}
    made = rebuild(evidence(base, looks)).state.images
    assert (made["demo.qcow2"].hosts, made["demo.qcow2"].sha256) == (("node2", "node9"), "ab")
    assert (made["new.img"].hosts, made["new.img"].virtual_size_bytes) == (("node2",), 9)


def test_an_address_in_quarantine_stays_there_until_its_time() -> None:
    kept = Quarantined(network=1, ip="10.9.9.9", until="2026-03-01T12:00:01Z", why="x")
    over = Quarantined(network=1, ip="10.9.9.8", until="2026-03-01T11:59:59Z", why="x")
    base = replace(state(), quarantine={k.key: k for k in (kept, over)})
    made = rebuild(evidence(base, {"node1": look()}))
    assert made.state.quarantine == {kept.key: kept}
    assert made.quarantined == ()


def test_the_worst_is_told_first() -> None:
    looks = {
        "node1": look(fact(vm(1)), fact(vm(3))),
        "node2": look(fact(vm(1)), fact(vm(2), False, "creating")),
    }
    made = rebuild(evidence(None, looks))
    ranks = [f.severity for f in made.findings]
    assert ranks == [Severity.ERROR, Severity.ERROR, Severity.WARNING, Severity.NOTE]


def test_many_vms_take_no_more_than_each_its_own_time() -> None:
    vms = tuple(_numbered(n) for n in range(1, 6_001))
    base = state(*vms)
    made = rebuild(evidence(base, looks_of(base)))
    assert made.findings == ()
    assert len(made.state.vms) == 6_000


def _numbered(number: int) -> Vm:
    return vm(number, host=f"node{1 + number % 2}", observed=replace(SEEN, what=Seen.RUNNING))
