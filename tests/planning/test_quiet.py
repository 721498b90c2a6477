"""When no script that a host was sent can arrive there any more."""

import pytest

from tashictl.model.operation import (
    Begun,
    Ended,
    Entry,
    Header,
    JournalView,
    Status,
    StepEnded,
    UndoPlanned,
)
from tashictl.model.steps import AwaitQmp, MakeFolder, Plan, PutImage, ReleaseHost
from tashictl.model.vm import OperationKind
from tashictl.planning import paths, quiet
from tests.planning.cases import SETTINGS

AT = paths.at_host("node1", SETTINGS)
OTHER = paths.at_host("node2", SETTINGS)
PLAN: Plan = (
    MakeFolder(**AT, path="/a"),
    MakeFolder(**AT, path="/b"),
    AwaitQmp(**AT, socket="/s"),
    MakeFolder(**OTHER, path="/c"),
)


def journal(*entries: Entry, kind: OperationKind = OperationKind.CREATE) -> JournalView:
    header = Header(id=7, kind=kind, target="x", actor="dev@ws", started="t0", epoch=1, plan=PLAN)
    return JournalView(header=header, entries=entries)


def begun(*steps: int, at: str = "t1", attempt: int = 1, undo: bool = False) -> Begun:
    host = "node2" if steps == (3,) else "node1"
    return Begun(at=at, attempt=attempt, host=host, steps=steps, undo=undo)


def ended(step: int, rc: int = 0, at: str = "t2", undo: bool = False) -> StepEnded:
    return StepEnded(at=at, attempt=1, step=step, rc=rc, undo=undo)


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (begun(0, 1), ended(0), ended(1)),
        (begun(0, 1), ended(0), ended(1), begun(2)),  # what is only greeted is no script
        (begun(0, 1), ended(0, rc=1)),  # the script ended there
        (begun(3),),  # another host's
        (begun(0, 1), ended(0), ended(1), Ended(at="t9", status=Status.DONE)),
    ],
)
def test_when_all_was_answered_nothing_is_on_its_way(entries: tuple[Entry, ...]) -> None:
    assert quiet.last_unanswered(journal(*entries), "node1") is None


@pytest.mark.parametrize(
    ("entries", "at"),
    [
        ((begun(0, 1),), "t1"),
        ((begun(0, 1), ended(0)), "t2"),
        ((begun(0, 1), Ended(at="t9", status=Status.UNDONE)), "t9"),
        # The second attempt was answered; the script of the first may come late all the same.
        ((begun(0, 1), begun(0, 1, at="t5", attempt=2), ended(0), ended(1, at="t6")), "t6"),
        ((begun(0, 1), ended(0, undo=True), ended(1, undo=True)), "t2"),
    ],
)
def test_a_script_without_its_whole_answer_may_be_on_its_way(
    entries: tuple[Entry, ...], at: str
) -> None:
    assert quiet.last_unanswered(journal(*entries), "node1") == at


def test_the_undo_plan_counts_as_the_plan_does() -> None:
    plan = UndoPlanned(at="t3", plan=PLAN[:1], reason="")
    heard = (begun(0, 1), ended(0), ended(1), plan, begun(0, at="t4", undo=True))

    assert quiet.last_unanswered(journal(*heard), "node1") == "t4"
    assert quiet.last_unanswered(journal(*heard, ended(0, undo=True)), "node1") is None


def test_a_removal_itself_does_nothing_else_however_late() -> None:
    seen = journal(begun(0), kind=OperationKind.HOST_REMOVE)

    assert quiet.last_unanswered(seen, "node1") is None


def test_an_operation_concerns_the_hosts_of_its_steps() -> None:
    assert quiet.concerns(journal(), "node2")
    assert not quiet.concerns(journal(), "node3")
    assert PutImage.scripted is False
    assert ReleaseHost.scripted is True
