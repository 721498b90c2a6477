"""The folder of journals: what counts as one, what is thrown away and what is kept."""

from __future__ import annotations

from pathlib import Path

from tashictl.adapters.journals import FileJournals
from tashictl.model.operation import (
    Begun,
    Ended,
    Status,
)
from tests.adapters.doubles import (
    ManualClock,
    a_header,
)

NOW = "2026-03-01T00:00:01Z"
BEGUN = Begun(at=NOW, attempt=1, host="node1", steps=(0, 1))
DONE = Ended(at=NOW, status=Status.DONE)


def test_a_discarded_journal_is_gone_and_discarding_twice_is_no_error(
    journals: FileJournals,
) -> None:
    for number in (1, 2):
        journals.create(a_header(number)).close()
    journals.discard(1)
    journals.discard(1)
    assert journals.ids() == (2,)


def test_ids_rise_and_other_files_are_not_journals(journals: FileJournals, folder: Path) -> None:
    assert journals.ids() == ()
    for number in (10, 9, 100):
        journals.create(a_header(number)).close()
    for name in ("x.jsonl", ".11.jsonl.1.0.tmp", "0.jsonl", "12.json", "-1.jsonl"):
        (folder / name).touch()
    assert journals.ids() == (9, 10, 100)
    assert FileJournals(str(folder / "none"), ManualClock()).ids() == ()


def test_pruning_keeps_what_runs_what_is_interrupted_and_the_newest(
    journals: FileJournals, folder: Path
) -> None:
    for number in (1, 3, 5, 7):
        journals.create(a_header(number), DONE).close()
    journals.create(a_header(2), BEGUN).close()
    running = journals.create(a_header(4))
    (folder / "6.jsonl").write_bytes(b"rubbish\n")
    ending = journals.create(a_header(8), DONE)
    assert journals.prune(0, before=DONE.at) == ()
    assert journals.prune(2) == (1, 3)
    assert journals.ids() == (2, 4, 5, 6, 7, 8)
    assert journals.prune(0) == (5, 7)
    assert journals.ids() == (2, 4, 6, 8)
    for journal in (running, ending):
        journal.close()
