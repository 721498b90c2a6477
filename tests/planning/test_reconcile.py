"""What a sweep decides from what it saw: nothing from silence, nothing about what is under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.sample import Counters
from tashictl.model.sighting import Mount, Sighting
from tashictl.model.vm import Observed, OperationKind, OperationRef, Seen, TashiState, Wanted
from tashictl.planning import rates, reconcile
from tashictl.planning.verdict import Interrupted, RepairKind, Scene, Verdict
from tests.planning.sweep_cases import (
    HOSTS,
    NOW,
    THEN,
    host_sample,
    manifest_of,
    record,
    sample,
    scene,
    settings,
    sighting,
    vm,
)

UNDER_WAY = OperationRef(id=3, kind=OperationKind.PAUSE, started=THEN)


def ids(verdict: Verdict) -> list[str]:
    return [problem.id for problem in verdict.problems]


def kinds(verdict: Verdict) -> list[str]:
    return [event.kind for event in verdict.events]


def repairs(verdict: Verdict) -> list[tuple[RepairKind, str]]:
    return [(repair.kind, repair.target) for repair in verdict.repairs]


def test_a_round_where_all_is_well_only_writes_down_when_it_was_seen() -> None:
    verdict = reconcile.judge(scene([vm(1), vm(2)], {}))

    assert (verdict.problems, verdict.events, verdict.repairs, verdict.brake) == ((), (), (), ())
    assert [one.observed.at for one in verdict.vms] == [NOW, NOW]
    assert [one.last_contact for one in verdict.hosts] == [NOW] * 3


def test_a_vm_that_ended_unasked_is_exited_with_how_it_ended_and_its_last_words() -> None:
    dead = sample(
        vm(1),
        alive=False,
        log_end=("qemu-system-x86_64: terminating on signal 15 from pid 77 (kill)",),
        console_end=("login:",),
    )

    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(dead)}))

    assert verdict.vms[0].state is TashiState.Exited
    assert kinds(verdict) == ["vm-exited"]
    reason = "its QEMU ended by signal TERM, by process 77"
    assert verdict.events[0].reason == f"{reason}; its console ends: login:"
    assert ids(verdict) == ["vm-exited:web1"]
    assert repairs(verdict) == []


@pytest.mark.parametrize("there", [True, False])
def test_where_the_login_may_not_see_everything_nothing_is_gone(there: bool) -> None:
    vms = (sample(vm(1), alive=False), sample(vm(4))) if there else (sample(vm(4)),)
    look = sighting(*vms, sample(vm(7), alive=False), hidden=True)

    verdict = reconcile.judge(scene([vm(1), vm(4)], {"node1": look}))

    assert [one.name for one in verdict.vms] == ["web4"]
    assert ids(verdict) == ["host-hidden:node1"]
    assert kinds(verdict) == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("hold", []),
        ("restart", [(RepairKind.RESTART, "web1")]),
        ("forget", [(RepairKind.FORGET, "web1")]),
    ],
)
def test_what_ended_with_its_host_is_dealt_with_as_the_operator_decided(
    policy: str, expected: list[tuple[RepairKind, str]]
) -> None:
    rebooted = sighting(sample(vm(1), alive=False), boot_id="b-2", host=host_sample(uptime_s=20.0))

    verdict = reconcile.judge(scene([vm(1)], {"node1": rebooted}, settings=settings(policy)))

    assert repairs(verdict) == expected
    assert kinds(verdict) == ["host-rebooted", "vm-exited"]
    assert (verdict.vms[0].reason or "").startswith("host rebooted 2026-03-01 12:00")


def test_a_restart_that_was_decided_and_not_done_is_decided_again() -> None:
    stopped = vm(
        1,
        observed=Observed(what=Seen.STOPPED, at=THEN, boot_id="b-2"),
        reason="host rebooted",
        pid=None,
    )

    quiet = sighting(sample(stopped, alive=False), boot_id="b-2")
    verdict = reconcile.judge(scene([stopped], {"node1": quiet}, settings=settings("restart")))
    assert repairs(verdict) == [(RepairKind.RESTART, "web1")]


def test_a_host_that_does_not_answer_makes_its_vms_unknown_and_nothing_more() -> None:
    verdict = reconcile.judge(scene([vm(1), vm(2)], {}, {"node2": "connection refused"}))

    lost = next(one for one in verdict.vms if one.name == "web2")
    assert (lost.state, lost.observed.what) == (TashiState.Orphaned, Seen.UNKNOWN)
    assert (lost.host, lost.observed.at) == ("node2", THEN)
    assert ids(verdict) == ["host-down:node2"]
    assert kinds(verdict) == ["host-down", "vm-orphaned"]
    assert repairs(verdict) == []


def test_what_was_lost_and_answers_is_what_it_was() -> None:
    lost = vm(1, observed=Observed(what=Seen.UNKNOWN, at=THEN, boot_id="b-1"))
    before = scene([lost], {})
    hosts = {**before.state.hosts, "node1": record("node1", up=False)}

    verdict = reconcile.judge(replace(before, state=replace(before.state, hosts=hosts)))

    assert verdict.vms[0].state is TashiState.Running
    assert kinds(verdict) == ["host-up", "vm-found"]


def test_a_vm_with_an_operation_is_left_to_it() -> None:
    busy = vm(1, operation=UNDER_WAY)

    verdict = reconcile.judge(scene([busy], {"node1": sighting()}))

    assert (verdict.vms, verdict.repairs, verdict.problems) == ((), (), ())


def test_one_that_was_changed_while_its_host_was_asked_is_newer_than_the_look() -> None:
    before = scene([vm(1)], {"node1": sighting(sample(vm(1), alive=False))})
    newer = vm(1, observed=Observed(what=Seen.PAUSED, at=NOW), wanted=Wanted.PAUSED)

    verdict = reconcile.judge(replace(before, state=replace(before.state, vms={1: newer})))

    assert verdict.vms == ()


def test_an_operation_that_was_interrupted_is_settled_where_the_host_answers() -> None:
    broken = vm(1, operation=UNDER_WAY)
    told = (Interrupted(id=3, kind=OperationKind.PAUSE, target="web1"),)

    here = reconcile.judge(scene([broken], {}, interrupted=told))
    gone = reconcile.judge(scene([broken], {}, {"node1": "no route to host"}, interrupted=told))

    assert repairs(here) == [(RepairKind.SETTLE, "web1")]
    assert (repairs(gone), ids(gone)) == ([], ["host-down:node1", "operation:3"])


def test_a_tombstone_without_an_operation_is_removed() -> None:
    verdict = reconcile.judge(scene([vm(1, wanted=Wanted.ABSENT)], {}))

    assert repairs(verdict) == [(RepairKind.CLEAR, "web1")]


def test_what_waits_is_scheduled_pending_before_held() -> None:
    waiting = {"host": None, "observed": Observed(), "pid": None}
    held, pending = vm(1, held=True, **waiting), vm(2, **waiting)

    verdict = reconcile.judge(scene([held, pending], {}))
    shard = reconcile.judge(scene([held, pending], {}, leads=False))

    assert repairs(verdict) == [(RepairKind.SCHEDULE, "web2"), (RepairKind.SCHEDULE, "web1")]
    assert repairs(shard) == []


def test_a_qemu_that_waits_for_a_disk_without_a_tick_is_stuck() -> None:
    stuck = sample(vm(1), process_state="D")
    last = Counters(at_s=0.0, incarnation="b-1/101/5", values={rates.CPU: 0.7})
    key = f"vm:{vm(1).uuid}"

    hangs = reconcile.judge(scene([vm(1)], {"node1": sighting(stuck)}, counters={key: last}))
    moved = replace(last, values={rates.CPU: 0.69})
    works = reconcile.judge(scene([vm(1)], {"node1": sighting(stuck)}, counters={key: moved}))

    assert (ids(hangs), ids(works)) == (["vm-stuck:web1"], [])


def test_a_qemu_from_before_an_upgrade_is_a_note() -> None:
    old = sample(vm(1), upgraded=True)

    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(old)}))

    assert [(p.id, p.severity.value) for p in verdict.problems] == [("vm-upgraded:web1", "note")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"clock_offset_s": -301.0}, "host-clock:node1"),
        ({"busy_s": 900}, "probe-busy:node1"),
        ({"claim": ("ffffffffffff", 9, 99)}, "host-foreign:node1"),
        (
            {"host": host_sample(mounts=(Mount(role="images", path="/m", stuck_since=THEN),))},
            "mount-stuck:node1:/m",
        ),
        (
            {
                "host": host_sample(
                    mounts=(Mount(role="lib", path="/v", size_bytes=1 << 30, free_bytes=1 << 20),)
                )
            },
            "disk-full:node1:/v",
        ),
    ],
)
def test_what_is_wrong_with_a_host_is_told(values: dict[str, object], expected: str) -> None:
    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(sample(vm(1)), **values)}))

    assert ids(verdict) == [expected]


@pytest.mark.parametrize("claim", [("ffffffffffff", 9, 99), None])
def test_a_host_of_another_cluster_says_nothing_of_our_vms(
    claim: tuple[str, int, int] | None,
) -> None:
    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(claim=claim)}))

    assert (verdict.vms == ()) is (claim is not None)


def test_a_look_that_did_not_begin_says_nothing() -> None:
    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(busy_s=3)}))

    assert (verdict.vms, verdict.problems) == ((), ())


@pytest.mark.parametrize(
    "look",
    [
        sighting(sample(vm(1)), claim=("0123456789ab", 2, 3)),
        sighting(sample(vm(1)), claim=("0123456789ab", 1, 4)),
        sighting(sample(vm(1), generation=2)),
        sighting(sample(vm(9), manifest=manifest_of(vm(9), operation=4))),
    ],
)
def test_a_host_that_knows_more_proves_the_database_to_be_an_old_copy(look: Sighting) -> None:
    verdict = reconcile.judge(scene([vm(1)], {"node1": look}))

    assert verdict.stale.startswith("node1 ")
    assert (verdict.vms, verdict.repairs, verdict.hosts) == ((), (), ())


def test_a_file_system_that_hangs_hides_vms_and_does_not_end_them() -> None:
    mounts = (Mount(role="lib", path="/var/lib/tashi", stuck_since=THEN),)

    verdict = reconcile.judge(scene([vm(1)], {"node1": sighting(host=host_sample(mounts=mounts))}))

    assert verdict.vms == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Seen)),
            st.sampled_from(list(Wanted)),
            st.booleans(),
            st.sampled_from(["alive", "dead", "gone"]),
            st.sampled_from([*HOSTS, None]),
        ),
        max_size=6,
    ),
    st.sets(st.sampled_from(HOSTS)),
)
def test_no_round_touches_what_is_under_way_or_concludes_from_silence(
    rows: list[tuple[Seen, Wanted, bool, str, str | None]], away: set[str]
) -> None:
    vms = []
    looks: dict[str, list[object]] = {name: [] for name in HOSTS}
    for number, (what, wanted, busy, there, host) in enumerate(rows, 1):
        one = vm(
            number,
            host=host,
            wanted=wanted,
            operation=UNDER_WAY if busy else None,
            observed=Observed(what=what, at=THEN, boot_id="b-1"),
        )
        vms.append(one)
        if host is not None and there != "gone":
            looks[host].append(sample(one, alive=there == "alive"))
    seen = {n: sighting(*v) for n, v in looks.items()}  # type: ignore[arg-type]
    round_: Scene = scene(vms, seen, dict.fromkeys(away, "no answer"))

    verdict = reconcile.judge(round_)

    before = round_.state.vms
    for after in verdict.vms:
        assert before[after.id].operation is None
        if after.host in away:
            assert after.observed.what is Seen.UNKNOWN
        assert (after.wanted, after.spec, after.host) == (
            *(before[after.id].wanted, before[after.id].spec),
            before[after.id].host,
        )
    for repair in verdict.repairs:
        assert repair.host not in away
        assert repair.vm is not None and repair.vm.operation is None
    # What was written down is not decided again.
    again = replace(
        round_,
        state=replace(round_.state, vms={**before, **{v.id: v for v in verdict.vms}}),
        known={**before, **{v.id: v for v in verdict.vms}},
    )
    assert list(reconcile.judge(again).vms) == []
