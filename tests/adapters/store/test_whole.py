"""The state file as a whole: what a rebuild finds of it, and how it is put in place."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.check import check
from tashictl.adapters.store.tiny import TinyStore
from tashictl.adapters.store.whole import WholeStateFile
from tashictl.errors import Conflict
from tashictl.model.state import Quarantined, State
from tests.adapters.doubles import ManualClock, a_host, a_vm, an_image


@pytest.fixture
def folder(state_file: Path) -> Path:
    return state_file.parent


@pytest.fixture
def whole(folder: Path) -> WholeStateFile:
    clock = ManualClock()
    return WholeStateFile(str(folder), FileLocks(f"{folder}/locks", clock, "me@ws", 1.0), clock)


def fill(store: TinyStore) -> State:
    """A state with something in each table, two commits old."""
    kept = Quarantined(network=1, ip="10.0.0.9", until="2026-03-02T00:00:00Z", why="x")
    with store.transaction() as tx:
        tx.put_vm(a_vm(1))
        tx.put_host(a_host("node1"))
        tx.put_image(an_image("demo.qcow2"))
        tx.put_quarantine(kept)
    with store.transaction() as tx:
        tx.put_vm(a_vm(2))
    return store.read()


def test_what_is_put_in_place_is_read_and_changed_as_any_other(
    store: TinyStore, whole: WholeStateFile, folder: Path
) -> None:
    new = replace(fill(store), vms={7: a_vm(7)})
    kept = whole.replace(new, whole.mark())
    assert store.read() == new
    assert kept is not None
    assert Path(kept).name.startswith("before-rebuild-")
    with store.transaction() as tx:
        tx.put_vm(a_vm(8))
        tx.remove_quarantine("1/10.0.0.9")
    assert list(store.read().vms) == [7, 8]
    assert store.read().quarantine == {}
    found = check(str(folder), FileJournals(f"{folder}/journal", ManualClock()))
    assert [f for f in found if f.severity == "error" and f.id != "state-consistent"] == []


def test_an_empty_folder_gets_a_state(
    store: TinyStore, whole: WholeStateFile, folder: Path, state_file: Path
) -> None:
    state = fill(store)
    for path in (state_file, *folder.glob("backups/*")):
        path.unlink()
    (folder / "backups").rmdir()
    assert (whole.mark(), whole.readable()) == ("", ())
    whole.make_folders()
    with whole.alone():
        assert whole.replace(state, "") is None
    assert store.read() == state
    assert (folder.stat().st_mode & 0o777, state_file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_another_process_wrote_meanwhile_is_not_replaced(
    store: TinyStore, whole: WholeStateFile, state_file: Path
) -> None:
    new = replace(fill(store), vms={})
    mark = whole.mark()
    with store.transaction() as tx:
        tx.put_vm(a_vm(3))
    before = state_file.read_bytes()
    with pytest.raises(Conflict) as caught:
        whole.replace(new, mark)
    assert caught.value.code == "E-CHANGED"
    assert state_file.read_bytes() == before


def test_two_rebuilds_keep_each_other_out(whole: WholeStateFile) -> None:
    with whole.alone(), pytest.raises(Conflict), whole.alone():
        raise AssertionError("the block must not run")


def test_of_the_backups_the_newest_good_one_is_found(
    store: TinyStore, whole: WholeStateFile, folder: Path, state_file: Path
) -> None:
    fill(store)
    store.backup("mine")
    rotating = sorted((folder / "backups").glob("0*"))
    state_file.write_bytes(b"spoilt")
    found = whole.readable()
    assert [Path(path).name for path, _ in found] == [rotating[-1].name, "mine.json"]
    assert [state.meta.generation for _, state in found] == [1, 2]
    rotating[-1].write_bytes(b"spoilt too")
    assert [state.meta.generation for _, state in whole.readable()] == [0, 2]


def test_a_damaged_file_is_kept_as_it_was(
    store: TinyStore, whole: WholeStateFile, state_file: Path
) -> None:
    state = fill(store)
    state_file.write_bytes(b"spoilt")
    kept = whole.replace(state, whole.mark())
    assert kept is not None
    assert Path(kept).read_bytes() == b"spoilt"
    assert store.read() == state
