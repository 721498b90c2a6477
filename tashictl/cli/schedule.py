"""`tashictl schedule`: place the VMs that are Pending once more."""

from __future__ import annotations

import click

from tashictl.cli import commands, desk, listings, output
from tashictl.cli.options import Globals
from tashictl.errors import PartialResult


@click.command("schedule", cls=commands.Changing)
@click.pass_obj
def command(face: Globals) -> int:
    """Place and start what is Pending, oldest first, then what is Held."""
    from tashictl.cli import dry, wiring
    from tashictl.ops import vm as ops

    at = desk.sit_down(face)
    output.check_choice(face, listings.vm_table(at.scene()))
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        if face.dry_run:
            return dry.schedule(face, world, context)
        results = ops.schedule(world, context)
    for vm, error in results:
        if error is not None:
            output.say(face, f"{vm.name} is {vm.state.name}: {error.what}")
        elif vm.host is None:
            output.say(face, f"{vm.name} is {vm.state.name}: {vm.reason}")
        else:
            output.say(face, f"{vm.name} is {vm.state.name} on {vm.host}")
    if not face.for_people:
        output.emit_list(face, [vm for vm, _ in results], listings.vm_table(at.scene()))
    elif not results:
        output.say(face, "nothing is waiting")
    waiting = any(error is not None or vm.host is None for vm, error in results)
    return PartialResult.exit_code if waiting else 0
