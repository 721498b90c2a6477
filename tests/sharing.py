"""How two processes share the tests (``pytest -n 2``): whole files, and some files in a row.

A scheduler of our own: the groups of xdist's ``loadgroup`` are lost with pytest 9.2.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from xdist.scheduler import LoadScopeScheduling

# Whole machines are booted there, or time is looked at closely: four machines at a time would be
# too slow for them.
BOOTED = (
    *("booted", "booted_image", "make_demo", "net_aware", "net_booted", "net_guests", "net_lab"),
    *("net_lost", "net_networkd", "net_render", "net_styles"),
)
# They try scripts on this machine itself, and look at its processes.
_GROUND = ("script_", "probe", "net_words")


def group_of(path: str) -> str:
    """What goes one after the other on one process: a file, or a group of them."""
    stem = PurePosixPath(path).stem.removeprefix("test_")
    if not path.startswith("tests/live/"):
        return path
    if stem in BOOTED:
        return "booted"
    return "ground" if stem.startswith(_GROUND) else path


def rank(path: str) -> tuple[bool, bool]:
    """What takes longest begins first."""
    return group_of(path) != "booted", not path.startswith("tests/live/")


class Shared(LoadScopeScheduling):
    """xdist's scheduler of scopes, whose scopes are our groups."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])
