"""A look at this machine for `doctor`: versions, the state folder, locks, keys. Changes nothing."""

from __future__ import annotations

import os
import platform
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from tashictl.adapters import files
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.ssh.config import SshConfig
from tashictl.adapters.ssh.faults import Down
from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.ssh.keys import KeyRing
from tashictl.adapters.store import check as store_check
from tashictl.adapters.store.create import LOCK_FOLDER
from tashictl.errors import TashiError
from tashictl.model.health import Exposed, Health, HeldLock, LoginKeys, Package, StateFault
from tashictl.model.host import HostConfig

_PACKAGE = "tashictl"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^>;]*>=\s*([0-9][0-9.]*)[^;]*(;.*extra\b.*)?")
_KEY_FILES = ("id_ed25519", "id_ecdsa", "id_rsa")
_OWN_CHECKS = ("state-private", "state-network", "locks-left")  # said here in another way
_HOLDER_BYTES = 200


def look(
    state_folder: str,
    journals: FileJournals,
    hosts: Iterable[HostConfig],
    secrets: Iterable[str] = (),
) -> Health:
    """All of it; `hosts` are those that are reached by SSH, `secrets` files with keys in them."""
    asked = tuple(hosts)
    needed, packages = _packages()
    keys, fault = _keys(asked)
    store = HostKeyStore(Path(state_folder) / "known_hosts")
    own_keys = [str(Path.home() / ".ssh" / name) for name in _KEY_FILES]
    named = [h.identity_file for h in asked if h.identity_file]
    return Health(
        folder=state_folder,
        python=platform.python_version(),
        python_wanted=needed,
        packages=packages,
        free_bytes=_free(state_folder),
        network=files.network_type(state_folder),
        exposed=tuple(_exposed(state_folder)),
        secrets=tuple(_secrets([*secrets, *named, *own_keys])),
        locks=tuple(_locks(f"{state_folder}/{LOCK_FOLDER}")),
        keys=keys,
        keys_fault=fault,
        unknown=tuple(h.name for h in asked if not store.key_of(h.name)),
        state=tuple(
            StateFault(id=f.id, severity=f.severity, evidence=f.evidence, remedy=f.remedy)
            for f in store_check.check(state_folder, journals)
            if f.id not in _OWN_CHECKS
        ),
    )


def _packages() -> tuple[str, tuple[Package, ...]]:
    """The Python and the packages that this installation asks for; none where it is not one."""
    try:
        asked = metadata.requires(_PACKAGE) or []
        about = metadata.metadata(_PACKAGE)
    except metadata.PackageNotFoundError:
        return "", ()
    python = "" if about["Requires-Python"] is None else str(about["Requires-Python"])
    found = []
    for line in asked:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is None or (match[3] and '"test"' in match[3].replace("'", '"')):
            continue
        found.append(
            Package(
                name=match[1], wanted=match[2], found=_version(match[1]), optional=bool(match[3])
            )
        )
    return python.removeprefix(">="), tuple(found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _free(folder: str) -> int | None:
    try:
        return files.free_bytes(folder)
    except TashiError:
        return None


def _exposed(folder: str) -> Iterator[Exposed]:
    for path, why in store_check.exposed(folder):
        found = os.lstat(path) if files.exists(path) else None
        ours = found is not None and found.st_uid == os.getuid()
        loose = found is not None and bool(stat.S_IMODE(found.st_mode) & 0o077)
        linked = found is not None and stat.S_ISLNK(found.st_mode)
        yield Exposed(path=path, why=why, ours=ours and loose and not linked)


def _secrets(paths: Iterable[str]) -> Iterator[Exposed]:
    """Files with keys in them that others may read; one that is not there is no fault here."""
    for path in dict.fromkeys(str(Path(p).expanduser()) for p in paths):
        with suppress(OSError):
            mode = stat.S_IMODE(Path(path).stat().st_mode)
            if mode & 0o077:
                yield Exposed(path=path, why=f"mode {mode:04o}", ours=False)


def _locks(folder: str) -> Iterator[HeldLock]:
    """The lock files that have a name in them, and whether the kernel knows a holder.

    No lock is tried: a sweep that begins meanwhile would find it taken.
    """
    raw = files.read_file("/proc/locks")
    if raw is None:
        return
    held = {int(m[1]) for m in re.finditer(rb" [0-9a-f]+:[0-9a-f]+:([0-9]+) ", raw)}
    for name in files.names_in(folder):
        path = Path(folder) / name
        with suppress(OSError):
            holder = path.read_bytes()[:_HOLDER_BYTES].decode("utf-8", "replace").strip()
            if holder:
                yield HeldLock(name=name, holder=holder, held=path.stat().st_ino in held)


def _keys(hosts: Iterable[HostConfig]) -> tuple[tuple[LoginKeys, ...], str]:
    config = Path.home() / ".ssh" / "config"
    routes, ring = SshConfig(config if config.is_file() else None), KeyRing()
    found = []
    for host in hosts:
        try:
            tried = tuple(ring.keys_for(routes.route(host)))
        except Down as down:
            return (), f"{host.name}: {down.detail or down.fault.value}"
        found.append(
            LoginKeys(
                host=host.name,
                usable=tuple(name for name, key in tried if not isinstance(key, str)),
                unusable=tuple(f"{name} {key}" for name, key in tried if isinstance(key, str)),
            )
        )
    return tuple(found), ""
