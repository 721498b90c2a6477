"""A round in words and as the object of the contract; nothing to say is no line at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from tashictl.cli import options, plans, text
from tashictl.cli.attention import count
from tashictl.cli.options import Globals
from tashictl.model.event import Event, Problem, Severity

if TYPE_CHECKING:
    from tashictl.cli.plans import Planned
    from tashictl.ops.sweep import Round
    from tashictl.planning.verdict import Scene, Verdict

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SHOWN = 25  # lines of one kind; the rest is counted
_COLOURS = {Severity.NOTE: "dim", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def open_problems(done: Round) -> list[Problem]:
    """What somebody should look at: nothing that is known of already, no mere notes."""
    return sorted(
        (p for p in done.problems if p.acked_at is None and p.severity is not Severity.NOTE),
        key=lambda p: (_RANK[p.severity], p.since, p.id),
    )


def well(done: Round) -> str:
    """The line of a terminal where all is well."""
    known = sum(1 for p in done.problems if p.acked_at is not None)
    also = f", {known} known problems" if known else ""
    return f"{count(len(done.asked), 'host')} seen, all well{also} ({done.seconds:.1f} s)"


def lines(face: Globals, done: Round, shown: Sequence[Problem], quiet: bool) -> list[str]:
    """The text of a round, as cron mails it; empty when there is nothing to tell.

    With `quiet` what merely happened is left out.
    """
    width = options.width_of(face.streams.stdout, face.streams.env)
    paint = options.paint_for(face.streams.stdout, face.color, face.streams.env)
    events = [e for e in done.events if not (quiet and e.severity is Severity.NOTE)]
    events = [e for e in events if not _is_said_twice(e)]
    if not events and not shown and not done.left:
        return []
    found = [_headline(done, shown)]
    found += _happened(events, width, paint)
    if done.left:
        found.append(f"  {len(done.left)} repairs are left for the next round: the time was over")
    for problem in shown[:_SHOWN]:
        found += _problem_lines(problem, done.at, width, paint)
    if len(shown) > _SHOWN:
        found.append(f"  … and {len(shown) - _SHOWN} more   tashictl event list --problems")
    return found


def _is_said_twice(event: Event) -> bool:
    """A repair that failed is a problem below; a host that is back is an event of its own."""
    over = event.kind == "problem-over" and (event.problem or "").startswith("host-down:")
    return over or event.kind == "repair-failed"


def _headline(done: Round, shown: Sequence[Problem]) -> str:
    wrong = count(len(shown), "problem") if shown else "no problem"
    lost = f", {len(done.lost)} not reached" if done.lost else ""
    new = f" ({len(done.new)} new)" if shown and done.new else ""
    return f"sweep {_fit(done.at, None)}: {count(len(done.asked), 'host')}{lost}, {wrong}{new}"


def _happened(events: Sequence[Event], width: int | None, paint: text.Paint) -> Iterator[str]:
    for event in events[:_SHOWN]:
        mark = paint(_COLOURS[event.severity] if event.severity is not Severity.NOTE else "", "·")
        reason = f": {event.reason}" if event.reason else ""
        yield f"{mark} {_fit(event.text + reason, width)}"
    if len(events) > _SHOWN:
        yield f"  … and {len(events) - _SHOWN} more   tashictl event list"


def _problem_lines(
    problem: Problem, now: str, width: int | None, paint: text.Paint
) -> Iterator[str]:
    mark = paint(_COLOURS[problem.severity], "!")
    since = f", since {problem.since}" if problem.since not in ("", now) else ""
    yield f"{mark} {_fit(problem.text + since, width)}"
    yield f"    {paint('dim', problem.id)}" + (f"   {problem.hint}" if problem.hint else "")


def _fit(said: str, width: int | None) -> str:
    said = _TIME.sub(lambda match: text.show_time(match.group(), _now()) or match.group(), said)
    return text.broken(text.visible(said), width, 2).replace("\n", "\n  ")


def record(done: Round) -> dict[str, object]:
    """The object of the contract."""
    return {
        "at": done.at,
        "seconds": round(done.seconds, 3),
        "hosts": {
            "asked": len(done.asked),
            "answered": len(done.asked) - len(done.lost),
            "lost": done.lost,
        },
        "events": _plain(done.events),
        "problems": _plain(done.problems),
        "new": [p.id for p in done.new],
        "gone": [p.id for p in done.gone],
        "repairs": [
            {
                "kind": one.repair.kind.value,
                "target": one.repair.target,
                "host": one.repair.host,
                "why": one.repair.why,
                "result": one.text or None,
                "error": str(one.error) if one.error is not None else None,
            }
            for one in done.done
        ],
        "left": [f"{r.kind.value} {r.target}" for r in done.left],
    }


def dry_lines(
    face: Globals,
    scene: Scene,
    verdict: Verdict,
    open_: Iterable[Problem],
    steps: Sequence[Planned],
) -> list[str]:
    """What a round would write down, do (with its steps) and tell."""
    width = options.width_of(face.streams.stdout, face.streams.env)
    paint = options.paint_for(face.streams.stdout, face.color, face.streams.env)
    lost = f", {len(scene.lost)} not reached" if scene.lost else ""
    found = [f"{count(len(scene.asked), 'host')} asked{lost}"]
    found += [f"{paint('red', '!')} {_fit(f'it would stop: {r}', width)}" for r in verdict.brake]
    for event in verdict.events:
        reason = f": {event.reason}" if event.reason else ""
        found.append(f"would record  {_fit(event.text + reason, width)}")
    for repair in verdict.repairs:
        where = f" on {repair.host}" if repair.host else ""
        found.append(f"would {repair.kind.value}  {repair.target}{where}: {repair.why}")
    found += plans.by_host(steps, face, paint)
    for problem in open_:
        found += _problem_lines(problem, scene.now, width, paint)
    more = "    (--dry-run --debug prints the scripts)" if steps and not face.debug else ""
    return [*found, f"nothing was changed{paint('dim', more)}"]


def dry_record(scene: Scene, verdict: Verdict, steps: Iterable[Planned]) -> dict[str, object]:
    """The same as an object."""
    return {
        "at": scene.now,
        "hosts": {
            "asked": len(scene.asked),
            "answered": len(scene.sightings),
            "lost": dict(scene.lost),
        },
        "brake": list(verdict.brake),
        "events": _plain(verdict.events),
        "repairs": [
            {"kind": r.kind.value, "target": r.target, "host": r.host, "why": r.why}
            for r in verdict.repairs
        ],
        "problems": _plain(verdict.problems),
        "steps": plans.as_records(steps),
    }


def _now() -> datetime:
    return datetime.now().astimezone()


def _plain(things: Iterable[Event | Problem]) -> list[object]:
    return [msgspec.to_builtins(thing) for thing in things]
