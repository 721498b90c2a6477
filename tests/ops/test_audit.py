"""Audit, repair and import against a real store, simulated servers, and hosts that answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.model.naming import Deferred
from tashictl.model.settings import Server
from tashictl.model.vm import Wanted
from tashictl.ops import audit as ops
from tashictl.ops import audit_import, audit_repair
from tashictl.planning.audit import repairs
from tests.ops.audits import a_stage, answer
from tests.ops.stage import Stage
from tests.planning.audit import worlds
from tests.planning.audit.worlds import GONE, OTHERS, a_vm


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return a_stage(tmp_path, a_vm(1), a_vm(2))


def audited(stage: Stage) -> list[tuple[str, str]]:
    return [(r.kind, r.subject) for r in ops.audit(stage.world, stage.context).rows]


def repaired(stage: Stage) -> audit_repair.Repaired:
    first = ops.audit(stage.world, stage.context)
    return audit_repair.repair(stage.world, stage.context, first)


def leave_behind(stage: Stage, number: int, owner: str = GONE) -> None:
    """What a VM that is gone left at the servers."""
    entry = worlds.dns_entry(number, owner=owner)
    stage.tables.dns[entry.name] = entry
    stage.tables.pointers[worlds.address(number)] = entry
    stage.tables.dhcp[f"web{number}"] = worlds.dhcp_entry(number, owner=owner)


def test_where_all_agree_nothing_is_found_and_all_was_looked_at(stage: Stage) -> None:
    found = ops.audit(stage.world, stage.context)
    assert found.rows == ()
    assert found.lacking == ()
    assert {zone.zone for zone in found.seen.zones} >= {"lab.test", "0.0.10.in-addr.arpa"}
    assert {host.host for host in found.seen.hosts} == {"node1", "node2"}
    assert stage.commits == 0


def test_what_is_missing_is_added_at_once(stage: Stage) -> None:
    stage.tables.dns.clear()
    stage.tables.pointers.clear()
    stage.tables.dhcp.clear()
    done = repaired(stage)
    assert done.after.rows == ()
    assert len(done.done) == 6
    assert stage.clock.passed_s == 0
    assert set(stage.tables.dns) == {"web1.lab.test", "web2.lab.test"}
    assert repaired(stage).done == ()


def test_what_is_too_much_is_removed_after_the_longest_deadline(stage: Stage) -> None:
    leave_behind(stage, 5)
    done = repaired(stage)
    assert done.after.rows == ()
    assert stage.clock.passed_s >= repairs.longest_s(stage.context.settings) == 40
    assert any("looking again in 40 s" in line for line in stage.report.waited)
    assert "web5.lab.test" not in stage.tables.dns
    assert "web5" not in stage.tables.dhcp
    assert repaired(stage).done == ()


def test_what_was_seen_only_once_is_not_removed(stage: Stage) -> None:
    leave_behind(stage, 5)
    upon_sleep(stage, lambda: leave_behind(stage, 6))
    done = repaired(stage)
    assert "web5.lab.test" not in stage.tables.dns
    assert "web6.lab.test" in stage.tables.dns
    assert ("dns-orphan", "web6.lab.test") in [(r.kind, r.subject) for r in done.after.rows]


def test_of_a_vm_that_changed_while_it_was_looked_around_nothing_is_said(stage: Stage) -> None:
    """It was registered after the servers had been asked."""

    def born() -> None:
        with stage.store.transaction() as tx:
            tx.put_vm(a_vm(5))

    upon_look(stage, 1, born)
    assert audited(stage) == []
    assert ("dns-missing", "web5.lab.test") in audited(stage)


def test_a_vm_that_comes_meanwhile_keeps_its_names(stage: Stage) -> None:
    """Its registration was seen twice without a VM; its record is there when it is to go."""
    leave_behind(stage, 5, owner=worlds.mark(5))

    def born() -> None:
        with stage.store.transaction() as tx:
            tx.put_vm(a_vm(5))

    upon_look(stage, 2, born)
    done = repaired(stage)
    assert "web5.lab.test" in stage.tables.dns
    assert "web5" in stage.tables.dhcp
    assert not any(not c.add for c in done.done)


def test_what_waits_to_be_added_is_not_removed(stage: Stage) -> None:
    leave_behind(stage, 5, owner=worlds.mark(5))

    def deferred() -> None:
        with stage.store.transaction() as tx:
            for entry in (worlds.dns_entry(5), worlds.dhcp_entry(5)):
                tx.put_deferred(Deferred(entry=entry, add=True, since=worlds.NOW, why="down"))
            tx.put_vm(a_vm(5, operation=worlds.OPERATION))

    upon_look(stage, 2, deferred)
    repaired(stage)
    assert "web5.lab.test" in stage.tables.dns
    assert "web5" in stage.tables.dhcp


def test_a_vm_that_goes_meanwhile_is_not_registered_again(stage: Stage) -> None:
    stage.tables.dns.clear()
    first = ops.audit(stage.world, stage.context)
    with stage.store.transaction() as tx:
        tx.remove_vm(1)
        tx.put_vm(a_vm(2, wanted=Wanted.ABSENT))
    done = audit_repair.repair(stage.world, stage.context, first)
    assert [c for c in done.done if c.add] == []
    assert stage.tables.dns == {}


def test_a_vm_that_is_held_by_somebody_is_left(stage: Stage) -> None:
    stage.tables.dns.clear()
    with stage.other_locks().vm(1):
        done = repaired(stage)
    assert [c.entry.name for c in done.done] == ["web2.lab.test"]
    assert [r.subject for r in done.after.rows] == ["web1.lab.test"]


def test_what_is_foreign_is_left_and_told(stage: Stage) -> None:
    leave_behind(stage, 5, owner=OTHERS)
    stage.tables.records.add(worlds.record("www.lab.test", "A", "10.0.0.50"))
    before = (set(stage.tables.records), dict(stage.tables.dns), dict(stage.tables.dhcp))
    assert audited(stage) == []
    assert repaired(stage).done == ()
    assert before == (stage.tables.records, stage.tables.dns, stage.tables.dhcp)


def test_what_waits_for_a_server_is_done(stage: Stage) -> None:
    leave_behind(stage, 5)
    with stage.store.transaction() as tx:
        for entry in (worlds.dns_entry(5, owner=GONE), worlds.dhcp_entry(5, owner=GONE)):
            tx.put_deferred(Deferred(entry=entry, add=False, since=worlds.NOW, why="down"))
    assert audited(stage) == [("deferred", "web5"), ("deferred", "web5.lab.test")]
    assert repaired(stage).after.rows == ()
    assert stage.state.deferred == {}
    assert stage.clock.passed_s == 0


def test_a_server_that_is_down_is_told_and_nothing_of_it_is_said(stage: Stage) -> None:
    stage.tables.down = {"dns"}
    stage.remote.down = {"node1"}
    found = ops.audit(stage.world, stage.context)
    assert found.rows == ()
    lacking = [one.source for one in found.lacking]
    assert lacking == ["dns 10.0.0.2 53", "dhcp isc-omapi", "host node1"]


def test_a_dhcp_server_on_no_host_of_ours_is_asked_name_by_name(stage: Stage) -> None:
    dhcp = replace(stage.context.settings.dhcp, server=Server(host="10.0.0.2", port=7911))
    stage.context = replace(stage.context, settings=replace(stage.context.settings, dhcp=dhcp))
    stage.tables.dhcp["web5"] = worlds.dhcp_entry(5, owner=GONE)
    stage.tables.dhcp["web1"] = worlds.dhcp_entry(1, addresses=("10.0.0.77",))
    assert audited(stage) == [("dhcp-wrong", "web1")]
    assert repaired(stage).after.rows == ()
    assert stage.tables.dhcp["web1"] == worlds.dhcp_entry(1)


def test_a_zone_that_is_not_given_out_is_asked_name_by_name(stage: Stage) -> None:
    stage.tables.transfers = False
    del stage.tables.dns["web1.lab.test"]
    leave_behind(stage, 5)
    found = ops.audit(stage.world, stage.context)
    assert ("dns-missing", "web1.lab.test") in [(r.kind, r.subject) for r in found.rows]
    assert not [r for r in found.rows if r.subject == "web5.lab.test"]
    assert all(one.lacks for one in found.seen.unseen)
    assert {one.source for one in found.seen.unseen} >= {"dns lab.test"}


def test_hosts_tell_of_addresses_macs_and_taps(stage: Stage) -> None:
    met = {"dst": "10.0.0.11", "dev": "vmbr", "lladdr": "52:54:00:99:99:99", "state": ["REACHABLE"]}
    stage.remote.probes["node1"] = lambda nonce: answer(
        nonce,
        stage.tables,
        neighbours=[{**met, "confirmed": 3}, {"dst": "10.0.0.12", "state": ["FAILED"]}],
        taps=["tashi1.0", "tashi7.0", "tashi2.3"],
        qemus=[
            f"100 1 {worlds.uuid(1)} {worlds.mac(1)} 52:54:00:77:77:77",
            f"101 100 {worlds.uuid(1)} {worlds.mac(1)}",
            f"102 1 {worlds.uuid(2)} {worlds.mac(2)}",
        ],
    )
    stage.remote.probes["node2"] = lambda nonce: answer(
        nonce, qemus=[f"7 1 {worlds.uuid(2)} {worlds.mac(2)}"]
    )
    assert audited(stage) == [
        ("address-taken", "10.0.0.11"),
        ("mac-unknown", "52:54:00:77:77:77"),
        ("mac-twice", worlds.mac(2)),
        ("tap-orphan", "tashi2.3"),
        ("tap-orphan", "tashi7.0"),
    ]


def test_a_login_that_does_not_see_all_is_told(stage: Stage) -> None:
    stage.remote.probes["node2"] = lambda nonce: answer(nonce, qemus=["hidden"])
    found = ops.audit(stage.world, stage.context)
    assert (found.rows, found.lacking) == ((), ())
    (told,) = found.seen.unseen
    assert (told.source, told.error.code) == ("host node2", "E-AUDIT-HIDDEN")


def test_an_old_neighbour_is_not_taken_for_one_that_is_there(stage: Stage) -> None:
    met = {"dst": "10.0.0.11", "dev": "vmbr", "lladdr": "52:54:00:99:99:99", "state": ["STALE"]}
    hours_s = 3 * 3600
    stage.remote.probes["node1"] = lambda nonce: answer(
        nonce, stage.tables, neighbours=[{**met, "confirmed": hours_s + 1}]
    )
    assert audited(stage) == []


# -- import


def test_addresses_that_servers_have_become_reservations(stage: Stage) -> None:
    stage.tables.records |= {
        worlds.record("www.lab.test", "A", "10.0.0.50"),
        worlds.record("far.lab.test", "A", "10.9.9.9"),
        worlds.record("web1.lab.test", "A", "10.0.0.11"),
    }
    stage.tables.dns["other.lab.test"] = replace(
        worlds.dns_entry(5, owner=OTHERS), name="other.lab.test"
    )
    seen = ops.servers(stage.world, stage.context, stage.state)
    done = audit_import.carry_out(stage.world, stage.context, seen)
    assert {(k.ip, k.why) for k in done.new} == {
        ("10.0.0.50", "in DNS: www.lab.test"),
        ("10.0.0.15", "in DNS: other.lab.test of cluster ffffffffffff"),
    }
    assert stage.state.quarantine["1/10.0.0.50"].until == "9999-12-31T00:00:00Z"
    again = audit_import.carry_out(stage.world, stage.context, seen)
    assert (again.new, again.released, len(again.kept)) == ((), (), 2)


def test_a_reservation_goes_with_what_it_was_for(stage: Stage) -> None:
    www = worlds.record("www.lab.test", "A", "10.0.0.50")
    stage.tables.records.add(www)
    seen = ops.servers(stage.world, stage.context, stage.state)
    audit_import.carry_out(stage.world, stage.context, seen)
    stage.tables.records.discard(www)
    stage.tables.down = {"dns"}
    lost = ops.servers(stage.world, stage.context, stage.state)
    assert audit_import.plan(stage.world, stage.context, lost).released == ()
    stage.tables.down, stage.tables.transfers = set(), False
    partly = ops.servers(stage.world, stage.context, stage.state)
    assert audit_import.plan(stage.world, stage.context, partly).released == ()
    stage.tables.transfers = True
    seen = ops.servers(stage.world, stage.context, stage.state)
    done = audit_import.carry_out(stage.world, stage.context, seen)
    assert [k.ip for k in done.released] == ["10.0.0.50"]
    assert stage.state.quarantine == {}


# -- helpers


def upon_sleep(stage: Stage, act: Callable[[], object]) -> None:
    """While it is waited, something happens, once."""
    sleep = stage.clock.sleep

    def slept(seconds: float) -> None:
        stage.clock.sleep = sleep  # type: ignore[method-assign]
        act()
        sleep(seconds)

    stage.clock.sleep = slept  # type: ignore[method-assign]


def upon_look(stage: Stage, number: int, act: Callable[[], object]) -> None:
    """When the hosts answer for the first, second … time, something happens."""
    count = 0

    def answered(nonce: str) -> bytes:
        nonlocal count
        count += 1
        if count == number:
            act()
        return answer(nonce)

    stage.remote.probes["node2"] = answered
