"""When a host may forget its fences: when no script that it was sent can begin any more.

`docs/fencing.pml` (PRUNE NOTAFTER) shows that a fence may go once it is older than every not-after
of the scripts that it holds off.
"""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.model.operation import Begun, Entry, JournalView, StepEnded, UndoPlanned
from tashictl.model.steps import Plan, Step
from tashictl.model.vm import OperationKind


def concerns(journal: JournalView, host: str) -> bool:
    """Whether an operation has anything to do on a host."""
    return any(step.host == host for step in (*journal.header.plan, *_undo(journal)))


def last_unanswered(journal: JournalView, host: str) -> str | None:
    """When an operation was last heard of that sent the host a script and got no full answer.

    None when every script that it sent there was answered to its end: none is on its way then. A
    script that frees a host does nothing else, however late it comes.
    """
    if journal.header.kind is OperationKind.HOST_REMOVE:
        return None
    open_ = any(
        entry.host == host and not _answered(journal, place, entry)
        for place, entry in enumerate(journal.entries)
        if isinstance(entry, Begun)
    )
    return max((e.at for e in journal.entries), default=None) if open_ else None


def _answered(journal: JournalView, place: int, begun: Begun) -> bool:
    """Whether the script of a batch was heard to its end: all steps, or those up to a failure."""
    steps = _undo(journal) if begun.undo else journal.header.plan
    scripted = [i for i in begun.steps if i < len(steps) and _is_scripted(steps[i])]
    ended = {e.step: e.rc for e in _until_next(journal.entries[place + 1 :], begun)}
    for index in scripted:
        if index not in ended:
            return False
        if ended[index] != 0:
            return True
    return True


def _until_next(entries: tuple[Entry, ...], begun: Begun) -> Iterator[StepEnded]:
    """The answers to a batch, which end where its steps are begun anew."""
    for entry in entries:
        if isinstance(entry, Begun) and entry.undo is begun.undo and entry.steps == begun.steps:
            return
        if isinstance(entry, StepEnded) and entry.undo is begun.undo:
            yield entry


def _is_scripted(step: Step) -> bool:
    return step.scripted


def _undo(journal: JournalView) -> Plan:
    return next((e.plan for e in journal.entries if isinstance(e, UndoPlanned)), ())
