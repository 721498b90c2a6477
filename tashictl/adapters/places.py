"""Folders of a user who is not root: which of them may hold sockets, and how they are made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from tashictl.adapters import files
from tashictl.model.places import RunFolder

_SYSTEMD = Path("/run/systemd/system")
_LINGER = Path("/var/lib/systemd/linger")


def first_safe(folders: Iterable[RunFolder]) -> RunFolder | None:
    """The first whose base is the caller's alone, or can be made so; nothing is made here."""
    return next((folder for folder in folders if _is_safe(folder)), None)


def _is_safe(folder: RunFolder) -> bool:
    """Another user could have made the folder, or could put a link in the place of a socket."""
    try:
        found = Path(folder.base).lstat()
    except FileNotFoundError:
        return folder.make
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH if folder.open_to_read else stat.S_IRWXG | stat.S_IRWXO
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return ours and not found.st_mode & others


def make(path: str) -> None:
    """Make a folder and all above it that are not there, each 0700; raises E-ACCESS, E-FILE."""
    missing = []
    folder = Path(path)
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        files.make_private_folder(str(folder))


def ends_at_logout(user: str) -> bool:
    """Whether systemd removes XDG_RUNTIME_DIR, where the sockets may lie, at the last logout."""
    return _SYSTEMD.is_dir() and not (_LINGER / user).exists()
