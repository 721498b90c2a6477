"""`tashictl vm`: virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from tashictl.cli import bulk, commands, console, desk, listings, output, power, waiting
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import NoSuchTarget, TashiError
from tashictl.model import units
from tashictl.model.vm import Vm

if TYPE_CHECKING:
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World
    from tashictl.planning.request import RawVm

_CREATE = bulk.Verb(name="create")

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
@click.option("--count", default=None, metavar="N", help="NAME-0 to NAME-(N-1), at once.")
@click.option("--probe", is_flag=True, help="Ask on the wire whether somebody has its address.")
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
    count: str | None,
    probe: bool,
    cloud_init: str | None,
    ssh_keys: tuple[str, ...],
    wait: str,
    timeout_s: int | None,
) -> int:
    """Create a VM and start it, or with --count several."""
    from tashictl.cli import dry, wiring
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
        count=count,
        cloud_init=user_data,
        ssh_keys=keys,
    )
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    if probe:
        context = _probing(context)
    if count is None and output.only_columns(face, listings.vm_table(at.scene())):
        return 0
    with wiring.world_of(at) as world:
        if face.dry_run:
            return dry.create(face, world, context, raw)
        patience = waiting.Patience(wait, timeout_s)
        begin = _create_one if count is None else _create_many
        return begin(at, world, context, raw, patience)


def _probing(context: Context) -> Context:
    """As if probeAddresses were set, for this command."""
    settings = context.settings
    dhcp = replace(settings.dhcp, probe=True)
    return replace(context, settings=replace(settings, dhcp=dhcp))


def _create_one(
    at: Desk, world: World, context: Context, raw: RawVm, patience: waiting.Patience
) -> int:
    from tashictl.cli.progress import Progress
    from tashictl.ops import doors
    from tashictl.ops import vm as ops

    started_s = world.clock.monotonic_s()
    vm = doors.past_taken_ports(world, lambda: ops.create(world, context, raw))
    try:
        found = waiting.until(world, context, vm, patience)
    except TashiError:  # it runs nevertheless, and is told of
        _say_created(at.face, at, vm, world.clock.monotonic_s() - started_s)
        raise
    took_s = world.clock.monotonic_s() - started_s
    _say_created(at.face, at, vm, took_s, found.address if found else None)
    for line in doors.ways_in(vm, context.inventory) if patience.goal != "ssh" else ():
        Progress(at.face).note(line)
    return bulk.PENDING if vm.host is None else 0


def _create_many(
    at: Desk, world: World, context: Context, raw: RawVm, patience: waiting.Patience
) -> int:
    from tashictl.ops import count

    if output.only_columns(at.face, bulk.table_of(at, _CREATE)):
        return 0
    with bulk.tally(at, _CREATE) as watcher:
        results = count.create_many(world, context, raw, watcher)
    with bulk.tally(at, bulk.Verb(name="wait", done="answers")) as watcher:
        results = waiting.for_all(world, context, results, patience, watcher)
    return bulk.told(at, _CREATE, results)


def _say_created(face: Globals, at: Desk, vm: Vm, took_s: float, found: str | None = None) -> None:
    line = f"{vm.name} is {vm.state.name}"
    if vm.host:
        shown = (listings.address(nic, vm.observed) for nic in vm.spec.nics)
        # Where it answered, if that is no port of its host's.
        direct = found if all(nic.ssh_port is None for nic in vm.spec.nics) else None
        known = direct or next(filter(None, shown), found)
        address = f" at {known}" if known else ""
        line += f" on {vm.host}{address}   ({units.show_seconds(took_s)})"
    else:
        line += f": {vm.reason}"
    output.emit_object(face, vm, listings.vm_table(at.scene()), [line])


@command.changes("destroy")
@bulk.targets
@click.pass_obj
def destroy(face: Globals, names: tuple[str, ...], basename: str | None) -> int:
    """Destroy VMs: their QEMU, overlays and records. What was written to overlays is lost."""
    from tashictl.cli import ask, dry
    from tashictl.ops import vm as ops

    with bulk.opened(face, names, basename) as job:
        if face.dry_run:
            return dry.destroy(face, job.world, job.context, job.chosen)
        whose = "its" if len(job.chosen) == 1 else "their"
        ask.confirm(face, f"destroy {job.listed}: what {whose} overlays hold is lost")
        return bulk.run(
            job,
            bulk.Verb(name="destroy", done="destroyed"),
            lambda world, vm: ops.destroy(world, job.context, str(vm.id)),
        )


power.register(command)
console.register(command)
