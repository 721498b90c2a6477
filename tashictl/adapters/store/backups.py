"""Copies of the state file: one for each commit, rotating, and those that people ask for."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

from tashictl.adapters import files
from tashictl.errors import InvalidRequest, TashiError

BACKUP_FOLDER = "backups"
REPLACED = "before-restore"
BEFORE_REBUILD = "before-rebuild"
_ROTATING = re.compile(r"(\d{8,})-(\d{8}T\d{6}Z)\.json")
_NAMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


def keep_old(path: str, folder: str, generation: int, now: datetime, keep: int) -> None:
    """Link the state file as it is into `folder` and remove the oldest beyond `keep`.

    Never fails: a commit must not depend on its backup. The link costs no copy, since the commit
    puts a new file in the old one's place.
    """
    if keep > 0:
        with suppress(OSError):
            files.link(path, f"{folder}/{generation:08d}-{_stamp(now)}.json")
    with suppress(TashiError):
        for name in _rotating(folder)[: -keep or None]:
            files.remove(f"{folder}/{name}")


def named_path(folder: str, name: str) -> str:
    """Where the backup `name` lies; raises InvalidRequest E-NAME."""
    if _NAMED.fullmatch(name) is None:
        raise InvalidRequest(
            "E-NAME",
            f"{name!r} cannot name a backup",
            cause="a letter, then letters, digits, dots, dashes, underscores, at most 100",
        )
    return f"{folder}/{name}.json"


def save(raw: bytes, folder: str, name: str) -> str:
    """Write a backup that stays until someone removes it; raises Conflict E-EXISTS."""
    path = named_path(folder, name)
    files.write_new(path, raw)
    return path


def set_aside(path: str, folder: str, now: datetime, why: str = REPLACED) -> str | None:
    """Keep the file at `path`, whatever is in it, as a backup; None when there is no file."""
    raw = files.read_file(path)
    if raw is None:
        return None
    name = base = f"{why}-{_stamp(now)}"
    serial = 1
    while files.exists(f"{folder}/{name}.json"):
        serial += 1
        name = f"{base}-{serial}"
    return save(raw, folder, name)


def default_name(generation: int, now: datetime) -> str:
    """The name of a backup that was asked for without one."""
    return f"manual-{generation:08d}-{_stamp(now)}"


def listed(folder: str) -> tuple[str, ...]:
    """The paths of all backups: the rotating ones from old to new, then the named ones."""
    named = [n for n in files.names_in(folder) if n.endswith(".json") and n[0].isalpha()]
    return tuple(f"{folder}/{name}" for name in (*_rotating(folder), *named))


def _rotating(folder: str) -> list[str]:
    """By time, then generation: after a restore generations start again lower down."""
    found = [m for m in map(_ROTATING.fullmatch, files.names_in(folder)) if m is not None]
    found.sort(key=lambda m: (m.group(2), int(m.group(1))))
    return [m.group() for m in found]


def _stamp(now: datetime) -> str:
    return now.strftime("%Y%m%dT%H%M%SZ")
