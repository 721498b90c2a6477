"""`tashictl state rebuild`: what there is, the question, the new state, and what to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tashictl.cli import ask, desk, output, plans, wiring
from tashictl.cli.attention import count
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals, Output
from tashictl.cli.progress import Progress
from tashictl.errors import PartialResult
from tashictl.model.event import Severity
from tashictl.model.rebuild import Finding, Rebuilt
from tashictl.ops import rebuild as ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.ops.rebuild import Survey
from tashictl.planning import summary

_MARKS = {Severity.ERROR: "! ", Severity.WARNING: "! ", Severity.NOTE: "  "}
_ASKED_OF = 20  # findings that stand before the question; all of them are told afterwards


def run(face: Globals, without: Sequence[str]) -> int:
    """Look, ask, rebuild, tell; exit code 4 where something was not chosen for the operator."""
    output.refuse_choice(face, "state rebuild")
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    file = wiring.whole_file(at)
    if not face.dry_run:
        file.make_folders()
    # In a dry run there may be no state folder at all, and none is made.
    bare = face.dry_run and not Path(at.state_folder).is_dir()
    alone = nullcontext() if face.dry_run else file.alone()
    with alone, wiring.world_of(at, bare=bare) as world:
        found = ops.survey(world, context, file, without)
        expected = ops.preview(world, context, found)
        if face.dry_run:
            _dry(face, world, context, found, expected)
            return 0
        for finding in expected.findings[:_ASKED_OF]:
            if not face.yes:
                Progress(face).note(finding.text)
        ask.confirm(face, _question(at, found, expected))
        done = ops.carry_out(world, context, file, found)
    _tell(face, found, done)
    return 0


def _question(at: Desk, found: Survey, expected: Rebuilt) -> str:
    what = f"put {_sum(expected)} in place of {at.state_folder}/tashi.json"
    members = ", ".join(found.members) or "no host"
    return f"{what}, and let {members} refuse all older copies of it"


def _sum(made: Rebuilt) -> str:
    return f"{count(len(made.state.vms), 'VM')} and {count(len(made.state.hosts), 'host')}"


def _source(found: Survey) -> str:
    if found.base is None:
        return "from the hosts alone: no copy of the state was found"
    meta = found.base.meta
    return (
        f"from the hosts and {found.base_from} (epoch {meta.epoch}, generation {meta.generation})"
    )


def _tell(face: Globals, found: Survey, done: ops.Outcome) -> None:
    made = done.rebuilt
    lines = [f"rebuilt: {_sum(made)}, {_source(found)}; epoch {found.epoch}"]
    lines += _lines(made.findings)
    lines += [
        f"  {one.ip} on network {one.network} is kept back until {one.until}: {one.why}"
        for one in made.quarantined
    ]
    lines += [
        f"! {name} was not asked: an older copy of the state would still be obeyed there"
        for name in sorted(found.without)
    ]
    if done.kept is not None:
        lines.append(f"  the state before is kept in {done.kept}")
    output.emit_record(face, _record(found, made, done.kept), lines)
    errors = [f for f in made.findings if f.severity is Severity.ERROR]
    if errors:
        raise PartialResult(
            "E-NOT-CHOSEN",
            f"{count(len(errors), 'finding')} of the rebuild must be settled by you",
            cause="\n".join(f.text for f in errors),
            hint="look at each there, remove what is not wanted, then the same command again",
            leftovers=[f"{f.host}: {f.folder}" for f in errors],
        )


def _lines(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for one in findings:
        where = f"   {one.host}: {one.folder}" if one.severity is not Severity.NOTE else ""
        lines.append(f"{_MARKS[one.severity]}{one.text}{where}")
    return lines


def _record(found: Survey, made: Rebuilt, kept: str | None) -> dict[str, object]:
    base = found.base
    copy: dict[str, object] | None = None
    if base is not None:
        meta = base.meta
        copy = {"from": found.base_from, "epoch": meta.epoch, "generation": meta.generation}
    return {
        "epoch": found.epoch,
        "base": copy,
        "hosts": list(found.members),
        "without": sorted(found.without),
        "vms": len(made.state.vms),
        "findings": [
            {
                "kind": one.kind,
                "severity": one.severity.value,
                "vm": one.vm,
                "uuid": one.uuid,
                "host": one.host,
                "folder": one.folder,
                "text": one.text,
            }
            for one in made.findings
        ],
        "quarantine": [
            {"network": one.network, "ip": one.ip, "until": one.until, "why": one.why}
            for one in made.quarantined
        ],
        "kept": kept,
    }


def _dry(face: Globals, world: World, context: Context, found: Survey, made: Rebuilt) -> None:
    """The scripts that would be sent, and what the new state would be if nothing changed."""
    steps = []
    for number, name in enumerate(found.members, 1):
        script = ops.marking(world, context, found, name)
        (step,) = script.steps
        steps.append(
            plans.Planned(
                number=number,
                name=step.name,
                host=name,
                summary=summary.line(step),
                script=script.text,
            )
        )
    if face.output in (Output.JSON, Output.YAML):
        shown = [{"host": s.host, "name": s.name, "script": s.script, "diff": None} for s in steps]
        report = _record(found, made, None)
        output.emit_record(face, {"steps": shown, "report": report}, ())
        return
    for line in _lines(made.findings):
        output.say(face, line)
    title = f"would record {_sum(made)}, {_source(found)}; epoch {found.epoch}"
    plans.emit_plan(face, title, steps)
