"""`tashictl vm`: virtual machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, listings, output, waiting
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import Interrupted, NoSuchTarget, PartialResult, TashiError, raise_all
from tashictl.model import names, units
from tashictl.model.state import State
from tashictl.model.vm import Vm

if TYPE_CHECKING:
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World

PENDING = 8  # accepted, no capacity now (the contract)

command = commands.Noun("vm", help="Virtual machines.")


@command.reads("list")
@click.pass_obj
def list_(face: Globals) -> None:
    """List the VMs; reads the state database only."""
    at = desk.sit_down(face)
    output.emit_list(face, at.state().vms.values(), listings.vm_table(at.scene()))


@command.reads("show")
@click.argument("name")
@click.pass_obj
def show(face: Globals, name: str) -> None:
    """Show one VM."""
    at = desk.sit_down(face)
    vm = at.state().vm_named(name)
    if vm is None:
        raise NoSuchTarget("E-NO-VM", f"no VM {name!r}", hint="tashictl vm list")
    output.emit_object(face, vm, listings.vm_table(at.scene()))


@command.changes("create")
@click.argument("name")
@click.option("--disk", "disks", multiple=True, metavar="IMAGE[:persistent]", help="A disk.")
@click.option("--cores", default="1", show_default=True, metavar="N", help="Processors.")
@click.option(
    "--memory", default="128", show_default=True, metavar="SIZE", help="MiB, or with K M G."
)
@click.option("--nic", "nics", multiple=True, metavar="NET[:IP[:MAC]]", help="An interface.")
@click.option("--hint", "hints", multiple=True, metavar="K=V", help="A hint, as in Tashi.")
@click.option("--user", default=None, metavar="U", help="The owner, if not the caller.")
@click.option("--host", default=None, metavar="H", help="This host and no other.")
@waiting.options
@click.pass_obj
def create(
    face: Globals,
    name: str,
    disks: tuple[str, ...],
    cores: str,
    memory: str,
    nics: tuple[str, ...],
    hints: tuple[str, ...],
    user: str | None,
    host: str | None,
    cloud_init: str | None,
    ssh_keys: tuple[str, ...],
    wait: str,
    timeout_s: int | None,
) -> int:
    """Create a VM and start it."""
    from tashictl.cli import dry, wiring
    from tashictl.ops import vm as ops
    from tashictl.planning.request import RawVm

    user_data, keys = waiting.contents(face, cloud_init, ssh_keys)
    raw = RawVm(
        name=name,
        disks=disks,
        nics=nics,
        cores=cores,
        memory=memory,
        hints=hints,
        host=host,
        user=user,
        cloud_init=user_data,
        ssh_keys=keys,
    )
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        if face.dry_run:
            return dry.create(face, world, context, raw)
        started_s = world.clock.monotonic_s()
        vm = ops.create(world, context, raw)
        try:
            found = waiting.until(world, context, vm, wait, timeout_s)
        except TashiError:  # it runs nevertheless, and is told of
            _say_created(face, at, vm, world.clock.monotonic_s() - started_s)
            raise
        took_s = world.clock.monotonic_s() - started_s
    _say_created(face, at, vm, took_s, found.address if found else None)
    return PENDING if vm.host is None else 0


def _say_created(face: Globals, at: Desk, vm: Vm, took_s: float, found: str | None = None) -> None:
    line = f"{vm.name} is {vm.state.name}"
    if vm.host:
        known = found or next((nic.ip for nic in vm.spec.nics if nic.ip), None)
        address = f" at {known}" if known else ""
        line += f" on {vm.host}{address}   ({units.show_seconds(took_s)})"
    else:
        line += f": {vm.reason}"
    output.emit_object(face, vm, listings.vm_table(at.scene()), [line])


@command.changes("destroy")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_obj
def destroy(face: Globals, names: tuple[str, ...]) -> int:
    """Destroy VMs: their QEMU, overlays and records. What was written to overlays is lost."""
    from tashictl.cli import ask, dry, wiring

    at = desk.sit_down(face)
    context = wiring.context_of(at)
    chosen = targets(at.state(), names)
    with wiring.world_of(at) as world:
        if face.dry_run:
            return dry.destroy(face, world, context, chosen)
        listed = ", ".join(vm.name for vm in chosen)
        ask.confirm(face, f"destroy {listed}: what their overlays hold is lost")
        return _destroy_all(face, at, world, context, chosen)


def _destroy_all(
    face: Globals, at: Desk, world: World, context: Context, chosen: Sequence[Vm]
) -> int:
    from tashictl.ops import vm as ops

    gone: list[Vm] = []
    failed: list[TashiError] = []
    for vm in chosen:
        try:
            gone.append(ops.destroy(world, context, str(vm.id)))
            output.say(face, f"{vm.name} is destroyed" + (f" on {vm.host}" if vm.host else ""))
        except Interrupted:
            raise
        except TashiError as error:
            failed.append(error)
    if not face.for_people:
        output.emit_list(face, gone, listings.vm_table(at.scene()))
    if failed and gone:
        raise PartialResult(
            "E-PARTIAL",
            f"{len(failed)} of {len(chosen)} are not destroyed",
            cause="; ".join(str(failure) for failure in failed),
            hint="tashictl op list",
            leftovers=[line for failure in failed for line in failure.leftovers],
        )
    raise_all(failed)
    return 0


def targets(state: State, patterns: Sequence[str]) -> list[Vm]:
    """The VMs that names, ids, globs and ranges stand for; raises NoSuchTarget for one without."""
    by_name = {vm.name: vm for vm in state.vms.values()}
    found: dict[int, Vm] = {}
    for pattern in patterns:
        one = state.vm_named(pattern)
        some = [one] if one else [by_name[n] for n in names.select(pattern, by_name)]
        if not some:
            raise NoSuchTarget("E-NO-VM", f"no VM {pattern!r}", hint="tashictl vm list")
        found.update((vm.id, vm) for vm in some)
    return list(found.values())
