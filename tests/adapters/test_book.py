"""The book of events: what it keeps, what it makes of a round, and what it does with a bad file."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.adapters import book as book_module
from tashictl.adapters import book_file
from tashictl.adapters.book import ReadOnlyBook, SqliteBook, of_state, settled
from tashictl.errors import OperationFailed
from tashictl.model.event import Event, Problem, Severity
from tashictl.ops.ports_sweep import Book
from tests.adapters.doubles import ManualClock

AT = "2026-03-01T00:00:00Z"
LATER = "2026-03-01T01:00:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def book(folder: Path) -> SqliteBook:
    return SqliteBook(str(folder), ManualClock().now)


def event(text: str, at: str = AT) -> Event:
    return Event(at=at, kind="vm-exited", text=text, host="node1", vm="web1", problem="a:b")


def problem(subject: str, **more: object) -> Problem:
    values: dict[str, object] = {"id": f"host-down:{subject}", "text": f"{subject} is down"}
    return Problem(**{**values, **more})  # type: ignore[arg-type]


def refused(book: SqliteBook) -> OperationFailed:
    with pytest.raises(OperationFailed) as caught:
        book.write([event("x")])
    assert caught.value.code == "E-BOOK"
    return caught.value


# -- events


def test_the_adapters_fit_the_port(folder: Path) -> None:
    books: tuple[Book, ...] = (
        SqliteBook(str(folder), ManualClock().now),
        ReadOnlyBook(str(folder), ManualClock().now),
    )
    assert [b.problems() for b in books] == [{}, {}]


def test_events_come_back_as_they_were_with_ids_that_rise(book: SqliteBook) -> None:
    first = book.write([event("a"), event("b")])
    (second,) = book.write([event("c", LATER)])

    assert [e.id for e in (*first, second)] == [1, 2, 3]
    assert first[0] == replace(event("a"), id=1)
    assert book.events() == (*first, second)
    assert book.events(limit=2) == (first[1], second)
    assert book.events(since="2026-03-01T00:30:00+00:00") == (second,)
    assert book.after(1) == (first[1], second)
    assert book.after(3) == ()


def test_the_file_is_private_and_there_only_once_something_was_written(
    book: SqliteBook, folder: Path
) -> None:
    assert book.write([]) == ()
    assert book.settle([], [], True, AT) == ((), ())
    book.acknowledge(["a:b"], "dev", AT, "")
    book.told(["a:b"], AT)
    assert book.events() == ()
    assert not (folder / "events.sqlite").exists()

    old = os.umask(0)
    try:
        book.write([event("a")])
    finally:
        os.umask(old)

    assert (folder / "events.sqlite").stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in folder.iterdir()) == ["events.sqlite", "locks"]


def test_only_the_newest_are_kept_and_none_that_is_too_old(
    book: SqliteBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "_KEEP", 3)

    book.write([event(str(n)) for n in range(5)])
    assert [e.text for e in book.events()] == ["2", "3", "4"]
    book.write([event("old", "2025-01-20T00:00:00Z"), event("young", "2025-01-26T00:00:00Z")])
    assert [e.text for e in book.events()] == ["3", "4", "young"]


def test_text_that_is_no_utf_8_is_kept_readable(book: SqliteBook) -> None:
    book.write([event("log: \udcff")])
    book.settle([problem("a", text="\udcff")], [], True, AT)
    book.acknowledge(["host-down:a"], "dev", AT, "\udcff")

    assert book.events()[0].text == r"log: \udcff"
    assert book.problems()["host-down:a"].acked_why == r"\udcff"


# -- problems


def test_what_is_found_again_keeps_its_beginning_and_who_knows_of_it(book: SqliteBook) -> None:
    assert book.settle([problem("a")], ["a"], True, AT) == ((problem("a", since=AT),), ())
    book.acknowledge(["host-down:a", "host-down:gone"], "dev@ws", LATER, "a fan")

    new, gone = book.settle([problem("a", text="still down")], ["a"], True, LATER)

    assert (new, gone) == ((), ())
    known = problem(
        "a", text="still down", since=AT, acked_at=LATER, acked_by="dev@ws", acked_why="a fan"
    )
    assert book.problems() == {"host-down:a": known}


def test_what_was_gone_and_comes_again_is_new(book: SqliteBook) -> None:
    book.settle([problem("a")], [], True, AT)
    book.acknowledge(["host-down:a"], "dev", AT, "")
    _, gone = book.settle([], [], True, AT)
    new, _ = book.settle([problem("a")], [], True, LATER)

    assert [p.acked_by for p in gone] == ["dev"]
    assert new == (problem("a", since=LATER),)
    assert book.problems() == {"host-down:a": new[0]}


@pytest.mark.parametrize(
    ("scope", "looked_at", "whole", "stays"),
    [
        ("node1", ["node1"], False, False),
        ("node1", ["node2"], True, True),
        (None, ["node1"], True, False),
        (None, ["node1"], False, True),
    ],
)
def test_what_is_not_found_again_is_gone_only_where_somebody_looked(
    book: SqliteBook, scope: str | None, looked_at: list[str], whole: bool, stays: bool
) -> None:
    book.settle([problem("a", scope=scope)], [], True, AT)

    _, gone = book.settle([], looked_at, whole, LATER)

    assert (len(gone), len(book.problems())) == ((0, 1) if stays else (1, 0))


def test_the_worst_of_one_id_counts_and_stands_first(book: SqliteBook) -> None:
    worse = problem("b", severity=Severity.ERROR, text="worse")
    book.settle([problem("a"), problem("b"), worse, problem("b")], [], True, AT)

    assert [(p.id, p.text) for p in book.problems().values()] == [
        ("host-down:b", "worse"),
        ("host-down:a", "a is down"),
    ]


IDS = st.sampled_from("abcde")
ROUNDS = st.lists(st.tuples(st.dictionaries(IDS, st.none() | IDS), st.sets(IDS), st.booleans()))


@given(ROUNDS)
def test_after_every_round_each_problem_is_found_or_was_not_looked_for(rounds: object) -> None:
    known: dict[str, Problem] = {}
    for found, looked_at, whole in rounds:  # type: ignore[attr-defined]
        some = [problem(i, scope=scope) for i, scope in found.items()]
        stays, new, gone = settled(known, some, looked_at, whole, AT)

        assert {p.id for p in some} <= set(stays)
        assert {p.id for p in new} == set(stays) - set(known)
        assert {p.id for p in gone} == set(known) - set(stays)
        for left in set(stays) - {p.id for p in some}:
            scope = stays[left].scope
            assert not whole if scope is None else scope not in looked_at
        known = stays


# -- telling


def test_a_problem_is_told_once_and_again_when_it_changes_or_lasts(book: SqliteBook) -> None:
    def untold(at: str) -> list[str]:
        return [p.id for p in book.untold(3600.0, at)]

    book.settle([problem("a", text="down for 3 min"), problem("b")], [], True, AT)
    assert untold(AT) == ["host-down:a", "host-down:b"]
    book.told(["host-down:a", "host-down:zzz"], AT)
    assert untold(AT) == ["host-down:b"]
    book.acknowledge(["host-down:b"], "dev", AT, "")
    assert untold(AT) == []

    book.settle([problem("a", text="down for 44 min"), problem("b")], [], True, AT)
    assert untold(AT) == [], "only the number in it has changed"
    assert untold("2026-03-01T01:00:01Z") == ["host-down:a"]
    assert untold("2026-02-28T23:00:00Z") == ["host-down:a"], "the clock was set back"
    book.settle([problem("a", text="its disk is full")], ["b"], False, AT)
    assert untold(AT) == ["host-down:a"]
    book.told(["host-down:a"], AT)
    book.settle([problem("a", text="its disk is full", severity=Severity.ERROR)], [], False, AT)
    assert untold(AT) == ["host-down:a"]


def test_who_only_reads_is_answered_as_if_it_were_written_and_nothing_is(
    book: SqliteBook, folder: Path
) -> None:
    reader = ReadOnlyBook(str(folder), ManualClock().now)
    assert reader.settle([problem("a")], [], True, AT) == ((problem("a", since=AT),), ())
    assert not (folder / "events.sqlite").exists()

    book.settle([problem("a")], [], True, AT)
    before = (folder / "events.sqlite").read_bytes()
    assert reader.settle([problem("b")], [], True, LATER) == (
        (problem("b", since=LATER),),
        (problem("a", since=AT),),
    )
    assert reader.write([event("x")]) == (event("x"),)
    reader.acknowledge(["host-down:a"], "dev", AT, "")
    reader.told(["host-down:a"], AT)
    assert (folder / "events.sqlite").read_bytes() == before


# -- bad files


def spoil(path: Path, how: str) -> None:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "no database":
        path.write_bytes(b"nothing of ours\n" * 400)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "no tables":
        with sqlite3.connect(path) as db:
            db.executescript("drop table events; drop table problems;")
    else:
        with sqlite3.connect(path) as db:
            db.execute("update events set body = ?", (b'{"at": ' + b"\xff" * 20,))


@pytest.mark.parametrize("how", ["empty", "no database", "cut", "no tables"])
def test_a_damaged_file_is_set_aside_and_the_loss_is_the_first_event(
    book: SqliteBook, folder: Path, how: str
) -> None:
    path = folder / "events.sqlite"
    book.write([event("a" * 3000) for _ in range(20)])
    spoil(path, how)
    damaged = path.read_bytes()

    for _ in range(2):
        try:
            reader = ReadOnlyBook(str(folder), ManualClock().now).problems()
        except OperationFailed as error:
            assert (error.code, "sets it aside" in error.hint) == ("E-BOOK", True)
        else:
            assert reader == {}
        assert path.read_bytes() == damaged, "a reader changes nothing"
    assert of_state(str(folder), ManualClock().now) == {}

    written = book.write([event("b")])
    if how == "cut" and len(book.events()) > 2:
        pytest.skip("this SQLite did not look at what is missing")
    lost, new = book.events()

    aside = path.with_name("events.sqlite.damaged-20260301T000000Z")
    assert aside.read_bytes() == damaged
    assert (aside.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o600, 0o600)
    assert (lost.id, lost.kind, lost.severity) == (1, "events-lost", Severity.ERROR)
    assert aside.name in lost.text
    assert lost.reason
    assert (new,) == written
    spoil(path, "empty")
    book.write([event("c")])
    assert path.with_name(f"{aside.name}.2").exists(), "nothing that was set aside is overwritten"


def test_a_row_that_is_damaged_is_damage(book: SqliteBook, folder: Path) -> None:
    book.settle([problem("a")], [], True, AT)
    with sqlite3.connect(folder / "events.sqlite") as db:
        db.execute("update problems set body = ?", (b'{"id": \xff',))

    new, gone = book.settle([problem("a")], [], True, LATER)

    assert (new, gone) == ((problem("a", since=LATER),), ())
    assert [e.kind for e in book.events()] == ["events-lost"]


def test_the_journal_of_a_damaged_file_goes_with_it(book: SqliteBook, folder: Path) -> None:
    book.write([event("a")])
    spoil(folder / "events.sqlite", "no database")
    (folder / "events.sqlite-journal").write_bytes(b"old pages")

    book.write([event("b")])

    assert not (folder / "events.sqlite-journal").exists()
    assert len(book.events()) == 2


def test_two_who_find_the_damage_set_aside_one_file(book: SqliteBook, folder: Path) -> None:
    book.write([event("a")])
    path = folder / "events.sqlite"
    seen = path.stat()
    spoil(path, "no database")
    book.write([event("b")])

    book._file._set_aside(seen, "seen by the slower one")

    assert [e.kind for e in book.events()] == ["events-lost", "vm-exited"]
    assert len(list(folder.glob("events.sqlite.damaged-*"))) == 1


def test_a_file_of_a_newer_version_is_refused_and_left(book: SqliteBook, folder: Path) -> None:
    book.write([event("a")])
    with sqlite3.connect(folder / "events.sqlite") as db:
        db.execute("pragma user_version = 9")
    assert "another version" in refused(book).what
    with sqlite3.connect(folder / "events.sqlite") as db:
        db.execute("pragma user_version = 1")
        db.execute("""update events set body = '{"at": "x", "new_key": 1}'""")
    with pytest.raises(OperationFailed, match="another version"):
        book.events()
    assert not list(folder.glob("*damaged*"))


def test_a_book_that_is_locked_for_too_long_is_an_error(book: SqliteBook, folder: Path) -> None:
    book.write([event("a")])
    book._file._wait_s = 0.05
    holder = sqlite3.connect(folder / "events.sqlite", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        assert "is locked, waited 0.05 s" in refused(book).what
    finally:
        holder.close()
    book.write([event("b")])


def test_a_full_disk_is_an_error_and_what_was_there_stays(
    book: SqliteBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.write([event("a")])
    real = book_file._connected

    def full(path: str, wait_s: float) -> sqlite3.Connection:
        db = real(path, wait_s)
        (pages,) = db.execute("pragma page_count").fetchone()
        db.execute(f"pragma max_page_count = {pages}")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(book_file, "_connected", full)
        with pytest.raises(OperationFailed) as caught:
            book.write([event("b" * 100_000)])
    assert (caught.value.code, "free some space" in caught.value.hint) == ("E-BOOK", True)
    assert [e.text for e in book.events()] == ["a"]


def test_a_folder_that_is_missing_is_an_error_of_the_book(tmp_path: Path) -> None:
    refused(SqliteBook(str(tmp_path / "none"), ManualClock().now))


def test_a_path_with_signs_of_a_uri_is_the_path(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=ro#%41"
    (folder / "locks").mkdir(parents=True)
    book = SqliteBook(str(folder), ManualClock().now)
    book.write([event("a")])
    assert len(book.events()) == 1


def test_without_a_book_there_is_no_need_of_sqlite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    reader = ReadOnlyBook(str(folder), ManualClock().now)
    assert (reader.problems(), of_state(str(folder), ManualClock().now)) == ({}, {})
    with pytest.raises(ImportError):
        SqliteBook(str(folder), ManualClock().now).write([event("a")])
