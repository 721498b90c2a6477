"""`tashictl state adopt`: take in the QEMUs of a host that were started by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import adopt_table, commands, desk, errors_text, output
from tashictl.cli.options import Globals
from tashictl.errors import PartialResult, SummedUp, TashiError, raise_all

if TYPE_CHECKING:
    from tashictl.ops.adopt import Result
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World


def register(noun: commands.Noun) -> None:
    """Add the verb to `state`."""

    @noun.changes("adopt")
    @click.argument("host")
    @click.argument("pids", metavar="[PID...]", nargs=-1, type=click.IntRange(1))
    @click.pass_obj
    def adopt(face: Globals, host: str, pids: tuple[int, ...]) -> int:
        """Take in QEMUs that were started by hand on a host; they run on, their disks stay.

        Each needs -uuid and a QMP socket. Without a PID all that are not known are meant.
        """
        return _run(face, host, pids)


def _run(face: Globals, host: str, pids: tuple[int, ...]) -> int:
    from tashictl.cli import wiring
    from tashictl.ops import adopt as ops

    table = adopt_table.table()
    if output.only_columns(face, table):
        return 0
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        if face.dry_run:
            return _dry(face, world, context, host, pids)
        results = ops.adopt(world, context, host, pids)
    _note(face, results)
    output.emit_list(face, [(host, r) for r in results], table)
    return _verdict([r.error for r in results if r.error is not None], len(results), host)


def _note(face: Globals, results: Sequence[Result]) -> None:
    from tashictl.cli.progress import Progress

    for result in results:
        if result.vm is not None and result.candidate.known is None:
            for note in result.candidate.notes:
                Progress(face).warn(f"{result.vm.name}: {note}")


def _verdict(errors: Sequence[TashiError], count: int, host: str) -> int:
    """0 where all are taken in; raises the errors: all of them their own, some of them partial."""
    told = [errors_text.translated(error) for error in errors]
    if told and len(told) < count:
        what = f"{len(told)} of {count} QEMUs on {host} are not taken in"
        raise SummedUp([PartialResult("E-PARTIAL", what), *told])
    raise_all(told)
    return 0


def _dry(face: Globals, world: World, context: Context, host: str, pids: tuple[int, ...]) -> int:
    """Decide as the real one does over the state as it is, and print the plans."""
    from tashictl.cli import dry, plans
    from tashictl.model.vm import OperationKind, OperationRef
    from tashictl.ops import adopt as ops
    from tashictl.ops.begin import refuse_stale
    from tashictl.ops.context import iso

    state = world.store.read()
    refuse_stale(state)
    found = ops.candidates(context, state, host, ops.look(world, context, host), pids)
    steps: list[plans.Planned] = []
    told: list[str] = []
    refused: list[TashiError] = []
    number = 0
    for one in found:
        refusal = ops.refusal(one, host)
        if refusal is not None:
            refused.append(refusal)
            told.append(f"not pid {one.process.pid}, since {one.refusal}")
            continue
        if one.known is not None:
            told.append(f"not {one.known.name}, which is known")
            continue
        number += 1
        operation = OperationRef(
            id=state.meta.last_operation_id + number,
            kind=OperationKind.ADOPT,
            started=iso(world.clock.now()),
        )
        ids = ops.NewIds(vm=state.meta.last_vm_id + number, operation=operation)
        vm, plan = ops.drafted(world, context, host, one, ids)
        steps += dry.planned(face, world, context, plan, operation.id, len(steps))
        told.append(f"pid {one.process.pid} as {vm.name} (id {vm.id})")
    if refused and len(refused) == len(found):
        raise_all(refused)
    plans.emit_plan(face, f"would take in {'; '.join(told) or 'nothing'}", steps)
    return PartialResult.exit_code if refused else 0
