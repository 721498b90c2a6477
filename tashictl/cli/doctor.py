"""`tashictl doctor`: what is wrong with this machine and the hosts, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, output
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import FaultsFound, NoSuchTarget, PartialResult, TashiError, raise_all

if TYPE_CHECKING:
    from tashictl.cli.doctor_table import Row
    from tashictl.model.host import HostConfig
    from tashictl.model.inventory import Inventory
    from tashictl.ops.context import Context
    from tashictl.ops.doctor import Examination
    from tashictl.ops.ports import World
    from tashictl.planning.doctor.findings import Finding


@click.command("doctor", cls=commands.Reading)
@click.argument("names", metavar="[HOST...]", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Show what is well too.")
@click.option("--fix", is_flag=True, help="Mend what is safe and ours: qemu-ifup files, 8021q, …")
@click.pass_obj
def command(face: Globals, names: tuple[str, ...], every: bool, fix: bool) -> int:
    """Look closely at this machine and the hosts (or at some hosts): what is wrong, and the remedy.

    Changes nothing; with --fix it mends what is safe, ours, and can be taken back.
    """
    from tashictl.cli import doctor_table, wiring

    table = doctor_table.table()
    output.check_choice(face, table)
    if face.columns == "help":
        output.emit_list(face, (), table)
        return 0
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    hosts = _chosen(context.inventory, names)
    with wiring.world_of(at) as world:
        own = () if names else _controller(at, context)
        seen = _looked(world, context, hosts)
        if fix and face.dry_run:
            return _dry(face, world, context, seen, own)
        before = _rows(own, seen)
        if fix:
            seen = _mended(face, world, context, seen)
            own = _mended_here(face, at, context, own)
        rows = _rows(own, seen, before if fix else ())
    what = "this machine and " * (not names) + f"{len(seen)} host{'s' * (len(seen) != 1)}"
    doctor_table.emit(face, rows, every, what)
    return _verdict(face, rows, seen)


def _chosen(inventory: Inventory, patterns: Sequence[str]) -> list[HostConfig]:
    from tashictl.model import names

    known = {h.name: h for h in inventory.hosts}
    found: dict[str, HostConfig] = {}
    for pattern in patterns or (("*",) if known else ()):
        some = names.select(pattern, known)
        if not some:
            raise NoSuchTarget("E-NO-HOST", f"no host {pattern!r}", hint="tashictl host list")
        found.update((n, known[n]) for n in some)
    return list(found.values())


# -- looking


def _looked(world: World, context: Context, hosts: Sequence[HostConfig]) -> list[Examination]:
    from tashictl.ops import doctor as ops

    return ops.examine(world, context, hosts) if hosts else []


def _controller(at: Desk, context: Context) -> tuple[Finding, ...]:
    from datetime import UTC, datetime

    from tashictl.adapters import health
    from tashictl.cli import wiring
    from tashictl.planning import config_advice
    from tashictl.planning.doctor import controller

    state = at.state()
    key_file = at.settings.dns.key_file
    seen = health.look(
        at.state_folder,
        wiring.journals(at),
        [h for h in context.inventory.hosts if h.transport != "local"],
        [key_file] if key_file else [],
    )
    place = controller.Desk(
        now=datetime.now(UTC),
        hosts=state.hosts,
        vms=len(state.vms),
        decayed_s=at.settings.decayed_after_s,
        notes=config_advice.of(at.merged),
    )
    return controller.findings(seen, place)


def _rows(
    own: Sequence[Finding], seen: Sequence[Examination], before: Sequence[Row] = ()
) -> list[Row]:
    """All findings; what could be mended `before` and is well now was fixed."""
    from tashictl.cli.doctor_table import Row
    from tashictl.planning.doctor.findings import Severity

    sick = {(r.host, r.finding.key) for r in before if r.finding.can_be_mended}
    every: list[tuple[str | None, Finding]] = [(None, finding) for finding in own]
    every += [(one.host.name, finding) for one in seen for finding in one.findings]
    return [
        Row(
            place=place,
            host=host,
            finding=finding,
            fixed=finding.severity is Severity.OK and (host, finding.key) in sick,
        )
        for place, (host, finding) in enumerate(every)
    ]


# -- mending


def _mended(
    face: Globals, world: World, context: Context, seen: Sequence[Examination]
) -> list[Examination]:
    """The examinations after what could be mended was: each step is told before it is sent."""
    from tashictl.cli.progress import Progress
    from tashictl.ops import doctor as ops
    from tashictl.ops.begin import refuse_stale
    from tashictl.planning import summary

    report = Progress(face)
    sick = [one for one in seen if one.steps]
    if sick:
        refuse_stale(world.store.read())
    for one in sick:
        for step in one.steps:
            report.note(f"{one.host.name}: {step.name}  {summary.line(step)}")
        try:
            ops.mend(world, context, one)
        except TashiError as error:
            report.warn(f"{error.what}: {error.cause}" if error.cause else error.what)
    return ops.again(world, context, seen, [one.host.name for one in sick])


def _mended_here(
    face: Globals, at: Desk, context: Context, own: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    from tashictl.adapters import files
    from tashictl.cli.progress import Progress

    report = Progress(face)
    paths = [path for finding in own for path in finding.private]
    for path in paths:
        report.note(f"this machine: chmod go= {path}")
        try:
            files.make_private(path)
        except TashiError as error:
            report.warn(f"{error.what}: {error.cause}")
    return _controller(at, context) if paths else own


def _dry(
    face: Globals,
    world: World,
    context: Context,
    seen: Sequence[Examination],
    own: Sequence[Finding],
) -> int:
    """What --fix would do: the steps, with their scripts; and what would be left."""
    from tashictl.cli import doctor_table, plans
    from tashictl.ops import doctor as ops
    from tashictl.planning import summary

    epoch = world.store.read().meta.epoch
    found = [
        plans.Planned(
            number=number,
            name="MakePrivate",
            host=doctor_table.CONTROLLER,
            summary=f"chmod go= {path}",
        )
        for number, path in enumerate((p for f in own for p in f.private), 1)
    ]
    for one in seen:
        text = ops.script_of(world, context, one, epoch).text if one.steps else ""
        found += [
            plans.Planned(
                number=len(found) + 1 + place,
                name=step.name,
                host=step.host,
                summary=summary.line(step),
                script=text,
                diff=diff or None,
            )
            for place, (step, diff) in enumerate(one.mendings)
        ]
    many = f"{len(found)} thing{'s' * (len(found) != 1)}"
    plans.emit_plan(face, f"would mend {many}" if found else "nothing that --fix mends", found)
    return _code(seen, [r for r in _rows(own, seen) if not r.finding.can_be_mended])


# -- what it comes to


def _code(seen: Sequence[Examination], rows: Sequence[Row]) -> int:
    from tashictl.planning.doctor.findings import FAULTS

    silent = [one for one in seen if one.error is not None]
    if silent and len(silent) < len(seen):
        return PartialResult.exit_code
    return FaultsFound.exit_code if any(r.finding.severity in FAULTS for r in rows) else 0


def _verdict(face: Globals, rows: Sequence[Row], seen: Sequence[Examination]) -> int:
    """The exit code; programs get the error too, which for people is the list itself."""
    from tashictl.planning.doctor.findings import FAULTS, counts

    errors = [one.error for one in seen if one.error is not None]
    if errors and len(errors) == len(seen):
        raise_all(errors)
    code = _code(seen, rows)
    if face.for_people or code == 0:
        return code
    told = counts(r.finding.severity for r in rows if r.finding.severity in FAULTS)
    hint = "tashictl doctor --fix mends some" if any(r.finding.steps for r in rows) else ""
    if code == PartialResult.exit_code:
        silent = [one.host.name for one in seen if one.error is not None]
        raise PartialResult("E-PARTIAL", f"{len(silent)} of {len(seen)} hosts not reached: {told}")
    raise FaultsFound("E-DOCTOR", told, hint=hint)
