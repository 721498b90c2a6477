"""`tashictl init`: make a cluster directory."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from tashictl.adapters import files
from tashictl.adapters.store.create import create
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
@click.pass_obj
def command(face: Globals, directory: str | None) -> None:
    """Make a cluster directory: Tashi.cfg (with clusterId), inventory/, state/."""
    folder = Path(directory) if directory else options.cluster_dir(face)
    config = folder / "Tashi.cfg"
    if config.exists():
        raise Conflict(
            "E-EXISTS", f"{config} exists already", hint=f"tashictl --cluster {folder} host list"
        )
    cluster = secrets.token_hex(6)
    if face.dry_run:
        output.say(face, f"would make a cluster in {folder}: Tashi.cfg, inventory/, state/")
        return
    files.make_private_folder(str(folder))
    create(str(folder / "state"), cluster)
    files.make_private_folder(str(folder / "inventory"))
    files.write_new(str(config), _CONFIG.format(cluster=cluster).encode())
    output.emit_record(
        face,
        {"cluster": cluster, "directory": str(folder)},
        [
            f"cluster {cluster} in {folder}",
            f"next: describe hosts and networks in {folder}/inventory, then tashictl host add NAME",
        ],
        name=cluster,
    )
