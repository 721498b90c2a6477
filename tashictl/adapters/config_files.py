"""Finds the configuration's layers and reads them; what they say is planning's."""
# Reading the configuration must not import pathlib, a tenth of a command's start:
# ruff: noqa: PTH109, PTH111, PTH116, PTH118, PTH120

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Mapping

from msgspec import Struct

from tashictl.adapters import trust
from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.settings import Layer

PROGRAMS = ("ClusterManager", "NodeManager", "Client", "Agent", "Tashictl")
NAMES = tuple(
    name for stem in ("Tashi", *PROGRAMS) for name in (f"{stem}Defaults.cfg", f"{stem}.cfg")
)
SYSTEM_FOLDERS = ("/usr/share/tashi", "/etc/tashi")
_FOLDER = "of its folder: "


class Surroundings(Struct, frozen=True, kw_only=True):
    """Where a command is run and by whom: what decides which files are read; absolute paths."""

    current: str
    home: str
    uid: int
    system: tuple[str, ...] = SYSTEM_FOLDERS


class ClusterFolder(Struct, frozen=True, kw_only=True):
    """The cluster directory; `asked` means that it was named, by --cluster or TASHICTL_CLUSTER.

    `passed_over` says of the current folder's files why they did not make it the one.
    """

    path: str
    asked: bool
    passed_over: tuple[Layer, ...] = ()


def surroundings() -> Surroundings:
    """Those of this process."""
    home = os.path.expanduser("~")
    try:
        current = os.getcwd()
    except OSError:  # the current folder was removed
        current = "/proc/self/cwd"
    # Without HOME and an entry in passwd(5), ~ stays as it is: there is no layer of the user's.
    return Surroundings(current=current, home="/" if home == "~" else home, uid=os.getuid())


def find_cluster(
    option: str | None, environ: Mapping[str, str], around: Surroundings
) -> ClusterFolder:
    """The cluster directory: --cluster, TASHICTL_CLUSTER, ``./`` if it holds one, ``~/.tashi``.

    ``./`` holds one when ``Tashi.cfg`` or ``etc/Tashi.cfg`` is there and may be believed.
    """
    asked = option or environ.get("TASHICTL_CLUSTER")
    if asked:
        path = os.path.join(around.current, os.path.expanduser(asked))
        return ClusterFolder(path=os.path.realpath(path), asked=True)
    passed_over: list[Layer] = []
    for name in ("Tashi.cfg", "etc/Tashi.cfg"):
        path = os.path.join(around.current, name)
        if trust.mode_of(path) is None:
            continue
        fault = _fault_at(path, (around.uid,))
        if not fault:
            return ClusterFolder(path=os.path.realpath(around.current), asked=False)
        passed_over.append(Layer(path=path, text="", ignored=fault))
    return ClusterFolder(
        path=os.path.realpath(os.path.join(around.home, ".tashi")),
        asked=False,
        passed_over=tuple(passed_over),
    )


def layers(cluster: ClusterFolder, around: Surroundings) -> tuple[Layer, ...]:
    """Read Tashi's folders in their order, then the cluster directory and its ``etc/``.

    A file that may not be believed is a layer with `ignored` set; in the cluster directory it is
    refused: raises InvalidRequest (E-TRUST, E-FILE, E-CONFIG), or Problems with all of them. What
    the caller may not read (Agent.cfg with its keys) is ignored too.
    """
    own = (cluster.path, os.path.realpath(os.path.join(cluster.path, "etc")))
    searched = (
        os.path.join(around.current, "etc"),
        *around.system,
        os.path.join(around.home, ".tashi"),
    )
    found: list[Layer] = []
    problems: list[InvalidRequest] = []
    for folder in searched:
        # A folder that is read again as the last one would only repeat its notes; and what a
        # cluster in ~/.tashi says of its folders must not befall another cluster.
        if os.path.realpath(folder) not in own and not _is_cluster(folder):
            found += _read_folder(folder, (around.uid,), problems)
    trusted = _trusted_in(cluster, around)
    for folder in own:
        for layer in _read_folder(folder, trusted, problems):
            found.append(layer)
            if layer.ignored and not layer.unreadable:
                problems.append(_refused(layer))
    raise_all(problems)
    seen = {layer.path for layer in found}
    return (*(layer for layer in cluster.passed_over if layer.path not in seen), *found)


def _is_cluster(folder: str) -> bool:
    """Whether a folder is the directory of a cluster, whose files are its own."""
    return trust.is_folder(os.path.join(folder, "state"))


def _trusted_in(cluster: ClusterFolder, around: Surroundings) -> tuple[int, ...]:
    """To name a directory is to trust its owner."""
    if not cluster.asked:
        return (around.uid,)
    try:
        return (around.uid, os.stat(cluster.path).st_uid)
    except OSError:
        return (around.uid,)


def _read_folder(
    folder: str, trusted: tuple[int, ...], problems: list[InvalidRequest]
) -> Iterator[Layer]:
    if not trust.is_folder(folder):
        return
    folder_fault = trust.folder_fault(folder, trusted)
    for name in NAMES:
        try:
            layer = _read(os.path.join(folder, name), folder_fault, trusted)
        except InvalidRequest as error:
            problems.append(error)
        else:
            if layer is not None:
                yield layer


def _read(path: str, folder_fault: str, trusted: tuple[int, ...]) -> Layer | None:
    try:
        content = trust.read(path)
    except PermissionError:
        return Layer(path=path, text="", ignored="you may not read it", unreadable=True)
    if content is None:
        return None
    fault = _either(trust.file_fault(content.status, trusted), folder_fault)
    if fault:
        return Layer(path=path, text="", ignored=fault)
    try:
        text = content.data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.data[: error.start].count(b"\n") + 1
        raise InvalidRequest(
            "E-CONFIG", f"no UTF-8 text, {path}:{line}", cause=error.reason
        ) from error
    others_read = bool(content.status.st_mode & stat.S_IROTH)
    return Layer(path=path, text=text, others_read=others_read)


def _fault_at(path: str, trusted: tuple[int, ...]) -> str:
    try:
        fault = trust.file_fault(os.stat(path), trusted)
    except OSError as error:
        return error.strerror or str(error)
    return _either(fault, trust.folder_fault(os.path.dirname(path), trusted))


def _either(file_fault: str, folder_fault: str) -> str:
    return file_fault or (f"{_FOLDER}{folder_fault}" if folder_fault else "")


def _refused(layer: Layer) -> InvalidRequest:
    target = os.path.dirname(layer.path) if layer.ignored.startswith(_FOLDER) else layer.path
    if "belongs to" in layer.ignored:
        hint = f"look at it, then: chown $(id -u) {shlex.quote(target)}"
    else:
        hint = f"chmod go-w {shlex.quote(target)}"
    return InvalidRequest(
        "E-TRUST", f"{layer.path} may not be believed", cause=layer.ignored, hint=hint
    )
