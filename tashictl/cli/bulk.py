"""What every verb on VMs shares: which VMs are meant, the work on several at once, what is told.

A new verb takes ten lines: `@targets` gives NAME… and --basename, `opened` finds the VMs and the
world, `run` does the work and prints (cli/vm.py: destroy).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from tashictl.cli import desk, errors_text, listings, output, waiting
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.cli.tables import Column, Table
from tashictl.errors import (
    Interrupted,
    InvalidRequest,
    NoSuchTarget,
    PartialResult,
    Problems,
    SummedUp,
    TashiError,
    raise_all,
)
from tashictl.model import names
from tashictl.model.state import State
from tashictl.model.vm import Vm

if TYPE_CHECKING:
    from tashictl.cli.waiting import Patience
    from tashictl.ops.context import Context
    from tashictl.ops.many import Do, Result
    from tashictl.ops.ports import World

PENDING = 8  # accepted, no capacity now (the contract)
_NAMED = 8  # targets that an error names


class Verb(Struct, frozen=True, kw_only=True):
    """A verb; `done` is what the VM then is said to be (``destroyed``), else its state is."""

    name: str
    done: str = ""

    def became(self, after: Vm | None) -> str:
        """What the VM is now: ``destroyed``, ``Paused``."""
        return self.done or (after.state.name if after is not None else "gone")


class Job(Struct, frozen=True, kw_only=True):
    """One command on some VMs."""

    at: Desk
    world: World
    context: Context
    chosen: tuple[Vm, ...]

    @property
    def face(self) -> Globals:
        """The global options."""
        return self.at.face

    @property
    def listed(self) -> str:
        """The VMs as a question names them: all, or their number and the first few."""
        from tashictl.cli.tally import some_of

        shown = some_of([vm.name for vm in self.chosen])
        return shown if len(self.chosen) == 1 else f"{len(self.chosen)} VMs ({shown})"


# -- which VMs


def targets(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its arguments `names` and `basename`."""
    command = click.option(
        "--basename", default=None, metavar="B", help="All that --count made of B: B-<digits>."
    )(command)
    return click.argument("names", metavar="NAME...", nargs=-1)(command)


@contextmanager
def opened(face: Globals, words: Sequence[str], basename: str | None) -> Iterator[Job]:
    """The VMs that are meant, and the world; raises as `chosen` before any port is opened."""
    from tashictl.cli import wiring

    at = desk.sit_down(face)
    context = wiring.context_of(at)
    found = chosen(at.state(), words, basename)
    with wiring.world_of(at) as world:
        yield Job(at=at, world=world, context=context, chosen=tuple(found))


def chosen(state: State, words: Sequence[str], basename: str | None = None) -> list[Vm]:
    """The VMs that names, ids, globs, ranges and a basename stand for, each once, in their order.

    Raises InvalidRequest when nothing is named; NoSuchTarget for all words that stand for none.
    """
    if not words and basename is None:
        raise InvalidRequest(
            "E-USAGE",
            "no VM is named",
            hint="names, ids, patterns like 'web*' or 'web[1-9]', or --basename B",
        )
    by_name = {vm.name: vm for vm in state.vms.values()}
    found: dict[int, Vm] = {}
    problems: list[TashiError] = []
    for word in words:
        one = state.vm_named(word)
        some = [one] if one else [by_name[n] for n in names.select(word, by_name)]
        found.update((vm.id, vm) for vm in some)
        if not some:
            problems.append(_no_such(f"no VM {word!r}"))
    if basename is not None:
        some = made_of(state, basename)
        found.update((vm.id, vm) for vm in some)
        if not some:
            problems.append(_no_such(f"no VM of basename {basename!r}"))
    raise_all(problems)
    return list(found.values())


def _no_such(what: str) -> NoSuchTarget:
    return NoSuchTarget("E-NO-VM", what, hint="tashictl vm list")


def made_of(state: State, basename: str) -> list[Vm]:
    """The VMs that --count made of a basename, in the order of their numbers."""
    pattern = re.compile(re.escape(basename) + "-([0-9]+)")
    some = [(m, vm) for vm in state.vms.values() if (m := pattern.fullmatch(vm.name))]
    return [vm for m, vm in sorted(some, key=lambda pair: (int(pair[0][1]), pair[1].id))]


# -- the work


def run(job: Job, verb: Verb, do: Do, patience: Patience | None = None) -> int:
    """Do it to each VM and print what is true then; the exit code, or the errors as one.

    With `patience` the guests of those that run then are waited for.
    """
    from tashictl.ops.many import run_each

    if output.only_columns(job.face, table_of(job.at, verb)):
        return 0
    if len(job.chosen) == 1:
        return _run_one(job, verb, do, patience)
    with tally(job.at, verb) as watcher:
        results = run_each(job.world, job.context, job.chosen, do, watcher)
    if patience is not None:
        with tally(job.at, Verb(name="wait", done="answers")) as watcher:
            results = waiting.for_all(job.world, job.context, results, patience, watcher)
    return told(job.at, verb, results)


def _run_one(job: Job, verb: Verb, do: Do, patience: Patience | None) -> int:
    (vm,) = job.chosen
    after = do(job.world, vm)
    try:
        if patience is not None and after is not None:
            waiting.until(job.world, job.context, after, patience)
    finally:  # what is true of it does not depend on its guest
        _say_one(job, verb, vm, after)
    return 0


def _say_one(job: Job, verb: Verb, vm: Vm, after: Vm | None) -> None:
    where = f" on {vm.host}" if vm.host else ""
    output.say(job.face, f"{vm.name} is {verb.became(after)}{where}")
    if not job.face.for_people:
        output.emit_list(job.face, [after] if after else [], listings.vm_table(job.at.scene()))


@contextmanager
def tally(at: Desk, verb: Verb) -> Iterator[Any]:
    """The progress of a command on several VMs."""
    from tashictl.cli.tally import Tally

    found = Tally(at.face, lambda result: _word(verb, result))
    try:
        yield found
    finally:
        found.close()


def told(at: Desk, verb: Verb, results: Sequence[Result]) -> int:
    """Print the result table, or the records; then raise what went wrong, or give the exit code.

    0 all, 4 some, 8 all Pending; all failed: the errors' own code; 130 interrupted.
    """
    good = [r.after for r in results if r.after is not None]
    if at.face.for_people:
        output.emit_list(at.face, list(enumerate(results)), result_table(verb))
    else:
        output.emit_list(at.face, good, listings.vm_table(at.scene()))
    failed = [r for r in results if r.error is not None]
    waiting = [r for r in results if _waits(verb, r)]
    if failed:
        raise _summed(verb, results, failed, len(waiting))
    if waiting:
        return PENDING if len(waiting) == len(results) else PartialResult.exit_code
    return 0


def _waits(verb: Verb, result: Result) -> bool:
    """Whether the VM that was wanted is Pending."""
    after = result.after
    return not verb.done and result.error is None and after is not None and after.host is None


def _summed(
    verb: Verb, results: Sequence[Result], failed: Sequence[Result], waiting: int
) -> TashiError:
    errors = _grouped(failed)
    stopped = [r for r in failed if isinstance(r.error, Interrupted)]
    done = len(results) - len(failed)
    if stopped:
        unbegun = sum(not r.begun for r in stopped)
        summary: TashiError = Interrupted(
            "E-INTERRUPTED",
            f"interrupted: {done} of {len(results)} are done, {unbegun} were not begun",
            hint="tashictl op list shows what was in flight",
        )
    elif done:
        pending = f", {waiting} wait" if waiting else ""
        summary = PartialResult(
            "E-PARTIAL",
            f"{verb.name}: {len(failed)} of {len(results)} failed{pending}",
            hint="tashictl op list",
        )
    else:
        return errors[0] if len(errors) == 1 else Problems(errors)
    return SummedUp([summary, *(e for e in errors if e.code != "E-NOT-BEGUN")])


def _grouped(failed: Sequence[Result]) -> list[TashiError]:
    """The errors in the order of the targets, the same one on several only once with the names."""
    groups: dict[tuple[object, ...], list[tuple[str, TashiError]]] = {}
    for result in failed:
        assert result.error is not None
        error, name = errors_text.translated(result.error), result.before.name
        what = error.what.removeprefix(f"{name}: ")
        place = error.host if what == error.what else None  # what the VM did is no host's trouble
        key = (type(error), error.code, what, error.cause, _for_any(error.hint, name), place)
        groups.setdefault(key, []).append((name, error))
    return [_one_of(members) for members in groups.values()]


def _one_of(members: Sequence[tuple[str, TashiError]]) -> TashiError:
    name, first = members[0]
    if len(members) > 1:
        first.what = first.what.removeprefix(f"{name}: ")
        first.hint = _for_any(first.hint, name)
        first.host = first.host if len({error.host for _, error in members}) == 1 else None
    listed = ", ".join(name for name, _ in members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    if len(members) > 1 or not re.search(rf"\b{re.escape(listed)}\b", first.what):
        first.what = f"{listed}{more}: {first.what}"
    first.leftovers = tuple(left for _, error in members for left in error.leftovers)
    return first


def _for_any(hint: str, name: str) -> str:
    """A hint that does for any of several VMs."""
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "NAME", hint)


# -- the table


def table_of(at: Desk, verb: Verb) -> Table[Any]:
    """The table that is printed: the results for people, the VMs for programs."""
    return result_table(verb) if at.face.for_people else listings.vm_table(at.scene())


def result_table(verb: Verb) -> Table[tuple[int, Result]]:
    """What became of each, in the order in which they were given."""
    return Table(
        things="VMs",
        keys=("name", "result", "host", "seconds"),
        record=lambda row: {
            "name": row[1].before.name,
            "result": _word(verb, row[1]),
            "host": _host(row[1]),
            "seconds": row[1].seconds,
        },
        name=lambda row: row[1].before.name,
        order=lambda row: row[0],
        note=lambda row: _why(verb, row[1]),
        columns=(
            Column(key="name", header="NAME", show=lambda row: row[1].before.name),
            Column(
                key="result",
                header="RESULT",
                show=lambda row: _word(verb, row[1]),
                colour=lambda row: _colour(verb, row[1]),
            ),
            Column(key="host", header="HOST", show=lambda row: _host(row[1])),
            Column(
                key="seconds",
                header="SECONDS",
                right=True,
                show=lambda row: f"{row[1].seconds:.1f}" if row[1].begun else None,
            ),
        ),
    )


def _host(result: Result) -> str | None:
    return (result.after.host if result.after is not None else None) or result.before.host


def _word(verb: Verb, result: Result) -> str:
    if not result.begun:
        return "not begun"
    if result.error is not None:
        return "interrupted" if isinstance(result.error, Interrupted) else "failed"
    return verb.done or f"is {verb.became(result.after)}"


def _colour(verb: Verb, result: Result) -> str:
    if result.error is not None:
        return "red" if result.begun else "dim"
    return "yellow" if _waits(verb, result) else "green"


def _why(verb: Verb, result: Result) -> str:
    if result.error is not None:
        what = errors_text.translated(result.error).what if result.begun else ""
        return what.removeprefix(f"{result.before.name}: ")
    waits = result.after is not None and _waits(verb, result)
    return (result.after.reason or "") if waits and result.after is not None else ""
