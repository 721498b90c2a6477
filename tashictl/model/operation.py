"""An operation: its journal's header and entries, and the view of both that people are shown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, Vm

JOURNAL_SCHEMA = 1


class Status(Enum):
    """How an operation stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    INTERRUPTED = "interrupted"


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a journal: all that recovery needs, also without the database.

    `vm` is the record that the operation began with; times are ISO-8601 UTC.
    """

    schema: int = JOURNAL_SCHEMA
    id: int
    kind: OperationKind
    target: str
    actor: str
    started: str
    epoch: int
    plan: Plan
    vm: Vm | None = None


class Begun(Struct, frozen=True, kw_only=True, tag=True):
    """A batch is about to be sent: from here on each of its steps may have been done.

    `undo` says that `steps` index the undo plan, not the plan.
    """

    at: str
    attempt: int
    host: str
    steps: tuple[int, ...]
    undo: bool = False


class StepEnded(Struct, frozen=True, kw_only=True, tag=True):
    """A step's answer arrived; `rc` 0 is done; `data` is what the step reported (pid …)."""

    at: str
    attempt: int
    step: int
    rc: int
    seconds: float = 0.0
    message: str = ""
    data: dict[str, str] = {}
    undo: bool = False


class Pivoted(Struct, frozen=True, kw_only=True, tag=True):
    """The pivot was passed: from here on the operation only goes on."""

    at: str


class UndoPlanned(Struct, frozen=True, kw_only=True, tag=True):
    """The operation goes back; `plan` is what undoes it."""

    at: str
    plan: Plan
    reason: str


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """The operation ended and its outcome is in the database."""

    at: str
    status: Status
    reason: str = ""


Entry = Begun | StepEnded | Pivoted | UndoPlanned | Ended


class JournalView(Struct, frozen=True, kw_only=True):
    """A journal as it was read; `alive` means that a process holds it, so the operation runs."""

    header: Header
    entries: tuple[Entry, ...] = ()
    alive: bool = False

    @property
    def attempt(self) -> int:
        """The highest attempt that was begun, 0 before the first."""
        return max((e.attempt for e in self.entries if isinstance(e, Begun)), default=0)

    @property
    def ended(self) -> Ended | None:
        """How it ended, or None while it runs or is interrupted."""
        return next((e for e in reversed(self.entries) if isinstance(e, Ended)), None)

    @property
    def pivoted(self) -> bool:
        """Whether the pivot was passed."""
        return any(isinstance(e, Pivoted) for e in self.entries)

    @property
    def begun(self) -> tuple[int, ...]:
        """The plan's steps that were begun and so may have been done, in plan order."""
        return tuple(
            sorted(
                {i for e in self.entries if isinstance(e, Begun) and not e.undo for i in e.steps}
            )
        )

    @property
    def status(self) -> Status:
        """Running, interrupted, or how it ended."""
        if self.ended is not None:
            return self.ended.status
        return Status.RUNNING if self.alive else Status.INTERRUPTED


class StepView(Struct, frozen=True, kw_only=True):
    """One line of `op show`; `klass` is written as ``class``."""

    name: str
    host: str
    klass: str
    status: str
    seconds: float | None = None
    message: str = ""


class Operation(Struct, frozen=True, kw_only=True):
    """An operation as people and scripts are shown it."""

    id: int
    kind: str
    target: str
    status: Status
    actor: str
    started: str
    ended: str | None
    steps: tuple[StepView, ...]
    reason: str


def view(journal: JournalView) -> Operation:
    """View a journal as an operation with one line per step of its plan and of its undo plan."""
    header = journal.header
    undo = next((e.plan for e in journal.entries if isinstance(e, UndoPlanned)), ())
    return Operation(
        id=header.id,
        kind=header.kind.value,
        target=header.target,
        status=journal.status,
        actor=header.actor,
        started=header.started,
        ended=journal.ended.at if journal.ended else None,
        steps=(*_lines(header.plan, journal.entries, False), *_lines(undo, journal.entries, True)),
        reason=_reason(journal),
    )


def _reason(journal: JournalView) -> str:
    if journal.ended is not None:
        return journal.ended.reason
    return next((e.reason for e in journal.entries if isinstance(e, UndoPlanned)), "")


def _lines(plan: Plan, entries: Iterable[Entry], undo: bool) -> Iterable[StepView]:
    begun: set[int] = set()
    ended: dict[int, StepEnded] = {}
    for entry in entries:
        if isinstance(entry, Begun) and entry.undo is undo:
            begun.update(entry.steps)
            for index in entry.steps:
                ended.pop(index, None)
        elif isinstance(entry, StepEnded) and entry.undo is undo:
            ended[entry.step] = entry
    for index, step in enumerate(plan):
        end = ended.get(index)
        if end is not None:
            status = "done" if end.rc == 0 else "failed"
        else:
            status = "begun" if index in begun else "waiting"
        yield StepView(
            name=step.name,
            host=step.host,
            klass=step.step_class.value,
            status=status,
            seconds=end.seconds if end else None,
            message=end.message if end else "",
        )
