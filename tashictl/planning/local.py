"""A cluster of this machine alone (`init --local`): where its things lie, and the files it has.

Root uses the system's folders. Anybody else has those of the XDG base directory specification:
run folders in ``$XDG_RUNTIME_DIR/tashi``, all that lasts in ``$XDG_STATE_HOME/tashi``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tashictl.model.names import is_name
from tashictl.model.places import Places, RunFolder
from tashictl.planning.inventory import host_yaml
from tashictl.planning.qemu import MAX_SOCKET_PATH_BYTES

NETWORK = "user"
_BELOW = "/0123456789ab/01234567-0123-0123-0123-0123456789ab/serial.sock"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")


def host_name(hostname: str) -> str:
    """The machine's short name made a legal host name, else ``local``."""
    short = _NOT_IN_NAMES.sub("-", hostname.split(".")[0].lower())[:63].strip("-")
    return short if is_name(short) else "local"


def lib_dir(home: str, environ: Mapping[str, str]) -> str:
    """Where what lasts lies: ``$XDG_STATE_HOME/tashi``; a relative path in it counts as unset."""
    given = environ.get("XDG_STATE_HOME", "")
    return f"{_plain(given) or f'{home}/.local/state'}/tashi"


def run_folders(uid: int, lib: str, environ: Mapping[str, str]) -> tuple[RunFolder, ...]:
    """Where the run folders may lie, the best first: each short enough for a socket's path."""
    runtime = _plain(environ.get("XDG_RUNTIME_DIR", ""))
    found = (
        *((RunFolder(base=runtime, path=f"{runtime}/tashi"),) if runtime else ()),
        RunFolder(base=lib, path=f"{lib}/run", make=True, open_to_read=True),
        RunFolder(base=f"/var/tmp/tashi-{uid}", path=f"/var/tmp/tashi-{uid}/run", make=True),
    )
    return tuple(folder for folder in found if fits(folder.path))


def fits(run_dir: str) -> bool:
    """Whether the sockets below a runDir have paths that the kernel takes."""
    return len(f"{run_dir}{_BELOW}".encode("utf-8", "surrogateescape")) <= MAX_SOCKET_PATH_BYTES


def places(lib: str, run: RunFolder) -> Places:
    """The folders of a user who is not root."""
    return Places(run_dir=run.path, lib_dir=lib, etc_dir=f"{lib}/etc", prefix=f"{lib}/shared")


def config_text(head: str, own: Places | None) -> str:
    """Tashi.cfg: `head` is what every cluster has, up to the end of [Tashictl]."""
    if own is None:
        return head
    return (
        f"{head}runDir = {own.run_dir}\nlibDir = {own.lib_dir}\netcDir = {own.etc_dir}\n"
        f"\n[Vfs]\nprefix = {own.prefix}\n"
    )


def inventory_text(name: str) -> str:
    """The inventory: this machine, and one network that each QEMU makes for its guest."""
    return (
        "# This machine is the only host; nothing goes over SSH, and no bridge is needed.\n"
        f"{host_yaml(name, {'transport': 'local'})}"
        "networks:\n"
        f"  - {{id: 1, name: {NETWORK}, mode: user, default: true}}\n"
    )


def _plain(path: str) -> str:
    """A path as the configuration takes it, or nothing for one that is relative or strange."""
    strange = not path.startswith("/") or not path.isprintable() or ".." in path.split("/")
    return "" if strange else path.rstrip("/")
