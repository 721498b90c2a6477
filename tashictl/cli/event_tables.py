"""The tables of events and of problems: their records, and how people see them."""

from __future__ import annotations

from tashictl.cli import text
from tashictl.cli.records import Record, Scene
from tashictl.cli.tables import Column, Shown, Table
from tashictl.model.event import Event, Problem, Severity

EVENT_KEYS = (
    *("id", "at", "kind", "severity", "host", "vm", "text", "reason", "problem", "actor"),
)
PROBLEM_KEYS = (
    *("id", "severity", "text", "hint", "host", "vm", "since", "acked_at", "acked_by", "acked_why"),
)
COLOURS = {Severity.NOTE: "", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def event_record(event: Event) -> Record:
    """The record of an event; what it has not is null."""
    return {
        "id": event.id,
        "at": event.at,
        "kind": event.kind,
        "severity": event.severity.value,
        "host": event.host,
        "vm": event.vm,
        "text": event.text,
        "reason": event.reason or None,
        "problem": event.problem,
        "actor": event.actor or None,
    }


def event_table(scene: Scene) -> Table[Event]:
    """The table of events; the reason of one trails its row."""
    wide = Shown.WIDE
    return Table(
        things="events",
        keys=EVENT_KEYS,
        record=event_record,
        name=lambda e: str(e.id),
        order=lambda e: e.id,
        note=lambda e: e.reason,
        columns=(
            Column(key="id", header="ID", right=True, show=lambda e: str(e.id)),
            Column(key="at", header="AT", show=lambda e: text.show_time(e.at, scene.now)),
            Column(
                key="severity",
                header="SEVERITY",
                show=lambda e: e.severity.value,
                colour=lambda e: COLOURS[e.severity],
            ),
            Column(key="kind", header="KIND", show=lambda e: e.kind),
            Column(key="host", header="HOST", show=lambda e: e.host or ""),
            Column(key="vm", header="VM", show=lambda e: e.vm or ""),
            Column(key="text", header="TEXT", show=lambda e: e.text),
            Column(key="problem", header="PROBLEM", shown=wide, show=lambda e: e.problem or ""),
            Column(key="actor", header="ACTOR", shown=wide, show=lambda e: e.actor),
        ),
    )


def problem_record(problem: Problem) -> Record:
    """The record of a problem; what it has not is null."""
    return {
        "id": problem.id,
        "severity": problem.severity.value,
        "text": problem.text,
        "hint": problem.hint or None,
        "host": problem.host,
        "vm": problem.vm,
        "since": problem.since,
        "acked_at": problem.acked_at,
        "acked_by": problem.acked_by,
        "acked_why": problem.acked_why or None,
    }


def problem_table(scene: Scene) -> Table[Problem]:
    """The table of problems, the worst and oldest first; the next step trails its row.

    Of one that was acknowledged it is why.
    """
    return Table(
        things="problems",
        keys=PROBLEM_KEYS,
        record=problem_record,
        name=lambda p: p.id,
        order=lambda p: f"{_RANK[p.severity]} {p.since} {p.id}",
        note=lambda p: p.hint if p.acked_at is None else p.acked_why,
        columns=(
            Column(key="id", header="ID", show=lambda p: p.id),
            Column(key="since", header="SINCE", show=lambda p: text.show_time(p.since, scene.now)),
            Column(
                key="severity",
                header="SEVERITY",
                show=lambda p: p.severity.value,
                colour=lambda p: "dim" if p.acked_at else COLOURS[p.severity],
            ),
            Column(key="text", header="TEXT", show=lambda p: p.text),
            Column(key="acked_by", header="ACKED BY", show=lambda p: p.acked_by or ""),
            Column(key="host", header="HOST", shown=Shown.WIDE, show=lambda p: p.host or ""),
            Column(key="vm", header="VM", shown=Shown.WIDE, show=lambda p: p.vm or ""),
            Column(
                key="acked_at",
                header="ACKED AT",
                shown=Shown.WIDE,
                show=lambda p: text.show_time(p.acked_at, scene.now) or "",
            ),
        ),
    )
