"""The hosts that a command line names."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.errors import NoSuchTarget, raise_all
from tashictl.model import names
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory


def no_host(name: str) -> NoSuchTarget:
    """The error for a name, glob or range that stands for no host."""
    return NoSuchTarget("E-NO-HOST", f"no host {name!r}", hint="tashictl host list")


def hosts(inventory: Inventory, patterns: Sequence[str]) -> list[HostConfig]:
    """The hosts of the inventory that these stand for, each once; none given stands for all.

    Raises NoSuchTarget, or Problems, for what stands for none.
    """
    known = {h.name: h for h in inventory.hosts}
    found: dict[str, HostConfig] = {}
    missing = []
    for pattern in patterns or ("*",):
        some = names.select(pattern, known)
        if not some:
            missing.append(no_host(pattern))
        found.update((n, known[n]) for n in some)
    raise_all(missing)
    return list(found.values())
