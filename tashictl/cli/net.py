"""`tashictl net`: the networks of hosts."""

from __future__ import annotations

import click

from tashictl.cli import commands
from tashictl.cli.options import Globals
from tashictl.planning.inventory_keys import STYLES

command = commands.Noun("net", help="The networks of hosts.")

_HOSTS = click.argument("hosts", metavar="[HOST...]", nargs=-1)
_STYLE = click.option("--style", type=click.Choice(STYLES), help="In place of the hosts' own.")


@command.reads("render")
@_HOSTS
@_STYLE
@click.option("--to", default=None, metavar="DIR", help="Write the files below DIR/HOST.")
@click.pass_obj
def render(face: Globals, hosts: tuple[str, ...], style: str | None, to: str | None) -> None:
    """Print the network files as a fresh host would have them; no host is reached."""
    from tashictl.cli import net_render

    net_render.run(face, hosts, style, to)


@command.reads("diff")
@_HOSTS
@_STYLE
@click.pass_obj
def diff(face: Globals, hosts: tuple[str, ...], style: str | None) -> None:
    """Hold hosts against the inventory: files and live state; exit 9 when they differ."""
    from tashictl.cli import net_apply

    net_apply.diff(face, hosts, style)


@command.changes("apply")
@_HOSTS
@click.option("--canary", is_flag=True, help="One host first, by itself.")
@click.option(
    "--serial", default=1, type=click.IntRange(1, 64), metavar="N", help="So many at once [1]."
)
@click.option(
    "--revert-after",
    default=None,
    type=click.IntRange(20, 3600),
    metavar="S",
    help="Unless it is confirmed by then, a host goes back by itself [90, more for a slow host].",
)
@click.option(
    "--settle",
    default=10,
    type=click.IntRange(1, 600),
    metavar="S",
    help="It must stand so long [10].",
)
@click.option("--no-confirm", is_flag=True, help="Leave the confirmation to `net confirm`.")
@click.pass_obj
def apply(
    face: Globals,
    hosts: tuple[str, ...],
    canary: bool,
    serial: int,
    revert_after: int | None,
    settle: int,
    no_confirm: bool,
) -> None:  # one parameter for each option
    """Change hosts to what the inventory says; a host that is lost by it goes back by itself."""
    from tashictl.cli import net_apply
    from tashictl.ops.net_apply import Terms

    terms = Terms(window_s=revert_after, settle_s=settle, manual=no_confirm)
    net_apply.apply(face, net_apply.Choice(hosts=hosts, canary=canary, serial=serial, terms=terms))


@command.changes("confirm")
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.pass_obj
def confirm(face: Globals, hosts: tuple[str, ...]) -> None:
    """Keep the change that is in flight on a host, and write its files."""
    from tashictl.cli import net_apply

    net_apply.decide(face, hosts, "confirm")


@command.changes("rollback")
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.pass_obj
def rollback(face: Globals, hosts: tuple[str, ...]) -> None:
    """Take the change that is in flight on a host back now."""
    from tashictl.cli import net_apply

    net_apply.decide(face, hosts, "rollback")


@command.reads("list")
@click.argument("hosts", metavar="[HOST...]", nargs=-1)
@click.option("--pending", is_flag=True, help="What is in flight on the hosts; asks them.")
@click.pass_obj
def list_(face: Globals, hosts: tuple[str, ...], pending: bool) -> None:
    """List the networks; reads the state database and the inventory only, but for --pending."""
    if pending:
        from tashictl.cli import net_apply

        net_apply.pending(face, hosts)
        return
    from tashictl.cli import net_list

    net_list.run(face, hosts)


@command.reads("verify")
@click.argument("networks", metavar="[NET...]", nargs=-1)
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Only these hosts.")
@click.pass_obj
def verify(face: Globals, networks: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    """Prove that networks work: links, files, pings from host to host, MTU; exit 9 when not."""
    from tashictl.cli import net_verify

    net_verify.run(face, networks, hosts)
