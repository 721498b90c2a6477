"""The examined state folder: each fault is found, and a sound one has none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tashictl.adapters import files
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.store.check import check
from tashictl.adapters.store.form import sealed
from tashictl.adapters.store.tiny import TinyStore
from tashictl.model.operation import Ended, Status
from tashictl.model.vm import OperationKind, OperationRef
from tests.adapters.doubles import ManualClock, a_header, a_host, a_vm

ENDED = Ended(at="2026-03-01T00:00:01Z", status=Status.DONE)


@pytest.fixture
def journals(folder: Path, clock: ManualClock) -> FileJournals:
    return FileJournals(f"{folder}/journal", clock)


@pytest.fixture
def sound(store: TinyStore, journals: FileJournals) -> FileJournals:
    """A folder with a VM whose operation is interrupted, and an operation that ended."""
    reference = OperationRef(id=2, kind=OperationKind.CREATE, started="2026-03-01T00:00:00Z")
    with store.transaction() as tx:
        tx.next_operation_id()
        tx.next_operation_id()
        tx.put_vm(a_vm(tx.next_vm_id(), operation=reference))
        tx.put_host(a_host("node1"))
    journals.create(a_header(1), ENDED).close()
    journals.create(a_header(2)).close()
    return journals


def faults(folder: Path, journals: FileJournals) -> list[tuple[str, str]]:
    found = check(str(folder), journals)
    return sorted((f.id, f.severity) for f in found if f.severity != "note")


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    body = path.read_bytes().split(b"\n", 1)[1]
    assert old in body
    path.write_bytes(sealed(body.replace(old, new), 1, 1))


def test_a_sound_folder_has_no_faults_and_says_what_it_is(
    folder: Path, sound: FileJournals
) -> None:
    assert faults(folder, sound) == []
    notes = {f.id: f.evidence for f in check(str(folder), sound)}
    assert "schema 4, epoch 1, generation 1, 1 VMs, 1 hosts" in notes["state-file"]
    assert notes["state-backups"] == "1 backups, 1 of them whole"


def test_damage_is_found_and_names_the_remedy(
    folder: Path, state_file: Path, sound: FileJournals
) -> None:
    state_file.write_bytes(b"")
    found = check(str(folder), sound)
    assert faults(folder, sound) == [("state-file", "error")]
    assert "state restore" in found[0].remedy


def test_a_damaged_backup_is_found_and_what_a_restore_replaced_is_not_a_fault(
    folder: Path, store: TinyStore, state_file: Path, sound: FileJournals
) -> None:
    good = store.backup("good")
    (folder / "backups" / "bad.json").touch(mode=0o600)
    state_file.write_bytes(b"rubbish")
    store.restore(good)
    assert faults(folder, sound) == [("state-backup", "warning")]


def test_what_others_can_read_is_found(folder: Path, sound: FileJournals) -> None:
    (folder / "journal" / "1.jsonl").chmod(0o644)
    folder.chmod(0o755)
    (folder / "seeds").mkdir(mode=0o700)
    (folder / "seeds" / "u.iso").touch(mode=0o640)
    assert faults(folder, sound) == [("state-private", "error")] * 3


def test_temporary_files_that_were_left_are_found(folder: Path, sound: FileJournals) -> None:
    (folder / ".tashi.json.1.0.tmp").touch(mode=0o600)
    (folder / "journal" / ".9.jsonl.1.0.tmp").touch(mode=0o600)
    assert faults(folder, sound) == [("state-temp", "warning")] * 2


def test_a_record_without_its_journal_is_found(folder: Path, sound: FileJournals) -> None:
    (folder / "journal" / "2.jsonl").unlink()
    assert faults(folder, sound) == [("record-without-journal", "warning")]


def test_an_interrupted_journal_without_its_record_is_found(
    folder: Path, store: TinyStore, sound: FileJournals
) -> None:
    with store.transaction() as tx:
        tx.put_vm(msgspec.structs.replace(tx.state.vms[1], operation=None))
    assert faults(folder, sound) == [("journal-without-record", "warning")]


def test_a_running_operation_and_an_image_import_need_no_record(
    folder: Path, store: TinyStore, sound: FileJournals
) -> None:
    with store.transaction() as tx:
        tx.next_operation_id()
        tx.next_operation_id()
    held = sound.create(a_header(3))
    sound.create(a_header(4, kind=OperationKind.IMAGE_IMPORT, vm=None)).close()
    assert faults(folder, sound) == []
    held.close()
    assert faults(folder, sound) == [("journal-without-record", "warning")]


def test_a_journal_from_the_future_says_that_the_database_is_old(
    folder: Path, sound: FileJournals
) -> None:
    sound.create(a_header(9), ENDED).close()
    assert faults(folder, sound) == [("state-old", "error")]


def test_a_database_that_a_host_proved_old_is_named(
    folder: Path, store: TinyStore, sound: FileJournals
) -> None:
    with store.transaction() as tx:
        tx.mark_stale("node1 knows more")
    assert faults(folder, sound) == [("state-old", "error")]


def test_a_damaged_journal_is_found(folder: Path, sound: FileJournals) -> None:
    (folder / "journal" / "1.jsonl").write_bytes(b"rubbish\n")
    assert faults(folder, sound) == [("journal", "error")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"vms":{"1":', b'"vms":{"5":'),
        (b'"last_vm_id":1', b'"last_vm_id":0'),
        (b'"last_host_id":1', b'"last_host_id":0'),
    ],
)
def test_what_no_transaction_would_have_written_is_found(
    folder: Path, state_file: Path, sound: FileJournals, old: bytes, new: bytes
) -> None:
    rewritten(state_file, old, new)
    assert ("state-consistent", "error") in faults(folder, sound)


def test_names_and_numbers_that_are_there_twice_are_found(
    folder: Path, store: TinyStore, sound: FileJournals
) -> None:
    with store.transaction() as tx:
        tx.put_vm(a_vm(tx.next_vm_id(), name="vm1"))
        tx.put_host(a_host("node2", 1))
    assert faults(folder, sound) == [("state-consistent", "error")] * 2


def test_lock_files_of_vms_that_are_gone_are_listed(folder: Path, sound: FileJournals) -> None:
    for name in ("vm-1", "vm-70", "host-node9"):
        (folder / "locks" / name).touch(mode=0o600)
    found = {f.id: f.evidence for f in check(str(folder), sound)}
    assert found["locks-left"].endswith("gone: vm-70")
    assert faults(folder, sound) == []


def test_a_network_file_system_is_warned_about(
    folder: Path, sound: FileJournals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "network_type", {str(folder): "nfs"}.get)
    assert faults(folder, sound) == [("state-network", "warning")]
