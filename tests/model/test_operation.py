from typing import Any

import msgspec
import pytest

from tashictl.model.operation import (
    Begun,
    Ended,
    Entry,
    Header,
    JournalView,
    Pivoted,
    Status,
    StepEnded,
    UndoPlanned,
    view,
)
from tashictl.model.steps import AwaitQmp
from tashictl.model.vm import OperationKind
from tests.planning.script_cases import AT, STEPS

PLAN = (STEPS["add-tap"], STEPS["start-qemu"], AwaitQmp(**AT, socket="/s"))
UNDO = (STEPS["kill-qemu"], STEPS["remove-tap"])
HEADER = Header(
    id=17,
    kind=OperationKind.CREATE,
    target="web1",
    actor="dev@desk",
    started="T0",
    epoch=1,
    plan=PLAN,
)


def begun(*steps: int, attempt: int = 1, undo: bool = False) -> Begun:
    return Begun(at="T1", attempt=attempt, host="node1", steps=steps, undo=undo)


def ended(step: int, rc: int = 0, **values: Any) -> StepEnded:
    return StepEnded(**{"at": "T2", "attempt": 1, "step": step, "rc": rc, **values})


def journal(*entries: Entry, alive: bool = False) -> JournalView:
    return JournalView(header=HEADER, entries=entries, alive=alive)


def statuses(*entries: Entry) -> list[str]:
    return [s.status for s in view(journal(*entries)).steps]


def test_a_journal_that_only_began_is_interrupted_unless_a_process_holds_it() -> None:
    assert journal().status is Status.INTERRUPTED
    assert journal(alive=True).status is Status.RUNNING
    assert (journal().attempt, journal().begun, journal().pivoted, journal().ended) == (
        0,
        (),
        False,
        None,
    )


def test_an_end_is_the_last_one_that_was_written_whoever_holds_it() -> None:
    two = journal(
        Ended(at="T3", status=Status.FAILED),
        Ended(at="T4", status=Status.UNDONE, reason="no room"),
        alive=True,
    )

    assert two.status is Status.UNDONE
    assert (view(two).ended, view(two).reason) == ("T4", "no room")


def test_what_was_begun_is_each_step_once_in_plan_order_without_the_undo() -> None:
    found = journal(begun(1, 2), begun(0, attempt=3), begun(1, attempt=2), begun(0, undo=True))

    assert found.begun == (0, 1, 2)
    assert found.attempt == 3


def test_each_step_is_waiting_begun_done_or_failed() -> None:
    assert statuses() == ["waiting"] * 3
    assert statuses(begun(0, 1)) == ["begun", "begun", "waiting"]
    assert statuses(begun(0, 1), ended(0), ended(1, rc=1)) == ["done", "failed", "waiting"]


def test_a_step_that_is_begun_again_is_no_longer_failed() -> None:
    assert statuses(begun(0), ended(0, rc=1), begun(0, attempt=2))[0] == "begun"
    assert statuses(begun(0), ended(0, rc=1), begun(0, attempt=2), ended(0))[0] == "done"


def test_the_undo_has_lines_of_its_own() -> None:
    shown = view(
        journal(
            begun(0, 1),
            ended(0, seconds=0.5, message="tap"),
            UndoPlanned(at="T3", plan=UNDO, reason="QEMU ended"),
            begun(0, undo=True),
            ended(0, undo=True),
        )
    )

    assert [(s.name, s.status, s.klass) for s in shown.steps] == [
        ("AddTap", "done", "reversible"),
        ("StartQemu", "begun", "reversible"),
        ("AwaitQmp", "waiting", "pivot"),
        ("KillQemu", "done", "forward"),
        ("RemoveTap", "waiting", "forward"),
    ]
    assert (shown.steps[0].seconds, shown.steps[0].message) == (0.5, "tap")
    assert shown.reason == "QEMU ended"
    assert (shown.id, shown.kind, shown.target, shown.actor) == (17, "create", "web1", "dev@desk")


def test_the_pivot_is_passed_when_it_was_written() -> None:
    assert journal(begun(2), ended(2), Pivoted(at="T3")).pivoted
    assert not journal(begun(2), ended(2)).pivoted


@pytest.mark.parametrize(
    "entry",
    [
        begun(0, 1),
        ended(1, data={"pid": "7"}),
        Pivoted(at="T"),
        UndoPlanned(at="T", plan=UNDO, reason="r"),
        Ended(at="T", status=Status.DONE),
    ],
)
def test_an_entry_is_read_back_from_json_as_it_was(entry: Entry) -> None:
    decoded: Entry = msgspec.json.decode(msgspec.json.encode(entry), type=Entry)

    assert decoded == entry


def test_a_header_is_read_back_from_json_as_it_was() -> None:
    assert msgspec.json.decode(msgspec.json.encode(HEADER), type=Header) == HEADER
