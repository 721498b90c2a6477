"""`tashictl audit`: the database against DHCP, DNS and the hosts; `--repair`, `--import`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tashictl.cli import commands, desk, output
from tashictl.cli.options import Globals
from tashictl.errors import FaultsFound, InvalidRequest, PartialResult, SummedUp

if TYPE_CHECKING:
    from tashictl.cli.audit_table import Row
    from tashictl.cli.tables import Table
    from tashictl.model.audit import Change, Disagreement, Seen
    from tashictl.ops.audit import Audit
    from tashictl.ops.audit_repair import Repaired
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World


@click.command("audit", cls=commands.Reading)
@click.option("--repair", is_flag=True, help="Put right what can be: add at once, remove later.")
@click.option(
    "--import", "import_", is_flag=True, help="Reserve the addresses that the servers have already."
)
@click.pass_obj
def command(face: Globals, repair: bool, import_: bool) -> int:
    """Hold the database against DHCP, DNS, neighbour tables and what runs on the hosts.

    Tells each disagreement with both sides. --repair adds what is missing, and removes what carries
    our mark and was seen twice, some time apart.
    """
    from tashictl.cli import audit_table, wiring

    if repair and import_:
        raise InvalidRequest("E-USAGE", "--repair and --import are two things: one after the other")
    if _is_help(face, audit_table.reserved_table() if import_ else audit_table.table()):
        return 0
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        if import_:
            return _import(face, world, context)
        return _audit(face, world, context, repair)


def _is_help(face: Globals, table: Table[Any]) -> bool:
    """Whether only ``-c help`` was wanted; raises what is wrong with -c and --filter."""
    output.check_choice(face, table)
    if face.columns == "help":
        output.emit_list(face, (), table)
    return face.columns == "help"


def _audit(face: Globals, world: World, context: Context, repair: bool) -> int:
    from tashictl.cli import audit_table
    from tashictl.ops import audit as ops
    from tashictl.ops import audit_repair

    found = ops.audit(world, context)
    _tell_lacking(face, found.seen)
    if repair and face.dry_run:
        _dry(face, found.rows)
        return _code(found.rows, found)
    rows = _rows(found.rows)
    if repair:
        done = audit_repair.repair(world, context, found)
        rows, found = _after(found.rows, done), done.after
    audit_table.emit(face, rows, _closing(world, found, rows))
    return _verdict(face, found)


# -- rows


def _rows(found: Iterable[Disagreement]) -> list[Row]:
    from tashictl.cli.audit_table import Row

    return [Row(place=place, found=one) for place, one in enumerate(found)]


def _after(before: Sequence[Disagreement], done: Repaired) -> list[Row]:
    """What there was, mended or not, and what came to light on the way."""
    from tashictl.cli.audit_table import Row

    left = {_key(one): one for one in done.after.rows}
    refused = dict(done.refused)
    rows: list[Row] = []
    for one in (*before, *(o for o in left.values() if _key(o) not in set(map(_key, before)))):
        still = left.get(_key(one))
        error = next((refused[c] for c in one.changes if c in refused), None)
        said = f"{error.what}: {error.cause}" if error is not None and error.cause else ""
        rows.append(
            Row(
                place=len(rows),
                found=still or one,
                mended=still is None,
                error=(said or (error.what if error is not None else "")) if still else "",
            )
        )
    return rows


def _key(one: Disagreement) -> tuple[str, str, str]:
    return one.kind, one.subject, one.source


# -- words


def _tell_lacking(face: Globals, seen: Seen) -> None:
    from tashictl.cli.progress import Progress

    report = Progress(face)
    for one in seen.unseen:
        why = f"{one.error.what}: {one.error.cause}" if one.error.cause else one.error.what
        if one.lacks:
            report.note(f"{one.source}: {one.lacks} ({why})")
        else:
            report.warn(f"{one.source}: not looked at: {why}")


def _closing(world: World, found: Audit, rows: Sequence[Row]) -> str:
    from tashictl.cli.attention import count

    state, seen = world.store.read(), found.seen
    looked = [count(len(seen.zones), "zone")] if seen.zones else []
    looked += [server.server for server in seen.dhcp]
    looked.append(count(len(seen.hosts), "host"))
    where = f"{count(len(state.vms), 'VM')} against {', '.join(looked)}"
    busy = sum(1 for vm in state.vms.values() if vm.operation is not None)
    if busy:
        where += f" ({busy} under way: not judged)"
    left = [row for row in rows if not row.mended]
    mended = len(rows) - len(left)
    said = f"{mended} mended, " if mended else ""
    if not left:
        return f"{where}: {said}nothing disagrees"
    mends = sum(1 for row in left if row.found.can_be_mended)
    return f"{where}: {said}{len(left)} disagree{'s' * (len(left) == 1)}, --repair mends {mends}"


def _code(rows: Sequence[Disagreement], found: Audit) -> int:
    if rows:
        return FaultsFound.exit_code
    return PartialResult.exit_code if found.lacking else 0


def _verdict(face: Globals, found: Audit) -> int:
    """The exit code; programs get an error too, which for people is the list itself."""
    code = _code(found.rows, found)
    if face.for_people or code == 0:
        return code
    if code == PartialResult.exit_code:
        what = f"{len(found.lacking)} sources were not looked at"
        errors = [one.error for one in found.lacking]
        raise SummedUp([PartialResult("E-PARTIAL", what), *errors])
    mends = any(row.can_be_mended for row in found.rows)
    raise FaultsFound(
        "E-AUDIT",
        f"{len(found.rows)} disagreements",
        hint="tashictl audit --repair mends some" if mends else "",
    )


# -- dry


def _dry(face: Globals, rows: Sequence[Disagreement]) -> None:
    """What --repair would do; the removals only if they are seen once more."""
    from tashictl.cli import plans
    from tashictl.planning.audit import repairs

    places = {c: row.source for row in rows for c in row.changes}
    changes = repairs.all_of(rows)
    steps = [
        plans.Planned(
            number=number,
            name=_name(change),
            host=places[change],
            summary=repairs.words(change) + ("" if change.add else ", if it is seen once more"),
        )
        for number, change in enumerate(sorted(changes, key=lambda c: places[c]), 1)
    ]
    waiting = [row for row in rows if row.waits]
    steps += [
        plans.Planned(
            number=len(steps) + number,
            name="DoDeferred",
            host=row.source,
            summary=f"{row.subject}: {row.database}",
        )
        for number, row in enumerate(waiting, 1)
    ]
    many = f"{len(steps)} thing{'s' * (len(steps) != 1)}"
    plans.emit_plan(face, f"would do {many}" if steps else "nothing that --repair mends", steps)


def _name(change: Change) -> str:
    verb = "Add" if change.add else "Remove"
    return f"{verb}{'Dns' if change.entry.key.startswith('dns/') else 'Dhcp'}"


# -- import


def _import(face: Globals, world: World, context: Context) -> int:
    from tashictl.cli import audit_table
    from tashictl.ops import audit as ops
    from tashictl.ops import audit_import

    seen = ops.servers(world, context, world.store.read())
    _tell_lacking(face, seen)
    networks = {n.id: n.name for n in context.inventory.networks}
    expected = audit_import.plan(world, context, seen)
    table = audit_table.reserved_table()
    if face.for_people:
        output.emit_list(face, audit_table.reserved_rows(expected, networks), table)
    done = expected if face.dry_run else audit_import.carry_out(world, context, seen)
    if not face.for_people:
        output.emit_list(face, audit_table.reserved_rows(done, networks), table)
    would = "would be " if face.dry_run else ""
    output.say(
        face,
        f"{len(done.new)} {would}reserved, {len(done.released)} {would}released, "
        f"{len(done.kept)} stay",
    )
    lacking = [one for one in seen.unseen if not one.lacks]
    return PartialResult.exit_code if lacking else 0
