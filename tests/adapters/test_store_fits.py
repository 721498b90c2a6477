"""The adapters fit the ports: mypy proves it by the annotations here."""

from __future__ import annotations

from pathlib import Path

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.dice import SystemDice
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.create import create
from tashictl.adapters.store.form import ReadOnlyStore
from tashictl.adapters.store.tiny import TinyStore
from tashictl.adapters.who import SystemWho
from tashictl.ops import ports
from tests.adapters.doubles import CLUSTER, a_header, a_vm


def test_the_adapters_fit_the_ports(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    create(state, CLUSTER)
    clock: ports.Clock = SystemClock()
    dice: ports.Dice = SystemDice()
    who: ports.Who = SystemWho()
    file_locks = FileLocks(f"{state}/locks", clock, who.controller(), 1.0)
    locks: ports.Locks = file_locks
    store: ports.Store = TinyStore(state, file_locks, clock)
    reader: ports.Store = ReadOnlyStore(state)
    journals: ports.Journals = FileJournals(f"{state}/journal", clock)
    with locks.vm(1), locks.image("a"), locks.host_shared("h"), store.transaction() as opened:
        transaction: ports.Transaction = opened
        transaction.put_vm(a_vm(1, uuid=dice.uuid()))
    journal: ports.Journal = journals.create(a_header(1))
    assert journal.view == journals.read(1)
    journal.close()
    with locks.host("h"):
        assert store.read() == reader.read()
