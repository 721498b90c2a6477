"""A new state folder, as `init` makes it."""

from __future__ import annotations

import re

import msgspec

from tashictl.adapters import files
from tashictl.adapters.store.backups import BACKUP_FOLDER
from tashictl.adapters.store.form import META_ID, STATE_FILE, sealed
from tashictl.adapters.store.upgrade import LADDER, Ladder
from tashictl.errors import Conflict, InvalidRequest
from tashictl.model.state import Meta

JOURNAL_FOLDER = "journal"
LOCK_FOLDER = "locks"
SEED_FOLDER = "seeds"  # made with the first seed
SUBFOLDERS = (BACKUP_FOLDER, JOURNAL_FOLDER, LOCK_FOLDER)

_CLUSTER = re.compile(r"[0-9a-f]{12}")


def create(folder: str, cluster: str, ladder: Ladder = LADDER) -> None:
    """Make `folder` (state/, 0700) with its subfolders and an empty database.

    `cluster` is the cluster id, 12 hex digits. Raises InvalidRequest E-VALUE for another;
    Conflict E-EXISTS where there is a database, a journal or a backup; E-DISK-FULL, E-ACCESS,
    E-FILE.
    """
    if _CLUSTER.fullmatch(cluster) is None:
        raise InvalidRequest(
            "E-VALUE", f"{cluster!r} is no cluster id", cause="it has 12 hex digits"
        )
    path = f"{folder}/{STATE_FILE}"
    if files.exists(path):
        raise _exists(path, "use it as it is, or choose another folder")
    for name in (BACKUP_FOLDER, JOURNAL_FOLDER):
        if files.names_in(f"{folder}/{name}"):
            raise _exists(f"{folder}/{name}", "go back to a copy: tashictl state restore")
    for made in (folder, *(f"{folder}/{name}" for name in SUBFOLDERS)):
        files.make_private_folder(made)
    files.write_new(path, _empty(cluster, ladder))


def _empty(cluster: str, ladder: Ladder) -> bytes:
    meta = Meta(schema=ladder.schema, min_writer=ladder.min_writer, cluster=cluster)
    tables = {"meta": {META_ID: meta}, "vms": {}, "hosts": {}, "images": {}, "quarantine": {}}
    tables["deferred"] = {}
    return sealed(msgspec.json.encode(tables), ladder.schema, ladder.min_writer)


def _exists(path: str, hint: str) -> Conflict:
    return Conflict("E-EXISTS", f"{path} exists already", hint=hint)
