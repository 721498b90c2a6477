"""Schema upgrades, tried with an artificial one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tashictl.adapters.store.form import sealed
from tashictl.adapters.store.tiny import TinyStore
from tashictl.adapters.store.upgrade import LADDER, Ladder, Tables
from tashictl.errors import NotPermitted
from tests.adapters.doubles import a_vm


def from_4(tables: Tables) -> Tables:
    vms = {key: {**vm, "user": f"{vm['user']}-5"} for key, vm in tables["vms"].items()}
    return {**tables, "vms": vms}


def from_5(tables: Tables) -> Tables:
    meta = {key: {**value, "schema": 6} for key, value in tables["meta"].items()}
    vms = {key: {**vm, "user": f"{vm['user']}-6"} for key, vm in tables["vms"].items()}
    return {**tables, "meta": meta, "vms": vms}


LATER = Ladder(schema=6, min_writer=6, upgrades={4: from_4, 5: from_5})


@pytest.fixture
def newer(store: TinyStore, reopened: Callable[..., TinyStore]) -> TinyStore:
    """A later version's store on a database of ours with one VM."""
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
        tx.put_vm(a_vm(2))
    return reopened(ladder=LATER)


def test_an_older_schema_is_upgraded_in_memory_only(newer: TinyStore, state_file: Path) -> None:
    before = state_file.read_bytes()
    assert newer.read().vms[1].user == "dev-5-6"
    with newer.transaction():
        pass
    assert state_file.read_bytes() == before


def test_the_next_commit_writes_the_new_schema(
    newer: TinyStore, store: TinyStore, state_file: Path
) -> None:
    with newer.transaction() as tx:
        tx.put_vm(a_vm(2, user="changed"))
    assert state_file.read_bytes().startswith(
        b'{"format":"tashictl-state","schema":6,"min_writer":6'
    )
    state = newer.read()
    assert [vm.user for vm in state.vms.values()] == ["dev-5-6", "changed"]
    assert (state.meta.schema, state.meta.min_writer, state.meta.generation) == (6, 6, 2)
    with pytest.raises(NotPermitted) as caught:
        store.read()
    assert caught.value.code == "E-SCHEMA"


def test_a_gap_in_the_ladder_is_refused(
    newer: TinyStore, reopened: Callable[..., TinyStore]
) -> None:
    gap = Ladder(schema=6, min_writer=6, upgrades={5: from_5})
    with pytest.raises(NotPermitted):
        reopened(ladder=gap).read()


def test_an_upgrade_that_does_not_fit_is_damage_and_not_a_traceback(
    newer: TinyStore, reopened: Callable[..., TinyStore], state_file: Path
) -> None:
    bad = Ladder(schema=5, min_writer=1, upgrades={4: lambda tables: {**tables, "vms": {"x": {}}}})
    with pytest.raises(Exception, match="does not fit its schema"):
        reopened(ladder=bad).read()


def test_every_schema_up_to_ours_has_its_upgrade() -> None:
    assert LADDER.reaches_from(1)
    assert sealed(b"", LADDER.schema, LADDER.min_writer)


def test_an_older_state_has_no_address_in_quarantine() -> None:
    tables: Tables = {"meta": {}, "vms": {}, "hosts": {}, "images": {}}
    assert LADDER.climb(tables, 2)["quarantine"] == {}
