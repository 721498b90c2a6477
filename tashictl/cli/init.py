"""`tashictl init`: make a cluster directory."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path

import click

from tashictl.adapters.cluster_folder import lay_out
from tashictl.cli import commands, options, output
from tashictl.cli.options import Globals
from tashictl.errors import Conflict

_CONFIG = """\
# What is set here wins over /etc/tashi and ~/.tashi; `tashictl config show --origin` lists it all.
[Tashictl]
clusterId = {cluster}
"""


@click.command("init", cls=commands.Changing)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option(
    "--local",
    is_flag=True,
    help="This machine is the only host: no SSH, no root, user networking.",
)
@click.pass_obj
def command(face: Globals, directory: str | None, local: bool) -> None:
    """Make a cluster directory: Tashi.cfg (with clusterId), inventory/, state/."""
    folder = Path(directory) if directory else options.cluster_dir(face)
    config = folder / "Tashi.cfg"
    if config.exists():
        raise Conflict(
            "E-EXISTS",
            f"{config} exists already",
            hint=f"tashictl --cluster {shlex.quote(str(folder))} host list",
        )
    cluster = secrets.token_hex(6)
    head = _CONFIG.format(cluster=cluster)
    if local:
        from tashictl.cli import init_local

        init_local.make(face, folder, cluster, head)
        return
    if face.dry_run:
        output.say(face, f"would make a cluster in {folder}: Tashi.cfg, inventory/, state/")
        return
    lay_out(str(folder), cluster, head)
    output.emit_record(
        face,
        {"cluster": cluster, "directory": str(folder)},
        [
            f"cluster {cluster} in {folder}",
            f"next: describe hosts and networks in {folder}/inventory, then tashictl host add NAME",
        ],
        name=cluster,
    )
