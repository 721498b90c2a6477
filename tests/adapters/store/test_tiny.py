"""The TinyDB back end: the contract, and what is its own: fsyncs, lock, backups, restore."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store import form
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import Conflict, InvalidRequest, OperationFailed
from tests.adapters.doubles import (
    ManualClock,
    a_host,
    a_vm,
    an_image,
    counted_fsyncs,
    failing,
)
from tests.adapters.store.contract import Opener, StoreContract


class TestTiny(StoreContract):
    @pytest.fixture
    def opened(self, folder: Path) -> Opener:
        def make() -> TinyStore:
            clock = SystemClock()
            return TinyStore(
                str(folder), FileLocks(f"{folder}/locks", clock, "dev@ws", 30.0), clock
            )

        return make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_transaction_costs_two_fsyncs_a_closing_one_costs_one(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = counted_fsyncs(monkeypatch)
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    assert len(synced) == 2
    with store.closing_transaction() as tx:
        tx.put_vm(a_vm(2))
    assert len(synced) == 3


def test_nothing_changed_is_nothing_written(
    store: TinyStore, state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_file.stat()
    synced = counted_fsyncs(monkeypatch)
    with store.transaction() as tx:
        assert tx.state.vms == {}
    after = state_file.stat()
    assert synced == []
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_file_holds_tinydb_tables_by_document_id(store: TinyStore, state_file: Path) -> None:
    with store.transaction() as tx:
        tx.put_vm(a_vm(12))
        tx.put_image(an_image("a"))
    tables = json.loads(state_file.read_text().split("\n", 1)[1])
    assert tables["vms"]["12"]["name"] == "vm12"
    assert tables["images"]["1"]["name"] == "a"
    assert tables["meta"]["1"]["generation"] == 1


def test_everything_is_private(store: TinyStore, folder: Path) -> None:
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    store.backup("mine")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(p.stat().st_mode) for p in (folder, *folder.iterdir()) if p.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


@pytest.mark.parametrize(("call", "after"), [("write", 0), ("fsync", 0), ("replace", 0)])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    store: TinyStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    after: int,
    number: int,
) -> None:
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    before = (folder / "tashi.json").read_bytes()
    with monkeypatch.context() as patch:
        failing(patch, call, number, after)
        with pytest.raises(OperationFailed) as caught, store.transaction() as tx:
            tx.put_vm(a_vm(2))
    assert caught.value.code == "E-DISK-FULL"
    assert (folder / "tashi.json").read_bytes() == before
    assert names(folder) == ["backups", "journal", "locks", "tashi.json"]
    with store.transaction() as tx:
        tx.put_vm(a_vm(2))
    assert list(store.read().vms) == [1, 2]


def test_a_write_that_stops_half_way_is_taken_up_again(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    assert store.read().vms == {1: a_vm(1)}


def test_a_folder_that_cannot_be_synced_is_reported_and_the_new_state_stands(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, after=1)
        with pytest.raises(OperationFailed) as caught, store.transaction() as tx:
            tx.put_vm(a_vm(1))
    assert caught.value.code == "E-FILE"
    assert "durable" in caught.value.what
    assert store.read().vms == {1: a_vm(1)}


def test_the_lock_is_waited_for_and_then_refused_with_its_holder(
    reopened: Callable[..., TinyStore], clock: ManualClock
) -> None:
    with reopened().transaction(), pytest.raises(Conflict) as caught, reopened().transaction():
        pass
    assert caught.value.code == "E-LOCKED"
    assert "(dev@ws) since 2026-03-01T00:00:00Z" in caught.value.cause
    assert clock.passed_s == pytest.approx(10.0, abs=0.2)


def test_a_failing_backup_does_not_fail_the_commit(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "link", errno.EPERM)
    failing(monkeypatch, "listdir", errno.EIO)
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    assert store.read().vms == {1: a_vm(1)}


def test_backups_rotate_and_named_ones_stay(
    reopened: Callable[..., TinyStore], folder: Path, clock: ManualClock
) -> None:
    store = reopened(keep=3)
    store.backup("mine")
    for number in range(1, 7):
        clock.sleep(60)
        with store.transaction() as tx:
            tx.put_vm(a_vm(number))
    assert names(folder / "backups") == [
        "00000003-20260301T000400Z.json",
        "00000004-20260301T000500Z.json",
        "00000005-20260301T000600Z.json",
        "mine.json",
    ]
    assert [Path(path).name for path in store.backups()] == names(folder / "backups")


def test_no_rotating_backups_are_kept_when_none_are_wanted(
    reopened: Callable[..., TinyStore], folder: Path
) -> None:
    for number, keep in ((1, 3), (2, 0)):
        with reopened(keep=keep).transaction() as tx:
            tx.put_vm(a_vm(number))
    assert names(folder / "backups") == []


def test_after_a_restore_the_latest_backups_stay_though_their_generation_is_lower(
    reopened: Callable[..., TinyStore], folder: Path, clock: ManualClock
) -> None:
    store = reopened(keep=2)
    start = store.backup("start")
    for number in range(1, 7):
        if number == 5:
            store.restore(start)
        clock.sleep(60)
        with store.transaction() as tx:
            tx.put_vm(a_vm(number))
    rotating = [name for name in names(folder / "backups") if name[0].isdigit()]
    assert rotating == ["00000000-20260301T000500Z.json", "00000001-20260301T000600Z.json"]


def test_the_temporary_file_of_a_killed_writer_goes_with_the_next_commit(
    store: TinyStore, folder: Path
) -> None:
    (folder / ".tashi.json.1.0.tmp").touch()
    (folder / ".known_hosts.1.0.tmp").touch()
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    assert [name for name in names(folder) if name.endswith(".tmp")] == [".known_hosts.1.0.tmp"]


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-x", "00000001-20260301T000000Z"])
def test_a_backup_with_an_odd_name_is_refused(store: TinyStore, name: str) -> None:
    with pytest.raises(InvalidRequest):
        store.backup(name)


def test_a_backup_never_overwrites_another(store: TinyStore) -> None:
    store.backup("mine")
    with pytest.raises(Conflict) as caught:
        store.backup("mine")
    assert caught.value.code == "E-EXISTS"


def test_a_damaged_state_is_not_backed_up(store: TinyStore, state_file: Path) -> None:
    state_file.write_bytes(state_file.read_bytes()[:-1])
    with pytest.raises(OperationFailed):
        store.backup()
    assert store.backups() == ()


def test_restore_brings_the_backup_back_with_its_counters(store: TinyStore) -> None:
    with store.transaction() as tx:
        tx.put_vm(a_vm(tx.next_vm_id()))
    path = store.backup()
    with store.transaction() as tx:
        tx.put_vm(a_vm(tx.next_vm_id()))
        tx.next_operation_id()
    kept = store.restore(path)
    meta = store.read().meta
    assert list(store.read().vms) == [1]
    assert (meta.generation, meta.epoch, meta.last_operation_id) == (1, 1, 0)
    assert kept is not None
    store.restore(kept)
    assert list(store.read().vms) == [1, 2]


def test_a_damaged_state_is_kept_when_it_is_restored_over(
    store: TinyStore, state_file: Path
) -> None:
    path = store.backup("good")
    state_file.write_bytes(b"rubbish")
    kept = store.restore(path)
    assert kept is not None
    assert Path(kept).read_bytes() == b"rubbish"
    assert store.read().meta.generation == 0
    assert store.restore(path) != kept


def test_a_lost_state_is_restored(store: TinyStore, state_file: Path) -> None:
    path = store.backup("good")
    state_file.unlink()
    assert store.restore(path) is None
    assert store.read().vms == {}


def test_a_bad_backup_is_not_restored(store: TinyStore, tmp_path: Path, state_file: Path) -> None:
    before = state_file.read_bytes()
    bad = tmp_path / "bad.json"
    bad.write_bytes(before[:-3])
    for path, kind in ((bad, OperationFailed), (tmp_path / "none", InvalidRequest)):
        with pytest.raises(kind):
            store.restore(str(path))
    assert state_file.read_bytes() == before


def test_hosts_keep_their_order_when_one_is_changed(store: TinyStore) -> None:
    with store.transaction() as tx:
        for number, name in enumerate("cab", start=1):
            tx.put_host(a_host(name, number))
    with store.transaction() as tx:
        tx.put_host(a_host("c", 1, notes="changed"))
    assert list(store.read().hosts) == ["c", "a", "b"]


def test_after_a_commit_a_store_finds_what_any_other_reader_finds(
    reopened: Callable[..., TinyStore],
) -> None:
    store = reopened()
    with store.transaction() as tx:
        tx.put_all([a_vm(7), a_vm(3)], [a_host("b", 1), a_host("a", 2)])
        tx.put_image(an_image("z"))
    with store.transaction() as tx:
        tx.put_vm(a_vm(5))
        tx.put_host(a_host("c", 3))
        tx.remove_host("b")
        tx.put_image(an_image("y"))
    ours, theirs = store.read(), reopened().read()
    assert ours == theirs
    for table in ("vms", "hosts", "images"):
        assert list(getattr(ours, table)) == list(getattr(theirs, table))
    with store.transaction() as tx:
        tx.put_host(a_host("b", 4))
    assert list(store.read().hosts) == list(reopened().read().hosts)


def test_a_large_state_is_written_as_a_small_one_is(
    reopened: Callable[..., TinyStore], state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = state_file.read_bytes()
    written = []
    for large in (1 << 30, 0):
        monkeypatch.setattr(form, "_LARGE", large)
        state_file.write_bytes(empty)
        store = reopened()
        with store.transaction() as tx:
            tx.put_all([a_vm(n) for n in range(600, 0, -1)], [a_host("b", 1), a_host("a", 2)])
            tx.put_image(an_image("z"))
        for own in (store, reopened()):
            with own.transaction() as tx:
                tx.put_vm(msgspec.structs.replace(a_vm(5), name=f"n{tx.state.meta.generation}"))
                tx.remove_vm(7 + tx.state.meta.generation)
                tx.put_host(a_host("b", 1, notes="changed"))
                tx.put_image(an_image(f"y{tx.state.meta.generation}"))
            assert own.read() == reopened().read()
            assert list(own.read().hosts) == ["b", "a"]
        written.append(state_file.read_bytes())
    assert written[0] == written[1]


def test_what_a_newer_version_keeps_beside_the_tables_stays_in_a_large_state(
    reopened: Callable[..., TinyStore], state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "_LARGE", 0)
    seal, _, body = state_file.read_bytes().partition(b"\n")
    found = json.loads(seal)
    tables = {**json.loads(body), "more": {"1": {"a": 1}}}
    more = json.dumps(tables).encode()
    state_file.write_bytes(form.sealed(more, found["schema"], found["min_writer"]))
    store = reopened()
    for number in (1, 2):
        with store.transaction() as tx:
            tx.put_vm(a_vm(number))
    body = state_file.read_bytes().partition(b"\n")[2]
    assert json.loads(body)["more"] == {"1": {"a": 1}}


def test_damage_to_a_large_state_that_was_read_before_is_noticed(
    reopened: Callable[..., TinyStore], state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "_LARGE", 0)
    store = reopened()
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
    other = reopened()
    before = other.read()
    assert other.read().vms[1] is before.vms[1]
    raw = state_file.read_bytes()
    state_file.write_bytes(raw.replace(b'"held":false', b'"held":true '))
    for damaged in (other, store):
        with pytest.raises(OperationFailed) as caught:
            damaged.read()
        assert caught.value.code == "E-STATE-DAMAGED"


def test_records_that_did_not_change_are_in_memory_once(
    reopened: Callable[..., TinyStore],
) -> None:
    store, other = reopened(), reopened()
    with store.transaction() as tx:
        tx.put_all([a_vm(1), a_vm(2)], [])
    before = store.read()
    with store.transaction() as tx:
        tx.put_vm(a_vm(3))
    assert store.read().vms[1] is before.vms[1]
    with other.transaction() as tx:
        tx.put_vm(msgspec.structs.replace(a_vm(2), name="another"))
    assert store.read().vms[2].name == "another"
