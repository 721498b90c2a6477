"""`tashictl host`: the machines that VMs run on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, listings, named, options, output
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, TashiError, raise_all
from tashictl.model import names

if TYPE_CHECKING:
    from tashictl.model.cluster import Host
    from tashictl.model.host import HostConfig
    from tashictl.model.inventory import Inventory
    from tashictl.model.script import HostKey
    from tashictl.ops.host import Checked

command = commands.Noun("host", help="The machines that VMs run on.")


@command.reads("list")
@click.pass_obj
def list_(face: Globals) -> None:
    """List the hosts; reads the state database and the inventory only."""
    at, hosts = _known(face)
    output.emit_list(face, hosts, listings.host_table(at.scene()))


@command.reads("show")
@click.argument("name")
@click.pass_obj
def show(face: Globals, name: str) -> None:
    """Show one host."""
    at, hosts = _known(face)
    found = [h for h in hosts if name in (h.name, str(h.record.id))]
    if not found:
        raise named.no_host(name)
    output.emit_object(face, found[0], listings.host_table(at.scene()))


def _known(face: Globals) -> tuple[Desk, Sequence[Host]]:
    from tashictl.cli import wiring
    from tashictl.model.cluster import snapshot

    at = desk.sit_down(face)
    state = at.state()
    inventory = wiring.inventory_of(at)
    reserved_mib = at.settings.qemu.reserved_memory_mib
    return at, snapshot(state, inventory, reserved_mib).hosts


@command.changes("add")
@click.argument("name")
@click.option("--address", default=None, metavar="A", help="Where it answers, if not by its name.")
@click.option("--fingerprint", default=None, metavar="SHA256:…", help="Its key, as you know it.")
@click.option("--login", default=None, metavar="USER", help="The login, if not the inventory's.")
@click.pass_obj
def add(
    face: Globals, name: str, address: str | None, fingerprint: str | None, login: str | None
) -> None:
    """Take a host into the cluster: trust its key, read its facts, list it in the inventory."""
    from tashictl.cli import wiring
    from tashictl.ops import host as ops

    if not names.is_name(name):
        raise InvalidRequest("E-NAME", f"{name!r} is no host name", cause=names.NAME_RULE)
    at = desk.sit_down(face)
    inventory = wiring.inventory_of(at)
    listed = inventory.host(name)
    if listed is None:
        inventory = _with_new(at, inventory, name, _keys(address, login))
    elif address not in (None, listed.address) or login not in (None, listed.user):
        raise InvalidRequest(
            "E-INVENTORY",
            f"{name} is in the inventory already, with {listed.user}@{listed.address}",
            hint="change it there",
        )
    config = inventory.host(name)
    assert config is not None
    if face.dry_run:
        output.say(face, f"would trust {name}'s key, read its facts and add it")
        output.say(face, "nothing was changed")
        return
    context = wiring.context_of(at, inventory)
    with wiring.world_of(at) as world:
        if config.transport != "local":  # this machine has no key to show
            ops.trust(world, config, fingerprint, _asker(face))
        checked = ops.add(world, context, config)
    if listed is None:
        _write(at, name, _keys(address, login))
    _say_checked(face, checked)
    found = context.host(at.state(), name)
    line = f"{name} is {found.state.name}: {found.cores} cores, {found.memory_mib} MiB"
    output.emit_object(face, found, listings.host_table(at.scene()), [line])


def _keys(address: str | None, login: str | None) -> dict[str, str | int | bool]:
    keys: dict[str, str | int | bool] = {}
    if address is not None:
        keys["address"] = address
    if login is not None:
        keys["user"] = login
    return keys


def _with_new(
    at: Desk, inventory: Inventory, name: str, keys: dict[str, str | int | bool]
) -> Inventory:
    """The inventory with the host that is about to be written; refused where it cannot be."""
    from tashictl.adapters import inventory_files
    from tashictl.planning import inventory as plan

    folder = options.inventory_path(at.face)
    if folder.exists() and not folder.is_dir():
        raise InvalidRequest(
            "E-INVENTORY",
            f"{name} is not in {folder}, which is one file",
            hint=f"add below `hosts:` in it:\n{plan.host_entry(name, keys)}",
        )
    sources = inventory_files.read(str(folder), _uid()) if folder.is_dir() else ()
    text = plan.host_yaml(name, keys)
    whole = plan.load([*sources, (str(folder / f"{name}.yaml"), text)])
    return whole if not inventory.networks else _joined(whole, inventory)


def _joined(whole: Inventory, inventory: Inventory) -> Inventory:
    from msgspec.structs import replace

    return replace(whole, networks=inventory.networks)


def _uid() -> int:
    import os

    return os.getuid()


def _write(at: Desk, name: str, keys: dict[str, str | int | bool]) -> None:
    from tashictl.adapters import inventory_files
    from tashictl.planning import inventory as plan

    folder = options.inventory_path(at.face)
    inventory_files.add_host(str(folder), name, plan.host_yaml(name, keys))


@command.changes("remove")
@click.argument("names", metavar="HOST...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Forget one that is not reached; it is not cleaned.")
@click.pass_obj
def remove(face: Globals, names: tuple[str, ...], force: bool) -> int:
    """Take hosts out of the cluster; nothing of it stays on them. Refused while VMs are there."""
    from tashictl.cli import host_remove

    return host_remove.run(face, names, force)


@command.changes("trust")
@click.argument("name")
@click.option("--fingerprint", default=None, metavar="SHA256:…", help="The key, as you know it.")
@click.pass_obj
def trust(face: Globals, name: str, fingerprint: str | None) -> None:
    """Trust the key that a host shows now; a changed key only with its fingerprint."""
    from tashictl.cli import wiring
    from tashictl.ops import host as ops

    at = desk.sit_down(face)
    config = wiring.inventory_of(at).host(name)
    if config is None:
        raise named.no_host(name)
    if face.dry_run:
        output.say(face, f"would trust the key that {name} shows")
        output.say(face, "nothing was changed")
        return
    with wiring.world_of(at) as world:
        key = ops.trust(world, config, fingerprint, lambda _host, _key: True)
    output.emit_record(
        face,
        {"host": name, "algorithm": key.algorithm, "fingerprint": key.fingerprint},
        [f"{name} is trusted: {key.fingerprint} ({key.algorithm})"],
        name=name,
    )


def _asker(face: Globals):  # type: ignore[no-untyped-def]
    """Ask on a terminal; elsewhere nobody vouches for a key, and --yes never does."""
    streams = face.streams
    if not (streams.stdin.isatty() and streams.stderr.isatty()):
        return None

    def accept(host: HostConfig, key: HostKey) -> bool:
        streams.stderr.write(
            f"{host.name} ({host.address}) shows {key.fingerprint} ({key.algorithm})\n"
            "compare it at the host's console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n"
            "trust it? [y/N] "
        )
        streams.stderr.flush()
        return streams.stdin.readline().strip().lower() in ("y", "yes")

    return accept


@command.reads("check")
@click.argument("names", metavar="[HOST...]", nargs=-1)
@click.pass_obj
def check(face: Globals, names: tuple[str, ...]) -> None:
    """Look at hosts now: every requirement with the remedy; what was seen is written down."""
    from tashictl.cli import checks, wiring
    from tashictl.cli.progress import Progress
    from tashictl.ops import host as ops
    from tashictl.planning import requirements

    output.check_choice(face, checks.host_check_table())
    if face.columns == "help":
        output.emit_list(face, (), checks.host_check_table())
        return
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, names)
    if face.dry_run:
        output.say(face, "would look at " + ", ".join(h.name for h in chosen))
        output.say(face, "nothing was changed")
        return
    with wiring.world_of(at) as world:
        results = ops.check(world, context, chosen)
    rows = checks.rows((r.host, r.findings) for r in results)
    output.emit_list(face, rows, checks.host_check_table())
    errors: list[TashiError] = [r.error for r in results if r.error is not None]
    if errors and len(errors) == len(results):
        raise_all(errors)
    together = requirements.together([(row.host, row.finding) for row in rows])
    checks.advise(Progress(face), together)
    raise_all(checks.faults(together))


@command.changes("setup")
@click.argument("names", metavar="[HOST...]", nargs=-1)
@click.option("--no-packages", is_flag=True, help="Install nothing; what is missing is told.")
@click.option("--login", default=None, metavar="USER", help="Log in as this one now, as root.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.IntRange(min=1),
    default=900,
    show_default=True,
    metavar="S",
    help="Seconds that a host's packages may take.",
)
@click.pass_obj
def setup(
    face: Globals, names: tuple[str, ...], no_packages: bool, login: str | None, timeout_s: int
) -> int:
    """Make bare hosts ready: packages, folders, tashi-qemu, qemu-ifup files, sudo, KVM, VLANs."""
    from tashictl.cli import host_setup, named, wiring

    output.check_choice(face, host_setup.table())
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, names)
    wants = host_setup.wants(context, chosen, login, not no_packages, timeout_s)
    return host_setup.run(face, chosen, context, at, wants)


def _say_checked(face: Globals, checked: Checked) -> None:
    from tashictl.cli.progress import Progress

    report = Progress(face)
    for finding in checked.findings:
        if finding.ok:
            continue
        first, *more = (finding.remedy or "tashictl host check").splitlines()
        report.warn(f"{checked.host}: {finding.check}: {finding.seen}")
        report.note(f"try: {'; '.join([first, *more])}")
