"""The tiny bootable guest of the live tests: tashictl's own demo image, in a cache of the lab."""

import os
from pathlib import Path

from tashictl.adapters.demo import build as demo
from tests.live.lab import needs

NAME = demo.NAME


def default_cache() -> Path:
    """Where built images are kept: `$XDG_CACHE_HOME/tashictl-lab`, else `~/.cache/tashictl-lab`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tashictl-lab"


def build(cache_dir: Path | None = None, *, deaf: bool = False) -> Path:
    """Path of the demo image, or of the one that is deaf to its power button; built if need be.

    Raises needs.MissingPartError with every missing tool and the packages that bring them.
    """
    needs.require(needs.missing_for_guest())
    return demo.build(cache_dir or default_cache(), deaf=deaf)
