"""`tashictl sweep`: one round over the hosts, for cron; or again and again, for a terminal."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, output, sweep_text
from tashictl.cli.options import Globals
from tashictl.errors import FaultsFound, InvalidRequest, PartialResult, TashiError
from tashictl.model.event import Severity

if TYPE_CHECKING:
    from tashictl.cli.desk import Desk
    from tashictl.cli.plans import Planned
    from tashictl.model.event import Problem
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World
    from tashictl.ops.ports_sweep import Books
    from tashictl.ops.sweep import Round, Wish
    from tashictl.planning.verdict import Verdict

_LEAST_WATCH_S = 2.0
_LEAST_S = 5.0
REMIND_S = 86400.0


@click.command("sweep", cls=commands.Changing)
@click.option("--shard", default=None, metavar="I/N", help="Only the I-th of N parts of the hosts.")
@click.option("--timeout", "limit", default=None, metavar="S", help="Begin nothing after S.")
@click.option("--quiet", is_flag=True, help="Tell only what was not told before (again after 1 d).")
@click.option("--watch", default=None, metavar="S", help="Again every S, on a terminal.")
@click.pass_obj
def command(
    face: Globals, shard: str | None, limit: str | None, quiet: bool, watch: str | None
) -> int:
    """Look at all hosts once, write down what is seen, and put right what went wrong."""
    from tashictl.cli import wiring

    output.refuse_choice(face, "sweep")
    at = desk.sit_down(face)
    wish = _wish(at, shard, limit)
    every_s = _seconds("--watch", watch, _LEAST_WATCH_S)
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        if face.dry_run:
            return _dry(at, world, context, wish)
        books = wiring.books_of(at)
        if every_s is None:
            return _once(face, _sweep(face, world, context, books, wish), books, quiet)
        if not face.for_people:
            raise InvalidRequest("E-USAGE", "--watch is for a terminal, not for -o")
        from tashictl.cli import sweep_watch

        return sweep_watch.run(
            at, world, every_s, lambda: _sweep(face, world, context, books, wish)
        )


def _wish(at: Desk, shard: str | None, limit: str | None) -> Wish:
    from tashictl.ops.sweep import Wish
    from tashictl.planning import shards

    limit_s = _seconds("--timeout", limit, _LEAST_S)
    return Wish(
        shard=shards.parse_shard(shard) if shard is not None else None,
        timeout_s=limit_s if limit_s is not None else at.settings.tashictl.sweep_timeout_s,
    )


def _seconds(option: str, text: str | None, least_s: float) -> float | None:
    from tashictl.model import units

    if text is None:
        return None
    try:
        found = units.seconds(text)
    except ValueError as error:
        raise InvalidRequest("E-USAGE", f"{option}: {error}") from error
    if found < least_s:
        raise InvalidRequest("E-USAGE", f"{option} {text}: at least {least_s:g} s")
    return found


def _sweep(face: Globals, world: World, context: Context, books: Books, wish: Wish) -> Round:
    from tashictl.ops import sweep as ops

    return ops.sweep(world, context, books, wish, lambda reasons: _accepts(face, reasons))


def _accepts(face: Globals, reasons: tuple[str, ...]) -> bool:
    """Ask about a round with the brake on; where nobody is there to answer, it is no."""
    from tashictl.cli import ask

    streams = face.streams
    if not face.yes and not (streams.stdin.isatty() and streams.stderr.isatty()):
        return False
    try:
        ask.confirm(face, "\n".join((*reasons, "go on, and write down and do all of it")))
    except InvalidRequest:
        return False
    return True


def _once(face: Globals, done: Round, books: Books, quiet: bool) -> int:
    open_ = sweep_text.open_problems(done)
    if not face.for_people:
        output.emit_record(face, sweep_text.record(done), (), name=done.at)
        return PartialResult.exit_code if open_ else 0
    shown = open_
    if quiet:
        shown = _fresh(books, open_, done.at)
    lines = sweep_text.lines(face, done, shown, quiet)
    if lines:
        output.write(face, "".join(f"{line}\n" for line in lines))
    elif face.streams.stdout.isatty():
        output.say(face, sweep_text.well(done))
    with suppress(TashiError):  # a book that cannot be written is one of the problems by now
        books.book.told([p.id for p in shown], done.at)
    return PartialResult.exit_code if open_ else 0


def _fresh(books: Books, found: list[Problem], at: str) -> list[Problem]:
    """Those that were not told before; all, where the book cannot say."""
    try:
        fresh = {p.id for p in books.book.untold(REMIND_S, at)}
    except TashiError:
        return found
    # What the book itself could not take in is in no book.
    known = books.book.problems().keys()
    return [p for p in found if p.id in fresh or p.id not in known]


def _dry(at: Desk, world: World, context: Context, wish: Wish) -> int:
    from tashictl.cli import dry
    from tashictl.ops import sweep as ops
    from tashictl.ops import sweep_dry

    face = at.face
    scene, verdict = ops.decide(world, context, wish)
    open_ = _still_open(at, verdict)
    steps: list[Planned] = []
    for number, plan in sweep_dry.plans(world, context, scene, verdict):
        steps += dry.planned(face, world, context, plan, number, len(steps))
    if face.for_people:
        found = sweep_text.dry_lines(face, scene, verdict, open_, steps)
        output.write(face, "".join(f"{line}\n" for line in found))
    else:
        output.emit_record(face, sweep_text.dry_record(scene, verdict, steps), (), name=scene.now)
    if verdict.brake and not face.yes:
        return FaultsFound.exit_code
    return PartialResult.exit_code if open_ else 0


def _still_open(at: Desk, verdict: Verdict) -> list[Problem]:
    """What somebody would have to look at behind a real round, as far as that can be known."""
    from tashictl.adapters.book import ReadOnlyBook
    from tashictl.adapters.clock import SystemClock
    from tashictl.ops import sweep_books

    try:
        known = ReadOnlyBook(at.state_folder, SystemClock().now).problems()
    except TashiError:
        known = {}
    right = {repair.target for repair in verdict.repairs}
    return [
        problem
        for problem in sweep_books.standing(verdict.problems, right)
        if problem.severity is not Severity.NOTE
        and (problem.id not in known or known[problem.id].acked_at is None)
    ]
