"""Where a cluster's things lie on a machine whose user is not root."""

from __future__ import annotations

from msgspec import Struct


class RunFolder(Struct, frozen=True, kw_only=True):
    """A place for the run folders. `base` must be the user's alone; with `make` it is made so.

    `open_to_read` lets others look into it: it holds more than what runs.
    """

    base: str
    path: str
    make: bool = False
    open_to_read: bool = False


class Places(Struct, frozen=True, kw_only=True):
    """[Tashictl] runDir, libDir, etcDir and [Vfs] prefix."""

    run_dir: str
    lib_dir: str
    etc_dir: str
    prefix: str
