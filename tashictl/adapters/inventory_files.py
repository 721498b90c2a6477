"""The inventory's sources: a YAML file, a folder of them, or an executable that prints JSON."""
# ruff: noqa: PTH100, PTH116, PTH118, PTH120    paths are plain text, as in files.py

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress

from tashictl.adapters import files, trust
from tashictl.errors import Conflict, InvalidRequest, raise_all
from tashictl.model.names import NAME_RULE, is_name

DATA_SUFFIXES = (".yaml", ".yml", ".json")
EXEC_TIMEOUT_S = 30.0

Source = tuple[str, str]
Run = Callable[[str], "subprocess.CompletedProcess[bytes]"]


def run_executable(path: str) -> subprocess.CompletedProcess[bytes]:
    """Run an executable inventory, without arguments, in its own folder, for at most 30 s.

    What it started ends with it. Raises OSError or subprocess.TimeoutExpired.
    """
    with subprocess.Popen(
        [path],
        cwd=os.path.dirname(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=EXEC_TIMEOUT_S)
        except BaseException:  # also Ctrl-C, which a session of its own does not get
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess([path], process.returncode, out, err)


def read(path: str, uid: int, run: Run = run_executable) -> tuple[Source, ...]:
    """Read an inventory as (path, text), a folder's files sorted by name.

    `uid` is the caller's. Raises InvalidRequest, or Problems: E-INVENTORY for what is absent or
    fails, E-TRUST for an executable that is foreign or that others may write, and for any file
    that everybody may write.
    """
    mode = trust.mode_of(path)
    if mode is None:
        raise InvalidRequest("E-INVENTORY", f"no inventory {path}", hint="--inventory PATH")
    if stat.S_ISDIR(mode):
        return _read_folder(path, uid)
    if not path.endswith(DATA_SUFFIXES) and os.access(path, os.X_OK):
        return ((path, _output(os.path.abspath(path), uid, run)),)
    return ((path, _data(path)),)


def read_default(cluster: str, uid: int, run: Run = run_executable) -> tuple[Source, ...]:
    """Read ``inventory`` in the cluster directory; nothing if it is not there."""
    path = os.path.join(cluster, "inventory")
    return read(path, uid, run) if trust.mode_of(path) is not None else ()


def add_host(path: str, name: str, text: str) -> str:
    """Write `text` to ``<name>.yaml`` in the inventory's folder `path`, and return its path.

    The file appears whole or not at all. Raises InvalidRequest (E-INVENTORY, E-NAME) if the
    inventory is no folder or the name is bad, Conflict (E-EXISTS) if the file is there, and as
    `files.write_new`.
    """
    if not is_name(name):
        raise InvalidRequest("E-NAME", f"{name!r} is no host name", cause=NAME_RULE)
    if not trust.is_folder(path):
        raise InvalidRequest(
            "E-INVENTORY",
            f"the inventory {path} is no folder, so {name} cannot be added to it",
            hint=f"add to it:\n{text}",
        )
    target = os.path.join(path, f"{name}.yaml")
    try:
        files.write_new(target, text.encode(), mode=0o644)
    except Conflict as error:
        raise Conflict(
            error.code, f"{target} exists, but does not list {name}", hint=f"add to it:\n{text}"
        ) from error
    return target


def remove_host(path: str, text: str) -> bool:
    """Remove the file at `path` if it still holds `text`; whether it is gone."""
    found = files.read_file(path)
    if found is None or found.decode("utf-8-sig", "replace") != text:
        return found is None
    files.remove(path)
    files.sync_folder(os.path.dirname(path) or ".")
    return True


def _read_folder(folder: str, uid: int) -> tuple[Source, ...]:
    fault = trust.folder_fault(folder, (uid, os.stat(folder).st_uid))
    if fault:
        raise _distrusted(folder, fault)
    found: list[Source] = []
    problems: list[InvalidRequest] = []
    for name in files.names_in(folder):
        # Editors leave .#x.yaml, and our own temporary files begin with a dot.
        if name.startswith(".") or not name.endswith(DATA_SUFFIXES):
            continue
        try:
            found.append((os.path.join(folder, name), _data(os.path.join(folder, name))))
        except InvalidRequest as error:
            problems.append(error)
    raise_all(problems)
    return tuple(found)


def _data(path: str) -> str:
    try:
        content = trust.read(path)
    except PermissionError as error:
        raise InvalidRequest("E-INVENTORY", f"you may not read {path}") from error
    if content is None:
        raise InvalidRequest("E-INVENTORY", f"{path} leads nowhere", hint="--inventory PATH")
    if content.status.st_mode & stat.S_IWOTH:
        raise _distrusted(path, "everybody may write it")
    return _text(path, content.data)


def _output(path: str, uid: int, run: Run) -> str:
    """Run an executable, if its owner is the caller or root and nobody else may write it."""
    with files.translated(path, "be examined"):
        fault = trust.file_fault(os.stat(path), (uid,))
    fault = fault or trust.folder_fault(os.path.dirname(os.path.realpath(path)), (uid,))
    if fault:
        raise _distrusted(path, fault)
    try:
        done = run(path)
    except subprocess.TimeoutExpired as error:
        what = f"{path} did not end within {EXEC_TIMEOUT_S:.0f} s"
        raise InvalidRequest("E-INVENTORY", what) from error
    except OSError as error:
        hint = "its first line must name an interpreter: #!/bin/sh"
        raise InvalidRequest(
            "E-INVENTORY", f"cannot run {path}", cause=str(error), hint=hint
        ) from error
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else "it said nothing on stderr"
        raise InvalidRequest("E-INVENTORY", f"{path} ended with {done.returncode}", cause=said)
    return _text(path, done.stdout)


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRequest(
            "E-INVENTORY", f"no UTF-8 text, {path}:{line}", cause=error.reason
        ) from error


def _distrusted(path: str, fault: str) -> InvalidRequest:
    verb = "chmod go-w" if "write" in fault else "chown $(id -u)"
    return InvalidRequest(
        "E-TRUST",
        f"{path} may not be believed",
        cause=fault,
        hint=f"look at it, then: {verb} {shlex.quote(path)}",
    )
