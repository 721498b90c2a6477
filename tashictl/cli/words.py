"""What a shell completes beyond nouns, verbs and options: names that exist, columns, filters.

It reads the state database and names of files only; whatever is wrong, it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem

from tashictl.cli.options import Globals, cluster_dir

if TYPE_CHECKING:
    from tashictl.cli.tables import Table
    from tashictl.model.state import State

Word = tuple[str, str]  # the word, and what some shells show beside it
Source = Callable[[click.Context, str], Iterable[Word]]

# Verbs whose argument is a new name, or none of ours.
_NEW = {("vm", "create"), ("init",), ("completion",)}
_FILES = {"path": "file", "file": "file", "g_inventory": "file", "g_cluster": "dir"}
_FILE_OPTIONS = {"--cloud-init": "file", "--ssh-key": "file"}


class Bash(BashComplete):
    """Bash, which breaks words at ``=``: they are put together again, and the answer is cut there.

    ``--filter state=Ru`` reaches us as ``--filter``, ``state``, ``=``, ``Ru``.
    """

    _cut = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one."""
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        before = len(args)
        glue = False
        for word in (*args, incomplete):
            if joined and (glue or word == "="):
                joined[-1] += word
                glue = word == "="
            else:
                joined.append(word)
        glued = len(joined) <= before and "=" in joined[-1]
        self._cut = joined[-1].rpartition("=")[0] + "=" if glued else ""
        return joined[:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """What bash puts in the place of the word, which begins behind the last ``=`` for it."""
        return f"{item.type},{item.value.removeprefix(self._cut)}"


def attach(ctx: click.Context, params: Sequence[click.Parameter]) -> None:
    """Give each parameter of a command the words that may stand there."""
    path = _path(ctx)
    for param in params:
        complete = partial(_complete, param, path)
        param.shell_complete = complete  # type: ignore[method-assign]


def _path(ctx: click.Context) -> tuple[str, ...]:
    """Noun and verb; a context's own path is made from the parameters that are asked for here."""
    names: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        names.insert(0, at.info_name or "")
        at = at.parent
    return tuple(names)


def _complete(
    param: click.Parameter, path: tuple[str, ...], ctx: click.Context, incomplete: str
) -> list[CompletionItem]:
    try:
        kind = _file_kind(param, path)
        if kind:
            return [CompletionItem(incomplete, type=kind)]
        source = _source(param, path)
        if source is None:
            return param.type.shell_complete(ctx, param, incomplete)
        given = ctx.params.get(param.name or "") if param.nargs == -1 else ()
        taken = set(given) if isinstance(given, tuple | list) else set()
        found = (w for w in source(ctx, incomplete) if w[0] not in taken)
        return [CompletionItem(w, help=h) for w, h in found if w.startswith(incomplete)]
    except Exception:  # noqa: BLE001  a shell that completes shows no error of ours
        return []


def _file_kind(param: click.Parameter, path: tuple[str, ...]) -> str:
    if path == ("state", "restore"):
        return _FILES.get(param.name or "", "") if (param.name or "").startswith("g_") else ""
    if path == ("net", "render") and "--to" in param.opts:
        return "dir"
    for option in param.opts:
        if option in _FILE_OPTIONS:
            return _FILE_OPTIONS[option]
    return _FILES.get(param.name or "", "")


# Verbs on hosts as the inventory has them, whether they were added or not.
_ABOUT_LISTED = {
    ("doctor",),
    *(("host", verb) for verb in ("add", "trust", "check", "setup")),
    *(("net", verb) for verb in ("render", "diff", "apply", "confirm", "rollback")),
}


def _source(param: click.Parameter, path: tuple[str, ...]) -> Source | None:
    if param.name == "g_columns":
        return partial(_columns, path)
    if param.name == "g_filter":
        return partial(_filters, path)
    if isinstance(param, click.Option):
        by_option = {"--host": _hosts, "--to": _hosts, "--disk": _images, "--basename": _basenames}
        return next((by_option[o] for o in param.opts if o in by_option), None)
    if path in _NEW or not path:
        return None
    if path == ("state", "restore"):
        return _backups
    if path in _ABOUT_LISTED:
        return _listed_hosts
    if path == ("state", "adopt"):
        return _hosts if param.name == "host" else None
    if path == ("event", "ack"):
        return _problems
    if path[0] == "stats" and param.name == "form":
        return None
    by_noun = {
        "vm": _vms,
        "host": _hosts,
        "image": _images,
        "op": _operations,
        "stats": _vms,
    }
    return by_noun.get(path[0])


# -- what exists


def _state_folder(ctx: click.Context) -> str:
    face: Globals = ctx.obj
    return f"{cluster_dir(face)}/state"


def _state(ctx: click.Context) -> State:
    from tashictl.adapters.store.form import ReadOnlyStore

    return ReadOnlyStore(_state_folder(ctx)).read()


def _vms(ctx: click.Context, incomplete: str) -> Iterator[Word]:
    for vm in _state(ctx).vms.values():
        told = vm.state.name + (f" on {vm.host}" if vm.host else "")
        yield (str(vm.id), f"{vm.name}, {told}") if incomplete.isdigit() else (vm.name, told)


def _basenames(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    found = [vm.name.rpartition("-") for vm in _state(ctx).vms.values()]
    bases = [base for base, dash, number in found if dash and number.isdigit()]
    for base in dict.fromkeys(bases):
        yield base, f"{bases.count(base)} VMs"


def _hosts(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    for host in _state(ctx).hosts.values():
        yield host.name, host.state.name


def _listed_hosts(ctx: click.Context, incomplete: str) -> Iterator[Word]:
    """Hosts of the database, then those of the inventory's files; nothing is executed."""
    from tashictl.adapters import inventory_files
    from tashictl.planning import inventory

    known = dict(_hosts(ctx, incomplete))
    yield from known.items()
    face: Globals = ctx.obj
    folder = face.inventory or f"{cluster_dir(face)}/inventory"

    def refuse(_path: str) -> None:
        raise OSError

    import os

    sources = inventory_files.read(folder, os.getuid(), refuse)  # type: ignore[arg-type]
    found, _problems = inventory.parse(sources)
    yield from ((h.name, "not added") for h in found.hosts if h.name not in known)


def _images(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    for image in _state(ctx).images.values():
        yield image.name, image.format


def _operations(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    """Those that wait for `op resume` first; for `op show` all whose journals are kept."""
    from tashictl.adapters.clock import SystemClock
    from tashictl.adapters.journals import FileJournals

    journals = FileJournals(f"{_state_folder(ctx)}/journal", SystemClock())
    every = ctx.info_name == "show"
    for operation_id in reversed(journals.ids()):
        journal = journals.read(operation_id)
        if journal is None or not (every or journal.ended is None):
            continue
        header = journal.header
        yield str(operation_id), f"{header.kind.value} {header.target}, {journal.status.value}"


def _problems(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    """What nobody acknowledged yet."""
    from tashictl.adapters import book
    from tashictl.adapters.clock import SystemClock

    for problem in book.of_state(_state_folder(ctx), SystemClock().now).values():
        if problem.acked_at is None:
            yield problem.id, problem.text


def _backups(ctx: click.Context, _incomplete: str) -> Iterator[Word]:
    from tashictl.adapters import files

    for name in files.names_in(f"{_state_folder(ctx)}/backups"):
        yield name, ""


# -- what a list has


def _table(path: tuple[str, ...]) -> Table[object] | None:
    from datetime import datetime

    from tashictl.cli import (
        adopt_table,
        audit_table,
        checks,
        doctor_table,
        event_tables,
        listings,
        stats_tables,
    )
    from tashictl.cli.records import Scene

    scene = Scene(now=datetime.now().astimezone())
    makers: dict[tuple[str, ...], Callable[[], object]] = {
        ("vm",): lambda: listings.vm_table(scene),
        ("schedule",): lambda: listings.vm_table(scene),
        ("doctor",): doctor_table.table,
        ("audit",): audit_table.table,
        ("host", "check"): checks.host_check_table,
        ("host",): lambda: listings.host_table(scene),
        ("image",): listings.image_table,
        ("op",): lambda: listings.operation_table(scene),
        ("event", "ack"): lambda: event_tables.problem_table(scene),
        ("event",): lambda: event_tables.event_table(scene),
        ("state", "adopt"): adopt_table.table,
        ("state", "check"): lambda: checks.state_check_table(()),
        ("config", "check"): checks.config_check_table,
        ("config",): checks.config_table,
        ("stats", "show"): lambda: stats_tables.table("vm", 0.0),
        ("stats", "top"): lambda: stats_tables.table("vm", 0.0),
    }
    made = makers.get(path) or makers.get(path[:1])
    return made() if made is not None else None  # type: ignore[return-value]


def _columns(path: tuple[str, ...], _ctx: click.Context, incomplete: str) -> Iterator[Word]:
    table = _table(path)
    if table is None:
        return
    before, comma, last = incomplete.rpartition(",")
    plus = "+" if last.startswith("+") else ""
    taken = {word.removeprefix("+") for word in before.split(",")}
    for column in table.columns:
        if column.key not in taken:
            yield f"{before}{comma}{plus}{column.key}", column.header
    for key in table.keys:
        if key not in taken and not key.endswith("*") and key not in {c.key for c in table.columns}:
            yield f"{before}{comma}{plus}{key}", ""
    if not before:
        yield "help", "lists them"


def _filters(path: tuple[str, ...], _ctx: click.Context, incomplete: str) -> Iterator[Word]:
    from tashictl.model.host import HostState
    from tashictl.model.vm import TashiState
    from tashictl.planning.audit.table import ORDER

    table = _table(path)
    if table is None:
        return
    before, comma, _last = incomplete.rpartition(",")
    values: dict[tuple[str, str], Iterable[str]] = {
        ("vm", "state"): [s.name for s in TashiState],
        ("schedule", "state"): [s.name for s in TashiState],
        ("host", "state"): ["ok", "advice", '"not met"']
        if path == ("host", "check")
        else [s.name for s in HostState],
        ("op", "status"): ["running", "done", "failed", "undone", "interrupted"],
        ("event", "severity"): ["note", "warning", "error"],
        ("audit", "kind"): list(ORDER),
        ("doctor", "severity"): ["ok", "note", "warning", "error"],
        ("host", "ok"): ["true", "false"],
        ("host", "up"): ["true", "false"],
    }
    for key in table.keys:
        some = values.get((path[0], key))
        for value in some or ("",):
            yield f"{before}{comma}{key}={value}", ""
