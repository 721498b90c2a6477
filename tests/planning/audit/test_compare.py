"""What an audit says of a database and of servers, and that its repairs are enough and no more."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings

from tashictl.adapters.sim.names import NameTables
from tashictl.model.audit import Change, Disagreement
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry
from tashictl.model.state import State
from tashictl.model.vm import Wanted
from tashictl.planning.audit import repairs
from tashictl.planning.audit.table import KINDS
from tests.planning.audit import worlds
from tests.planning.audit.worlds import GONE, OTHERS, a_state, a_vm, registered, told


def said(rows: tuple[Disagreement, ...]) -> list[tuple[str, str]]:
    return [(row.kind, row.subject) for row in rows]


def test_where_all_agree_nothing_is_said() -> None:
    assert told(a_state(a_vm(1), a_vm(2)), registered(1, 2)) == ()


def test_what_is_registered_nowhere_is_missing_everywhere() -> None:
    rows = told(a_state(a_vm(1)), NameTables())
    assert said(rows) == [
        ("dns-missing", "web1.lab.test"),
        ("ptr-missing", "11.0.0.10.in-addr.arpa"),
        ("dhcp-missing", "web1"),
    ]
    assert rows[0].database == "10.0.0.11 of web1"
    assert rows[0].found == "nothing"
    assert all(row.can_be_mended for row in rows)


@pytest.mark.parametrize(
    "values",
    [{"operation": worlds.OPERATION}, {"wanted": Wanted.ABSENT}, {"host": None}],
    ids=["busy", "tombstone", "pending"],
)
def test_of_a_vm_that_an_operation_is_to_settle_nothing_is_said(values: dict[str, Any]) -> None:
    state = a_state(a_vm(1, **values))
    assert told(state, NameTables()) == ()
    assert told(state, registered(1)) == ()


def test_what_has_our_mark_and_no_vm_is_an_orphan() -> None:
    tables = registered(1, 2)
    rows = told(a_state(a_vm(1)), tables)
    assert said(rows) == [
        ("dns-orphan", "web2.lab.test"),
        ("ptr-orphan", "12.0.0.10.in-addr.arpa"),
        ("dhcp-orphan", "web2"),
    ]
    assert rows[0].found == "10.0.0.12 of a VM that is gone (7c1e0000)"
    assert not any(change.add for row in rows for change in row.changes)


def test_marks_of_other_clusters_and_things_without_one_are_no_orphans() -> None:
    tables = NameTables()
    tables.dns["web2.lab.test"] = worlds.dns_entry(2, owner=OTHERS)
    tables.pointers["10.0.0.12"] = worlds.dns_entry(2, owner=OTHERS)
    tables.dhcp["web2"] = worlds.dhcp_entry(2, owner=OTHERS)
    tables.dhcp["web3"] = worlds.dhcp_entry(3, owner="")
    tables.records.add(worlds.record("www.lab.test", "A", "10.0.0.99"))
    assert told(a_state(a_vm(1)), _with(tables, 1)) == ()


def test_a_foreign_record_at_a_vms_name_is_told_and_left() -> None:
    tables = NameTables()
    tables.records.add(worlds.record("web1.lab.test", "A", "10.0.0.99"))
    rows = told(a_state(a_vm(1)), tables)
    assert said(rows)[:2] == [
        ("dns-foreign", "web1.lab.test"),
        ("ptr-missing", "11.0.0.10.in-addr.arpa"),
    ]
    assert rows[0].found == "10.0.0.99, without our mark"
    assert not rows[0].can_be_mended
    assert not rows[1].can_be_mended


def test_what_waits_for_a_server_is_told_once() -> None:
    work = Deferred(entry=worlds.dns_entry(1), add=True, since=worlds.NOW, why="refused")
    tables = _with(NameTables(), 1)
    del tables.dns["web1.lab.test"], tables.pointers["10.0.0.11"]
    rows = told(a_state(a_vm(1), deferred=(work,)), tables)
    assert said(rows) == [("deferred", "web1.lab.test")]
    assert rows[0].waits == "dns/web1.lab.test"


def test_an_address_that_was_changed_by_hand_is_put_right() -> None:
    tables = registered(1)
    tables.dns["web1.lab.test"] = worlds.dns_entry(1, addresses=("10.0.0.99",))
    (row,) = told(a_state(a_vm(1)), tables)
    assert (row.kind, row.found) == ("dns-wrong", "10.0.0.99")
    assert worlds.carry_out(tables, row.changes) == []
    assert told(a_state(a_vm(1)), tables) == ()


def test_a_name_that_a_dead_vm_left_is_taken_over() -> None:
    tables = registered(1)
    tables.dns["web1.lab.test"] = worlds.dns_entry(1, owner=GONE)
    (row,) = told(a_state(a_vm(1)), tables)
    assert (row.kind, [c.add for c in row.changes]) == ("dns-orphan", [False, True])
    assert repairs.is_deletion(row)
    assert worlds.carry_out(tables, row.changes) == []
    assert told(a_state(a_vm(1)), tables) == ()


def test_every_kind_is_in_the_table_once() -> None:
    ids = [kind.id for kind in KINDS]
    assert len(ids) == len(set(ids)) == 16


def _with(tables: NameTables, number: int) -> NameTables:
    """The same servers, with a VM that is registered."""
    fresh = registered(number)
    for own, other in ((tables.dns, fresh.dns), (tables.pointers, fresh.pointers)):
        own.update(other)
    tables.dhcp.update(fresh.dhcp)
    return tables


# -- whatever there is


def not_ours(tables: NameTables, state: State) -> tuple[object, ...]:
    """What no repair may touch: of others, of nobody, of VMs that are in between."""
    open_ = {
        worlds.mark(vm.id)
        for vm in state.vms.values()
        if vm.operation or vm.wanted.value == "absent"
    }
    waiting = {work.entry.key for work in state.deferred.values()}

    def kept(entry: Any) -> bool:
        ours = entry.owner.startswith(f"tashictl:{worlds.CLUSTER}:")
        return not ours or (entry.owner in open_ and entry.key not in waiting)

    return (
        set(tables.records),
        {e for e in tables.dns.values() if kept(e)},
        {(a, e) for a, e in tables.pointers.items() if kept(e)},
        {e for e in tables.dhcp.values() if kept(e)},
    )


@settings(max_examples=400, deadline=None)
@given(worlds.states(), worlds.servers())
def test_after_the_repairs_nothing_is_left_that_could_be_mended(
    state: State, tables: NameTables
) -> None:
    foreign = not_ours(deepcopy(tables), state)
    stuck = _do_what_waits(state, tables)
    state = State(meta=state.meta, vms=state.vms, deferred=stuck)
    changes = repairs.all_of(told(state, tables))
    assert worlds.carry_out(tables, changes) == []
    left = told(state, tables)
    assert [row for row in left if row.changes] == []
    now = not_ours(tables, state)
    assert all(before <= after for before, after in zip(foreign, now, strict=True))  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(worlds.states(), worlds.servers())
def test_nothing_is_removed_that_a_vm_should_have(state: State, tables: NameTables) -> None:
    rows = told(state, tables)
    numbers = list(state.vms)
    wanted = {(e.name, e.mac, e.addresses, e.owner) for e in map(worlds.dhcp_entry, numbers)}
    names = {(e.name, e.owner) for e in map(worlds.dns_entry, numbers)}
    pointers = {(e.name, e.addresses, e.owner) for e in map(worlds.dns_entry, numbers)}
    for change in repairs.removals(rows):
        match change.entry:
            case DhcpEntry() as entry:
                assert (entry.name, entry.mac, entry.addresses, entry.owner) not in wanted
            case DnsEntry() as entry if entry.forward:
                assert (entry.name, entry.owner) not in names
            case DnsEntry() as entry:
                assert (entry.name, entry.addresses, entry.owner) not in pointers


def _do_what_waits(state: State, tables: NameTables) -> dict[str, Deferred]:
    """What the sweep would do first; what a server refuses goes on waiting."""
    return {
        key: work
        for key, work in state.deferred.items()
        if worlds.carry_out(tables, (Change(entry=work.entry, add=work.add),))
    }
