"""`tashictl net`: the networks, and what hosts need for them."""

from __future__ import annotations

import click

from tashictl.cli import commands
from tashictl.cli.options import Globals
from tashictl.planning.inventory_keys import STYLES

command = commands.Noun("net", help="Networks: VLANs and bridges on the hosts.")


@command.reads("list")
@click.pass_obj
def list_(face: Globals) -> None:
    """List the networks; reads the state database and the inventory only."""
    from tashictl.cli import net_list

    net_list.run(face)


@command.reads("render")
@click.argument("names", metavar="[HOST...]", nargs=-1)
@click.option("--style", type=click.Choice(STYLES), help="In place of the host's own style.")
@click.option("--to", default=None, metavar="DIR", help="Write the files below DIR/HOST.")
@click.pass_obj
def render(face: Globals, names: tuple[str, ...], style: str | None, to: str | None) -> None:
    """Print the network files of hosts as a fresh host would have them; no host is reached."""
    from tashictl.cli import net_render

    net_render.run(face, names, style, to)
