"""What a round does with books that are damaged or cannot be written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from tashictl.errors import OperationFailed
from tashictl.model.event import Event, Problem
from tashictl.ops import sweep_books
from tashictl.ops.ports_sweep import Books
from tashictl.ops.sweep_look import Packed
from tashictl.planning import reconcile
from tests.planning.sweep_cases import NOW, sample, scene, sighting, vm

WORLD: Any = SimpleNamespace(who=SimpleNamespace(controller=lambda: "ops@desk"))
NEW = Event(at=NOW, kind="events-lost", text="the book of events was damaged")


class Book:
    """A damaged book: reading fails until something is written; `full`, then that fails too."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.damaged = True
        self.kept: list[Event] = []
        self.known: dict[str, Problem] = {}

    def problems(self) -> dict[str, Problem]:
        if self.damaged:
            raise OperationFailed("E-BOOK", "the book of events is damaged")
        return self.known

    def settle(
        self, found: Iterable[Problem], looked_at: Collection[str], whole: bool, at: str
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        del whole, at
        if self.full:
            raise OperationFailed("E-BOOK", "no space left")
        assert set(looked_at) == {"node1", "node2", "node3"}
        self.damaged, self.kept = False, [NEW]
        self.known = {one.id: one for one in found}
        return tuple(self.known.values()), ()

    def events(self, limit: int = 200, since: str | None = None) -> tuple[Event, ...]:
        del since
        return tuple(self.kept[-limit:])

    def write(self, events: Iterable[Event]) -> tuple[Event, ...]:
        some = tuple(events)
        self.kept += some
        return some


class History:
    """Nothing is kept."""

    def append(self, *_: object) -> None:
        """Nothing."""

    def forget(self, *_: object) -> None:
        """Nothing."""


def told(book: Any) -> sweep_books.Told:
    """What a round tells in which web1 has ended."""
    one = vm(1)
    round_ = scene([one], {"node1": sighting(sample(one, alive=False))})
    history: Any = History()
    books = Books(book=book, history=history, locks=SimpleNamespace())  # type: ignore[arg-type]
    return sweep_books.close(WORLD, books, round_, reconcile.judge(round_), (), round_.sightings)


def test_a_damaged_book_is_written_all_the_same_and_says_what_became_of_the_old_one() -> None:
    book = Book()
    found = told(book)
    assert [event.kind for event in found.events] == ["events-lost", "vm-exited"]
    assert [problem.id for problem in found.problems] == ["vm-exited:web1"]
    assert not book.damaged


def test_a_book_that_takes_nothing_is_a_problem_beside_those_that_were_found() -> None:
    found = told(Book(full=True))
    assert [event.kind for event in found.events] == ["vm-exited"]
    assert [problem.id for problem in found.problems] == ["vm-exited:web1", "book"]


@pytest.mark.parametrize(
    ("right", "left"), [((), ["vm-exited:web1"]), (("web1",), []), (("web2",), ["vm-exited:web1"])]
)
def test_what_was_put_right_is_no_problem_any_more(right: tuple[str, ...], left: list[str]) -> None:
    found = Problem(id="vm-exited:web1", text="web1 is not running", vm="web1")
    assert [problem.id for problem in sweep_books.standing([found], right)] == left


def test_a_sighting_comes_out_of_its_packing_as_it_went_in() -> None:
    packed = Packed()
    whole = sighting(sample(vm(1)), sample(vm(2), alive=False))
    packed.add("node1", whole)
    assert packed["node1"] == whole
    assert dict(packed) == {"node1": whole}
