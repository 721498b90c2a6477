"""`tashictl host setup`: bare hosts made ready, each change listed before it is made."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tashictl.cli import ask, desk, output, plans, wiring
from tashictl.cli.options import Globals
from tashictl.cli.progress import Progress
from tashictl.cli.tables import Column, Table
from tashictl.errors import PartialResult, TashiError, raise_all
from tashictl.model.steps import PutFile
from tashictl.ops import setup as ops
from tashictl.ops.begin import refuse_stale
from tashictl.ops.setup import Looked, Outcome
from tashictl.planning import setup as decisions
from tashictl.planning import summary

if TYPE_CHECKING:
    from tashictl.model.host import HostConfig
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World

_KEYS = ("host", "changes", "notes")


def run(
    face: Globals,
    chosen: Sequence[HostConfig],
    context: Context,
    at: desk.Desk,
    wants: Sequence[tuple[decisions.Wanted, HostConfig]],
) -> int:
    """Look at the hosts, list what they lack, ask, and change it."""
    state = at.state()
    refuse_stale(state)
    with wiring.world_of(at) as world:
        looked = ops.survey(world, context, wants)
        failed: list[TashiError] = [one.error for one in looked if one.error is not None]
        if len(failed) == len(looked):
            raise_all(failed)
        good = [one for one in looked if one.error is None]
        if face.dry_run:
            _dry(face, world, context, good)
            return _verdict(failed, len(looked))
        lacking = [one for one in good if one.lacks]
        outcomes = [_unchanged(face, one) for one in good if not one.lacks]
        if lacking:
            ask.confirm(face, _question(lacking))
            outcomes += ops.apply(world, context, lacking, lambda done: _tell(face, done))
    failed += [done.error for done in outcomes if done.error is not None]
    ended = [done for done in outcomes if done.error is None]
    if not face.for_people:
        output.emit_list(face, ended, table())
    for line in _next(ended, chosen, set(state.hosts), context):
        Progress(face).note(line)
    return _verdict(failed, len(looked))


def wants(
    context: Context,
    chosen: Sequence[HostConfig],
    login: str | None,
    packages: bool,
    timeout_s: int,
) -> list[tuple[decisions.Wanted, HostConfig]]:
    """What each host is to become, and how it is reached for that."""
    found = []
    for config in chosen:
        want = decisions.wanted(
            config, context.settings, context.inventory.networks, context.ifup_of(config.name)
        )
        want = replace(want, packages=packages, timeout_s=timeout_s)
        now = config
        if login is not None:
            now = replace(config, user=login, become=config.become and login != "root")
        found.append((want, now))
    return found


def _would(one: Looked) -> str:
    return f"{one.host}: would " + "; ".join(c.text for c in one.decision.changes)


def _question(lacking: Sequence[Looked]) -> str:
    lines = [_would(one) for one in lacking]
    return "\n".join([*lines, f"change {', '.join(one.host for one in lacking)}"])


def _unchanged(face: Globals, one: Looked) -> Outcome:
    done = Outcome(host=one.host, notes=one.decision.notes)
    _tell(face, done)
    return done


def _tell(face: Globals, done: Outcome) -> None:
    """A line for each host as it ends; an error is told at the end, with the others."""
    report = Progress(face)
    if done.error is None:
        changed = "; ".join(change.done for change in done.done)
        output.say(face, f"{done.host} is ready: {changed or 'nothing to do'}")
    else:
        report.warn(f"{done.host}: {done.error.what}")
    for note in done.notes:
        report.note(f"{done.host}: {note}")


def _next(
    ended: Sequence[Outcome], chosen: Sequence[HostConfig], added: set[str], context: Context
) -> list[str]:
    """What comes after: the host is added, then its networks are made."""
    names = {done.host for done in ended}
    there = [config for config in chosen if config.name in names]
    lines = [f"next: tashictl host add {c.name}" for c in there if c.name not in added]
    wired = [c.name for c in there if c.name in added and _is_wired(c, context)]
    return [*lines, *([f"next: tashictl net apply {' '.join(wired)}"] if wired else [])]


def _is_wired(config: HostConfig, context: Context) -> bool:
    return bool(decisions.wanted(config, context.settings, context.inventory.networks, "").networks)


def _verdict(failed: Sequence[TashiError], count: int) -> int:
    if failed and len(failed) < count:
        raise PartialResult(
            "E-PARTIAL",
            f"{len(failed)} of {count} hosts are not ready",
            cause="\n".join(str(error) for error in failed),
            hint="\n".join(dict.fromkeys(e.hint for e in failed if e.hint)),
            leftovers=[line for error in failed for line in error.leftovers],
        )
    raise_all(failed)
    return 0


def _dry(face: Globals, world: World, context: Context, good: Sequence[Looked]) -> None:
    """Print what would be done, with the scripts; the second look may find that less is lacking."""
    steps: list[plans.Planned] = []
    for one in good:
        for script, changes in ops.scripts(world, context, one):
            for change in changes:
                steps.append(
                    plans.Planned(
                        number=len(steps) + 1,
                        name=change.step.name,
                        host=one.host,
                        summary=summary.line(change.step),
                        script=script.text,
                        diff=_diff(change.step, one) if isinstance(change.step, PutFile) else None,
                    )
                )
    told = [_would(one) if one.lacks else f"{one.host}: nothing to do" for one in good]
    plans.emit_plan(face, "\n".join(told), steps)
    for one in good:
        for note in one.decision.notes:
            Progress(face).note(f"{one.host}: {note}")


def _diff(step: PutFile, one: Looked) -> str:
    before = one.seen.files.get(step.path, (0, ""))[1] if one.seen is not None else ""
    old = step.path if before else "/dev/null"
    lines = difflib.unified_diff(
        before.splitlines(), step.content.splitlines(), old, step.path, lineterm=""
    )
    return "\n".join(lines)


def table() -> Table[Outcome]:
    """What was changed, for programs."""
    return Table(
        things="hosts",
        keys=_KEYS,
        record=lambda done: {
            "host": done.host,
            "changes": [change.done for change in done.done],
            "notes": list(done.notes),
        },
        name=lambda done: done.host,
        order=lambda done: done.host,
        columns=(Column(key="host", header="HOST", show=lambda done: done.host),),
    )
