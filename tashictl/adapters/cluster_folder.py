"""A new cluster directory."""

from __future__ import annotations

from tashictl.adapters import files
from tashictl.adapters.store.create import create


def lay_out(folder: str, cluster: str, config: str) -> None:
    """Make Tashi.cfg, inventory/ and state/ below `folder`, the configuration last.

    With it, it is a cluster directory. Raises Conflict E-EXISTS, E-DISK-FULL, E-ACCESS, E-FILE.
    """
    files.make_private_folder(folder)
    create(f"{folder}/state", cluster)
    files.make_private_folder(f"{folder}/inventory")
    files.write_new(f"{folder}/Tashi.cfg", config.encode())
