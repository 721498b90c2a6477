"""`tashictl event`: what was found and decided, and what is wrong now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, event_tables, filters, options, output, text
from tashictl.cli.desk import Desk, no_cluster
from tashictl.cli.options import Globals, Output
from tashictl.errors import InvalidRequest, NoSuchTarget, raise_all
from tashictl.model import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tashictl.adapters.book import ReadOnlyBook
    from tashictl.model.event import Event, Problem

_LIMIT = 100
_POLL_S = 1.0

command = commands.Noun("event", help="What was found and decided, and what is wrong now.")


@command.reads("list")
@click.option("--since", default=None, metavar="24h", help="Not older than that, or since a time.")
@click.option("--limit", type=click.IntRange(1), default=None, help=f"The last ones [{_LIMIT}].")
@click.option("--problems", is_flag=True, help="What is wrong now, acknowledged or not.")
@click.pass_obj
def list_(face: Globals, since: str | None, limit: int | None, problems: bool) -> None:
    """List the last events, or with --problems what is wrong now."""
    if problems and (since is not None or limit is not None):
        raise InvalidRequest(
            "E-USAGE",
            "--problems takes no --since and no --limit",
            cause="it lists all that is wrong now",
            hint="--filter chooses, as in severity=error",
        )
    at = _desk(face)
    book, scene = _book(at), at.scene()
    if problems:
        output.emit_list(face, book.problems().values(), event_tables.problem_table(scene))
        return
    table = event_tables.event_table(scene)
    output.check_choice(face, table)
    found = book.events(limit=limit or _LIMIT, since=_since(since, at))
    output.emit_list(face, found, table)


@command.changes("ack")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--why", default="", metavar="TEXT", help="What others should know of it.")
@click.pass_obj
def ack(face: Globals, ids: tuple[str, ...], why: str) -> None:
    """Say that you know of problems (ids, or globs such as 'host-down:*') until they are gone."""
    from tashictl.adapters.who import SystemWho

    at = _desk(face)
    table = event_tables.problem_table(at.scene())
    if output.only_columns(face, table):
        return
    book = _book(at)
    chosen = _chosen(ids, book.problems())
    if face.dry_run:
        for problem in chosen:
            output.say(face, f"would acknowledge {problem.id}: {problem.text}")
        output.say(face, "nothing was changed")
        return
    by, now = SystemWho().controller(), _iso(at)
    book.acknowledge([p.id for p in chosen], by, now, why)
    book.write(_acknowledged(problem, by, now, why) for problem in chosen)
    for problem in chosen:
        output.say(face, f"{problem.id} is acknowledged until it is gone: {problem.text}")
    if not face.for_people:
        known = book.problems()
        output.emit_list(face, [known[p.id] for p in chosen if p.id in known], table)


@command.reads("follow")
@click.pass_obj
def follow(face: Globals) -> None:
    """Print new events as they come; Ctrl-C ends it. With -o json a line is an event."""
    if face.columns is not None:
        raise InvalidRequest("E-USAGE", "'tashictl event follow' takes no --columns")
    if face.output in (Output.YAML, Output.CSV):
        raise InvalidRequest(
            "E-USAGE",
            f"'tashictl event follow' has no -o {face.output.value}",
            hint="-o json prints a line for each event",
        )
    terms = filters.parse(face.filter) if face.filter is not None else ()
    filters.check(terms, event_tables.EVENT_KEYS)
    at = _desk(face)
    from tashictl.adapters.clock import SystemClock
    from tashictl.cli import progress

    book, clock = _book(at), SystemClock()
    seen = _newest(book)
    progress.Progress(face).note("new events as they come; Ctrl-C ends")
    while True:
        clock.sleep(_POLL_S)
        newest = _newest(book)
        if newest < seen:
            seen = 0  # the book was damaged, and this is a new one
        while seen < newest:
            for event in book.after(seen):
                seen = event.id
                if filters.matches(terms, event_tables.event_record(event)):
                    output.write(face, _line(face, event, at))
            options.flush(face.streams)


def _desk(face: Globals) -> Desk:
    from tashictl.adapters import trust

    at = desk.sit_down(face)
    if not trust.is_folder(at.state_folder):
        raise no_cluster(at.folder)
    return at


def _book(at: Desk) -> ReadOnlyBook:
    """The book; in a dry run nothing in it is changed."""
    from tashictl.adapters.book import ReadOnlyBook, SqliteBook
    from tashictl.adapters.clock import SystemClock

    kind = ReadOnlyBook if at.face.dry_run else SqliteBook
    return kind(at.state_folder, SystemClock().now)


def _since(given: str | None, at: Desk) -> str | None:
    """A duration back from now, or a time; raises InvalidRequest E-TIME."""
    from datetime import timedelta

    from tashictl.model import units

    if given is None:
        return None
    now = at.scene().now
    try:
        return (now - timedelta(seconds=units.seconds(given))).isoformat()
    except (ValueError, OverflowError):
        when = text.read_time(given) or text.read_time(f"{given}{now:%z}")
    if when is None:
        raise InvalidRequest(
            "E-TIME",
            f"--since {given!r} is no time",
            cause="a duration such as 24h or 90m, or an ISO-8601 time",
        )
    return when.isoformat()


def _chosen(patterns: Iterable[str], known: dict[str, Problem]) -> list[Problem]:
    """The problems that are meant, each once; raises NoSuchTarget for all that stand for none."""
    found: dict[str, Problem] = {}
    missing: list[NoSuchTarget] = []
    for pattern in patterns:
        some = names.select(pattern, known)
        found.update((i, known[i]) for i in some)
        if not some:
            hint = "tashictl event list --problems"
            missing.append(NoSuchTarget("E-NO-PROBLEM", f"no problem {pattern!r}", hint=hint))
    raise_all(missing)
    return list(found.values())


def _acknowledged(problem: Problem, by: str, at: str, why: str) -> Event:
    from tashictl.model.event import Event

    return Event(
        at=at,
        kind="acknowledged",
        host=problem.host,
        vm=problem.vm,
        text=f"{problem.id} is known: {problem.text}",
        reason=why,
        problem=problem.id,
        actor=by,
    )


def _iso(at: Desk) -> str:
    from datetime import UTC

    return f"{at.scene().now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _newest(book: ReadOnlyBook) -> int:
    return max((e.id for e in book.events(limit=1)), default=0)


def _line(face: Globals, event: Event, at: Desk) -> str:
    """One event on one line: for people when, how bad, where, what, why."""
    import msgspec

    if face.output is Output.NAME:
        return f"{event.id}\n"
    if face.output is Output.JSON:
        record = msgspec.json.encode(event_tables.event_record(event)).decode()
        return text.visible_json(record) + "\n"
    streams = face.streams
    paint = options.paint_for(streams.stdout, face.color, streams.env)
    colour = event_tables.COLOURS[event.severity]
    when = text.read_time(event.at)
    clock = f"{when.astimezone(at.scene().now.tzinfo):%H:%M:%S}" if when else text.UNKNOWN
    severity = paint(colour, f"{event.severity.value:7}")
    where = " ".join(w for w in (event.kind, event.host, event.vm) if w)
    reason = paint("dim", f"    · {text.visible(event.reason)}") if event.reason else ""
    return f"{clock}  {severity}  {text.visible(where)}  {text.visible(event.text)}{reason}\n"
