"""`tashictl config`: the configuration and where each value comes from."""

from __future__ import annotations

import click

from tashictl.cli import checks, commands, desk, output
from tashictl.cli.options import Globals
from tashictl.cli.text import visible
from tashictl.errors import FaultsFound
from tashictl.planning import config

command = commands.Noun("config", help="The configuration and where each value comes from.")


@command.reads("check")
@click.pass_obj
def check(face: Globals) -> int:
    """Read all layers, and say what in them is not used, doubtful, or means more than it says."""
    from tashictl.model.settings import Weight
    from tashictl.planning import config_advice

    output.check_choice(face, checks.config_check_table())
    found = config_advice.of(desk.sit_down(face).merged)
    output.emit_list(face, found, checks.config_check_table())
    warned = any(note.weight is Weight.WARNING for note in found)
    return FaultsFound.exit_code if warned else 0


@command.reads("show")
@click.option("--origin", is_flag=True, help="Say for each value where it comes from.")
@click.pass_obj
def show(face: Globals, origin: bool) -> None:
    """Show every option that is used, with its value; secrets are masked."""
    at = desk.sit_down(face)
    found = config.listing(at.merged)
    chosen = face.columns is not None or face.filter is not None
    if chosen or not face.for_people:
        output.emit_list(face, found, checks.config_table())
        return
    lines: list[str] = []
    section = ""
    for entry in found:
        if entry.section != section:
            section = entry.section
            lines.append(f"[{section}]")
        text = f"{entry.option} = {entry.value}"
        lines.append(f"{text:<58} # {entry.where}" if origin else text)
    output.write(face, "".join(f"{visible(line)}\n" for line in lines))
