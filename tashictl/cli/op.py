"""`tashictl op`: operations in flight or interrupted."""

from __future__ import annotations

import click

from tashictl.cli import commands, desk, listings, output
from tashictl.cli.options import Globals

command = commands.Noun("op", help="Operations in flight or interrupted.")


@command.reads("list")
@click.option("--all", "ended", is_flag=True, help="Also those that have ended.")
@click.pass_obj
def list_(face: Globals, ended: bool) -> None:
    """List operations that run or were interrupted."""
    from tashictl.cli import wiring
    from tashictl.ops import recover

    at = desk.sit_down(face)
    with wiring.world_of(at) as world:
        found = recover.listing(world, ended)
    output.emit_list(face, found, listings.operation_table(at.scene()))


@command.reads("show")
@click.argument("operation", type=int, metavar="ID")
@click.pass_obj
def show(face: Globals, operation: int) -> None:
    """Show an operation with its steps."""
    from tashictl.cli import wiring
    from tashictl.model.units import show_seconds
    from tashictl.ops import recover

    at = desk.sit_down(face)
    with wiring.world_of(at) as world:
        found = recover.show(world, operation)
    lines = [
        f"operation {found.id}: {found.kind} {found.target}, {found.status.value}"
        + (f": {found.reason}" if found.reason else ""),
        f"by {found.actor}, started {found.started}"
        + (f", ended {found.ended}" if found.ended else ""),
    ]
    for number, step in enumerate(found.steps, 1):
        took = f"  {show_seconds(step.seconds)}" if step.seconds else ""
        lines.append(
            f"  {number:>2} {step.status:<8} {step.klass:<10} {step.host:<10} {step.name}{took}"
            + (f"  {step.message.splitlines()[-1]}" if step.message else "")
        )
    output.emit_object(face, found, listings.operation_table(at.scene()), lines)


@command.changes("resume")
@click.argument("operation", type=int, metavar="ID")
@click.pass_obj
def resume(face: Globals, operation: int) -> None:
    """Finish an interrupted operation."""
    _settle(face, operation, back=False)


@command.changes("undo")
@click.argument("operation", type=int, metavar="ID")
@click.pass_obj
def undo(face: Globals, operation: int) -> None:
    """Take an interrupted operation back."""
    _settle(face, operation, back=True)


def _settle(face: Globals, operation: int, *, back: bool) -> None:
    from tashictl.cli import wiring
    from tashictl.ops import recover

    at = desk.sit_down(face)
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        before = recover.show(world, operation)
        if face.dry_run:
            (recover.may_undo if back else recover.may_resume)(world, operation)
            verb = "take back" if back else "finish"
            output.say(face, f"would {verb} operation {operation}: {before.kind} {before.target}")
            output.say(face, "nothing was changed")
            return
        settled = (recover.undo if back else recover.resume)(world, context, operation)
        after = recover.show(world, operation)
    if before.kind == "host-remove":
        from tashictl.cli import host_remove

        host_remove.unlist(at, before.target)
    became = (
        f"{settled.vm.name} is {settled.vm.state.name}"
        + (f" on {settled.vm.host}" if settled.vm.host else "")
        if settled.vm
        else f"{before.target} is gone"
    )
    line = f"operation {operation} is {settled.status.value}: {became}"
    output.emit_object(face, after, listings.operation_table(at.scene()), [line])
