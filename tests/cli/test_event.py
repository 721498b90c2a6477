"""`event`: the list, what is wrong now, who knows of it, and new ones as they come."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl.adapters.book import SqliteBook
from tashictl.adapters.clock import SystemClock
from tashictl.model.event import Event, Problem, Severity
from tests.cli.office import Office
from tests.cli.test_status import a_host, picture, shown

AT = "2099-01-01T00:00:00Z"


@pytest.fixture
def book(office: Office) -> SqliteBook:
    """Three events and three problems."""
    found = SqliteBook(f"{office.folder}/state", SystemClock().now)
    found.write(
        [
            event("2026-11-01T10:00:00Z", "old"),
            event("2099-11-01T10:00:00Z", "web1 ended", severity=Severity.WARNING, vm="web1"),
            event("2099-11-01T11:00:00Z", "web1 is there again", reason="by hand", actor="dev@ws"),
        ]
    )
    found.settle(
        [
            Problem(id="host-down:node1", text="node1 is down", hint="look at it"),
            Problem(id="host-down:node2", text="node2 is down", host="node2"),
            Problem(id="disk:node1", severity=Severity.ERROR, text="1 % free\x1b[2J"),
        ],
        [],
        True,
        "2026-11-01T10:00:00Z",
    )
    return found


def event(at: str, said: str, **more: object) -> Event:
    return Event(at=at, kind="vm-exited", text=said, host="node1", **more)  # type: ignore[arg-type]


def test_without_a_book_there_are_no_events_and_none_is_made(office: Office) -> None:
    done = office.ok("event", "list")
    assert (done.out, "no events" in done.err) == ("", True)
    assert "no problems" in office.ok("event", "list", "--problems").err
    assert office.run("event", "ack", "x").code == 3
    assert not (office.folder / "state" / "events.sqlite").exists()


def test_without_a_cluster_the_error_is_that_of_the_other_verbs(bare: Office) -> None:
    assert bare.run("event", "list", "-o", "json").error["code"] == "E-CLUSTER"


def test_events_are_listed_from_old_to_new(office: Office, book: SqliteBook) -> None:
    rows = office.ok("event", "list", "-o", "json").json()
    assert rows[2] == {
        "id": 3, "at": "2099-11-01T11:00:00Z", "kind": "vm-exited", "severity": "note",
        "host": "node1", "vm": None, "text": "web1 is there again", "reason": "by hand",
        "problem": None, "actor": "dev@ws",
    }  # fmt: skip
    table = office.ok("event", "list").out.splitlines()
    assert table[0].split() == ["ID", "AT", "SEVERITY", "KIND", "HOST", "VM", "TEXT"]
    assert table[3].endswith("web1 is there again    · by hand")


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("--limit", "1"), [3]),
        (("--since", "24h"), [2, 3]),
        (("--since", "2099-11-01T10:30:00Z"), [3]),
        (("--since", "2099-11-01T10:30:00Z", "--filter", "vm=web1"), []),
        (("--filter", "severity=warning"), [2]),
    ],
)
def test_what_is_listed_can_be_chosen(
    office: Office, book: SqliteBook, words: tuple[str, ...], ids: list[int]
) -> None:
    assert [e["id"] for e in office.ok("event", "list", *words, "-o", "json").json()] == ids


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--since", "yesterday"),
        ("list", "--limit", "0"),
        ("list", "--problems", "--limit", "3"),
        ("list", "-c", "nonsense"),
        ("list", "--problems", "--filter", "kind=x"),
        ("ack",),
        ("ack", "x", "--filter", "id=x"),
        ("follow", "-o", "csv"),
        ("follow", "-c", "id"),
        ("follow", "--filter", "nonsense=1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    office: Office, book: SqliteBook, words: tuple[str, ...]
) -> None:
    done = office.run("event", *words)
    assert (done.code, done.out) == (2, "")


def test_problems_are_listed_the_worst_first(office: Office, book: SqliteBook) -> None:
    rows = office.ok("event", "list", "--problems", "-o", "json").json()
    assert [r["id"] for r in rows] == ["disk:node1", "host-down:node1", "host-down:node2"]
    assert rows[1] == {
        "id": "host-down:node1", "severity": "warning", "text": "node1 is down",
        "hint": "look at it", "host": None, "vm": None, "since": "2026-11-01T10:00:00Z",
        "acked_at": None, "acked_by": None, "acked_why": None,
    }  # fmt: skip
    table = office.ok("event", "list", "--problems").out
    assert table.splitlines()[0].endswith("  ACKED BY")
    assert "\x1b" not in table


def test_a_pattern_acknowledges_all_that_it_stands_for(office: Office, book: SqliteBook) -> None:
    done = office.ok("event", "ack", "host-down:*", "host-down:node1", "--why", "a fan")

    assert done.out.splitlines() == [
        "host-down:node1 is acknowledged until it is gone: node1 is down",
        "host-down:node2 is acknowledged until it is gone: node2 is down",
    ]
    known = book.problems()
    assert [p.id for p in known.values() if p.acked_at is None] == ["disk:node1"]
    assert known["host-down:node1"].acked_why == "a fan"
    last = book.events()[-1]
    assert (last.kind, last.problem, last.reason) == ("acknowledged", "host-down:node2", "a fan")
    rows = office.ok("event", "ack", "disk:node1", "-o", "json").json()
    assert [(r["id"], bool(r["acked_by"])) for r in rows] == [("disk:node1", True)]


def test_an_unknown_problem_is_no_target_and_nothing_is_acknowledged(
    office: Office, book: SqliteBook
) -> None:
    done = office.run("event", "ack", "host-down:node1", "zzz", "disk:node[7-9]")
    assert done.code == 3
    assert "'zzz'" in done.err
    assert "'disk:node[7-9]'" in done.err
    assert all(p.acked_at is None for p in book.problems().values())


def test_a_dry_run_acknowledges_nothing(office: Office, book: SqliteBook) -> None:
    before = office.everything()
    done = office.ok("event", "ack", "disk:*", "--dry-run")
    assert done.out.splitlines()[-1] == "nothing was changed"
    assert office.everything() == before


def watch(patch: pytest.MonkeyPatch, *meanwhile: Callable[[], object]) -> None:
    """Each wait of `follow` does one of these; then Ctrl-C."""
    left = list(meanwhile)

    def sleep(_self: SystemClock, seconds: float) -> None:
        assert seconds == 1.0
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    patch.setattr(SystemClock, "sleep", sleep)


def test_follow_prints_what_is_new_until_ctrl_c(
    office: Office, book: SqliteBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(
        monkeypatch,
        lambda: None,
        lambda: book.write([event(AT, "one"), event(AT, "two")]),
        lambda: book.write([event(AT, "three\x1b", reason="because")]),
    )
    done = office.run("event", "follow", "--filter", "text!=two")

    assert done.code == 130
    assert [line.split("note", 1)[1].strip() for line in done.out.splitlines()] == [
        "vm-exited node1  one",
        r"vm-exited node1  three\x1b    · because",
    ]


def test_follow_in_json_has_an_event_a_line(
    office: Office, book: SqliteBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(monkeypatch, lambda: book.write([event(AT, "one"), event(AT, "two")]))
    done = office.run("event", "follow", "-o", "json")
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == ["one", "two"]


def test_follow_goes_on_with_a_new_book(
    office: Office, book: SqliteBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anew() -> None:
        (office.folder / "state" / "events.sqlite").write_bytes(b"spoilt" * 999)
        book.write([event(AT, "one")])

    watch(monkeypatch, anew)
    done = office.run("event", "follow", "-o", "name")
    assert done.out.split() == ["1", "2"]


# -- status


def problems(*ids: str, **more: object) -> tuple[Problem, ...]:
    since = "2026-11-22T08:00:00Z"
    return tuple(Problem(id=i, text=f"{i}!", **{"since": since, **more}) for i in ids)  # type: ignore[arg-type]


def test_status_counts_problems_that_it_does_not_say_already() -> None:
    seen = picture(a_host(1), a_host(4, up=False))
    old = problems("disk:node2", since="2026-11-20T08:00:00Z")
    several = replace(seen, problems=(*problems("host-down:node4", "disk:node1"), *old))
    one = replace(seen, problems=(*problems("disk:node1"), *problems("a:b", acked_at="x")))
    none = replace(seen, problems=problems("host-down:node4"))

    assert "! 2 problems, 1 new today" in shown(several)
    assert "tashictl event list --problems" in shown(several)
    assert "! disk:node1!" in shown(one)
    assert shown(none) == shown(seen)


def test_status_shows_what_the_book_has(office: Office, book: SqliteBook) -> None:
    (line,) = [
        one for one in office.ok("status", "-o", "json").json()["attention"]
        if one["kind"] == "problems"
    ]  # fmt: skip
    assert line["text"] == "3 problems"
    office.ok("event", "ack", "*")
    assert "problems" not in office.ok("status").out
    (office.folder / "state" / "events.sqlite").write_bytes(b"spoilt" * 999)
    office.ok("status")
