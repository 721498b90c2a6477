"""A command that the lazy table finds."""

import click

from tashictl.cli import commands


@click.command("here", cls=commands.Reading)
def command() -> None:
    """Say so."""
    click.echo("here")
