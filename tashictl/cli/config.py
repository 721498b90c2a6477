"""`tashictl config`: the configuration and where each value comes from."""

from __future__ import annotations

import click

from tashictl.cli import commands, desk, output
from tashictl.cli.options import Globals
from tashictl.planning import config

command = commands.Noun("config", help="The configuration and where each value comes from.")


@command.reads("show")
@click.option("--origin", is_flag=True, help="Say for each value where it comes from.")
@click.pass_obj
def show(face: Globals, origin: bool) -> None:
    """Show every option that is used, with its value; secrets are masked."""
    at = desk.sit_down(face)
    found = config.listing(at.merged)
    records: list[dict[str, object]] = []
    lines: list[str] = []
    section = ""
    for entry in found:
        record: dict[str, object] = {
            "section": entry.section,
            "option": entry.option,
            "value": entry.value,
        }
        if origin:
            record["origin"] = entry.where
        records.append(record)
        if entry.section != section:
            section = entry.section
            lines.append(f"[{section}]")
        text = f"{entry.option} = {entry.value}"
        lines.append(f"{text:<58} # {entry.where}" if origin else text)
    output.emit_records(face, records, lines)
