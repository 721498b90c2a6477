"""Journals: durable at the price of one fsync, alive while held, and whole after any crash."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.adapters import files
from tashictl.adapters.journals import FileJournals
from tashictl.errors import Conflict, NotPermitted, OperationFailed
from tashictl.model.operation import (
    Begun,
    Ended,
    Entry,
    Pivoted,
    Status,
    StepEnded,
    UndoPlanned,
)
from tests.adapters.doubles import (
    Guillotine,
    Killed,
    ManualClock,
    a_header,
    counted_fsyncs,
    failing,
)

NOW = "2026-03-01T00:00:01Z"
BEGUN = Begun(at=NOW, attempt=1, host="node1", steps=(0, 1))
STEP = StepEnded(at=NOW, attempt=1, step=0, rc=0, data={"pid": "7"})
DONE = Ended(at=NOW, status=Status.DONE)
ENTRIES: tuple[Entry, ...] = (
    BEGUN,
    STEP,
    Pivoted(at=NOW),
    UndoPlanned(at=NOW, plan=a_header(1).plan, reason="no"),
    DONE,
)


def test_what_was_written_is_read(journals: FileJournals) -> None:
    journal = journals.create(a_header(7), BEGUN)
    journal.note(STEP)
    journal.commit(*ENTRIES[2:])
    found = journals.read(7)
    assert found is not None
    assert found == journal.view
    assert (found.header, found.entries, found.alive) == (a_header(7), ENTRIES, True)
    assert journals.read(8) is None


def test_the_file_is_private_and_is_json_lines(journals: FileJournals, folder: Path) -> None:
    journals.create(a_header(7), BEGUN).close()
    assert stat.S_IMODE((folder / "7.jsonl").stat().st_mode) == 0o600
    first, second = (folder / "7.jsonl").read_text().splitlines()
    assert msgspec.json.decode(first)["schema"] == 1
    assert msgspec.json.decode(second)["type"] == "Begun"
    assert [path.name for path in folder.iterdir()] == ["7.jsonl"]


def test_creating_and_committing_cost_one_fsync_each_and_a_note_none(
    journals: FileJournals, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = counted_fsyncs(monkeypatch)
    journal = journals.create(a_header(1), BEGUN)
    assert len(synced) == 1
    journal.note(STEP)
    assert len(synced) == 1
    journal.commit(DONE)
    assert len(synced) == 2


def test_an_operation_lives_until_its_journal_is_closed(journals: FileJournals) -> None:
    journal = journals.create(a_header(1))
    assert _status(journals, 1) is Status.RUNNING
    journal.close()
    journal.close()
    assert _status(journals, 1) is Status.INTERRUPTED
    assert not journal.view.alive


def test_looking_at_a_journal_does_not_take_it(journals: FileJournals) -> None:
    journal = journals.create(a_header(1))
    for _ in range(3):
        assert _status(journals, 1) is Status.RUNNING
    with pytest.raises(Conflict):
        journals.reopen(1)
    journal.commit(DONE)
    assert _status(journals, 1) is Status.DONE


def test_a_live_operation_is_not_taken_over(journals: FileJournals, clock: ManualClock) -> None:
    journal = journals.create(a_header(1))
    with pytest.raises(Conflict) as caught:
        journals.reopen(1)
    assert caught.value.code == "E-BUSY"
    assert "dev@ws" in caught.value.cause
    assert clock.passed_s < 1
    journal.close()


def test_a_reader_that_looks_just_then_does_not_spoil_a_takeover(
    journals: FileJournals, folder: Path, clock: ManualClock
) -> None:
    journals.create(a_header(1)).close()
    looking = os.open(folder / "1.jsonl", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    clock.meanwhile = lambda: fcntl.flock(looking, fcntl.LOCK_UN)
    journal = journals.reopen(1)
    os.close(looking)
    assert journal is not None
    journal.close()


def test_a_reader_lets_the_lock_go_before_it_reads(
    journals: FileJournals, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals.create(a_header(1), BEGUN).close()
    real = files.read_all

    def read_all(fd: int) -> bytes:
        monkeypatch.undo()
        journal = journals.reopen(1)
        assert journal is not None
        journal.close()
        return real(fd)

    monkeypatch.setattr(files, "read_all", read_all)
    assert _status(journals, 1) is Status.INTERRUPTED


def test_a_journal_that_was_pruned_meanwhile_is_not_taken_over(
    journals: FileJournals, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals.create(a_header(1), DONE).close()
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        real(fd, operation)
        (folder / "1.jsonl").unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    assert journals.reopen(1) is None


def test_an_interrupted_operation_is_taken_over_and_goes_on(journals: FileJournals) -> None:
    journals.create(a_header(1), BEGUN).close()
    journal = journals.reopen(1)
    assert journal is not None
    assert journal.view.entries == (BEGUN,)
    journal.commit(DONE)
    journal.close()
    found = journals.read(1)
    assert found is not None
    assert (found.entries, found.status) == ((BEGUN, DONE), Status.DONE)
    assert journals.reopen(2) is None


def test_an_existing_journal_is_not_overwritten(journals: FileJournals, folder: Path) -> None:
    journals.create(a_header(1), BEGUN).close()
    before = (folder / "1.jsonl").read_bytes()
    with pytest.raises(Conflict) as caught:
        journals.create(a_header(1))
    assert caught.value.code == "E-JOURNAL-EXISTS"
    assert "operation 1 " in caught.value.what
    assert (folder / "1.jsonl").read_bytes() == before
    assert len(list(folder.iterdir())) == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_torn_end_is_ignored_and_cut_off_when_it_goes_on(
    journals: FileJournals, folder: Path, data: st.DataObject
) -> None:
    path = folder / "1.jsonl"
    path.unlink(missing_ok=True)
    journals.create(a_header(1), *ENTRIES).close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    found, journal = journals.read(1), journals.reopen(1)
    if complete == 0:
        assert found is None
        assert journal is None
        return
    assert found is not None
    assert journal is not None
    assert found.entries == ENTRIES[: complete - 1] == journal.view.entries
    journal.commit(DONE)
    journal.close()
    after = journals.read(1)
    assert after is not None
    assert after.entries == (*ENTRIES[: complete - 1], DONE)


@pytest.mark.parametrize("content", [b"", b'{"schema":1,"id":1'])
def test_a_journal_whose_header_was_lost_never_began(
    journals: FileJournals, folder: Path, content: bytes
) -> None:
    (folder / "1.jsonl").write_bytes(content)
    assert journals.read(1) is None
    assert journals.reopen(1) is None
    assert journals.prune(0) == ()


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_damaged_line_before_the_end_is_an_error(
    journals: FileJournals, folder: Path, line: int
) -> None:
    journals.create(a_header(1), BEGUN, STEP, DONE).close()
    path = folder / "1.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line][:-5]
    path.write_bytes(b"\n".join(lines))
    for look in (journals.read, journals.reopen):
        with pytest.raises(OperationFailed) as caught:
            look(1)
        assert caught.value.code == "E-JOURNAL-DAMAGED"
    assert path.read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"schema":1', b'"schema":2'),
        (b'"kind":"create"', b'"kind":"teleport"'),
        (b'"type":"AddTap"', b'"type":"AddWings"'),
        (b'"target":', b'"goal":1,"target":'),
        (b'"type":"Begun"', b'"type":"Begotten"'),
    ],
)
def test_what_another_version_wrote_is_refused_and_not_guessed(
    journals: FileJournals, folder: Path, old: bytes, new: bytes
) -> None:
    journals.create(a_header(1), BEGUN).close()
    path = folder / "1.jsonl"
    content = path.read_bytes().replace(old, new, 1)
    path.write_bytes(content)
    for look in (journals.read, journals.reopen):
        with pytest.raises(NotPermitted) as caught:
            look(1)
        assert caught.value.code == "E-SCHEMA"
    assert path.read_bytes() == content


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_journal_that_cannot_be_created_leaves_nothing(
    journals: FileJournals, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, call, errno.ENOSPC)
        with pytest.raises(OperationFailed) as caught:
            journals.create(a_header(1), BEGUN)
    assert caught.value.code == "E-DISK-FULL"
    assert list(folder.iterdir()) == []
    journals.create(a_header(1)).close()


def test_a_full_disk_leaves_no_half_line(
    journals: FileJournals, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journals.create(a_header(1), BEGUN)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: _half(real, fd, data))
        with pytest.raises(OperationFailed) as caught:
            journal.commit(STEP)
    assert caught.value.code == "E-DISK-FULL"
    assert journal.view.entries == (BEGUN,)
    journal.commit(DONE)
    assert journals.read(1) == journal.view


def _half(real: Callable[[int, bytes], int], fd: int, data: bytes) -> int:
    if len(data) < 30:
        raise OSError(errno.ENOSPC, "full")
    return real(fd, bytes(data)[: len(data) // 2])


def test_a_place_that_is_no_file_is_an_error_of_ours(journals: FileJournals, folder: Path) -> None:
    (folder / "1.jsonl").mkdir()
    for look in (journals.read, journals.reopen):
        with pytest.raises(OperationFailed) as caught:
            look(1)
        assert caught.value.code == "E-FILE"


def test_writing_to_a_closed_journal_is_an_error(journals: FileJournals) -> None:
    journal = journals.create(a_header(1))
    journal.close()
    with pytest.raises(OperationFailed):
        journal.commit(DONE)


def test_an_entry_that_could_not_be_read_back_is_not_written(journals: FileJournals) -> None:
    journal = journals.create(a_header(1))
    for bad in (
        StepEnded(at=NOW, attempt=1, step=0, rc=0, seconds=float("nan")),
        StepEnded(at=NOW, attempt=1, step=0, rc=0, message="\udcff"),
    ):
        with pytest.raises(OperationFailed) as caught:
            journal.note(bad)
        assert caught.value.code == "E-VALUE"
    assert journals.read(1) == journal.view


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_system_call_leaves_a_journal_that_can_be_taken_over(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    written: list[int] = []
    for at in itertools.count():
        journals = FileJournals(str(folder / str(at)), clock)
        (folder / str(at)).mkdir()
        killed = False
        journal = None
        with monkeypatch.context() as patch:
            Guillotine(patch, at, torn)
            try:
                journal = journals.create(a_header(1), BEGUN)
                journal.note(STEP)
                journal.commit(DONE)
            except Killed:
                killed = True
        if journal is not None:
            journal.close()  # as the kernel does for a dead process
        found = journals.read(1)
        written.append(-1 if found is None else len(found.entries))
        again = journals.reopen(1)
        assert (again is None) is (found is None)
        if again is not None and found is not None:
            assert again.view.entries == found.entries == (BEGUN, STEP, DONE)[: len(found.entries)]
            again.commit(DONE)
            again.close()
        if not killed:
            break
    assert written == sorted(written)
    assert (written[0], written[-1]) == (-1, 3)


def _status(journals: FileJournals, operation_id: int) -> Status:
    found = journals.read(operation_id)
    assert found is not None
    return found.status
