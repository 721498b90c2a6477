"""`tashictl state`: the state database, and what is taken into it."""

from __future__ import annotations

from pathlib import Path

import click

from tashictl.cli import commands, desk, output, state_adopt
from tashictl.cli.desk import Desk, no_cluster
from tashictl.cli.options import Globals
from tashictl.errors import FaultsFound

command = commands.Noun("state", help="The state database.")
state_adopt.register(command)


def _desk(face: Globals) -> Desk:
    at = desk.sit_down(face)
    if not Path(at.state_folder).is_dir():
        raise no_cluster(at.folder)
    return at


@command.reads("check")
@click.pass_obj
def check(face: Globals) -> None:
    """Check the database, its journals, backups and permissions; changes nothing."""
    from tashictl.adapters.store import check as store_check
    from tashictl.cli import checks, wiring

    at = _desk(face)
    found = store_check.check(at.state_folder, wiring.journals(at))
    output.emit_list(face, found, checks.state_check_table(found))
    bad = [f for f in found if f.severity == "error"]
    if bad:
        hint = bad[0].remedy
        raise FaultsFound("E-STATE", f"{len(bad)} faults in {at.state_folder}", hint=hint)


@command.changes("backup")
@click.argument("name", required=False)
@click.pass_obj
def backup(face: Globals, name: str | None) -> None:
    """Keep a copy of the database that is not rotated away."""
    from tashictl.cli import wiring

    at = _desk(face)
    if face.dry_run:
        output.say(face, f"would copy {at.state_folder}/tashi.json to backups/")
        output.say(face, "nothing was changed")
        return
    path = wiring.tiny_store(at).backup(name)
    output.emit_record(face, {"backup": path}, [f"the state is kept in {path}"], name=path)


@command.changes("rebuild")
@click.option(
    "--without", multiple=True, metavar="HOST", help="Do not ask this host: it is lost (again)."
)
@click.pass_obj
def rebuild(face: Globals, without: tuple[str, ...]) -> int:
    """Make the database anew from what the hosts know; old copies of it are refused afterwards."""
    from tashictl.cli import rebuild as verb

    return verb.run(face, without)


@command.changes("restore")
@click.argument("path", metavar="BACKUP")
@click.pass_obj
def restore(face: Globals, path: str) -> None:
    """Put a backup in place of the database; hosts that know more will refuse to be changed."""
    from tashictl.cli import ask, wiring

    at = _desk(face)
    store = wiring.tiny_store(at)
    if "/" not in path:
        path = f"{at.state_folder}/backups/{path}"
    if face.dry_run:
        store.checked_backup(path)
        output.say(face, f"would put {path} in place of {at.state_folder}/tashi.json")
        output.say(face, "nothing was changed")
        return
    ask.confirm(face, f"put {path} in place of the database: what was decided since is forgotten")
    kept = store.restore(path)
    lines = [f"{path} is the database now"]
    if kept:
        lines.append(f"the one before is kept in {kept}")
    output.emit_record(face, {"restored": path, "kept": kept}, lines, name=path)
