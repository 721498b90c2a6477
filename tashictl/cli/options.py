"""The global options: what they are, how those before and behind the verb merge, what they mean."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec
from msgspec import Struct

import tashictl
from tashictl.cli import text

if TYPE_CHECKING:
    from pathlib import Path

STDOUT = "standard output"


class Output(Enum):
    """The forms of data on stdout."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"


class Streams(Struct, frozen=True, kw_only=True):
    """Where this process reads and writes, and its environment."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    env: Mapping[str, str]


class Globals(Struct, frozen=True, kw_only=True):
    """The global options of one command line, merged; what stands behind the verb wins."""

    streams: Streams
    cluster: str | None = None
    inventory: str | None = None
    output: Output = Output.TABLE
    columns: str | None = None
    headers: bool = True
    filter: str | None = None
    dry_run: bool = False
    yes: bool = False
    verbose: int = 0
    debug: bool = False
    color: str = "auto"

    @property
    def for_people(self) -> bool:
        """Whether stdout is read by a person (table, wide) and not by a program."""
        return self.output in (Output.TABLE, Output.WIDE)


class Early(Struct, frozen=True, kw_only=True):
    """What rendering an error needs, from the raw arguments: parsing may have failed."""

    json: bool = False
    debug: bool = False
    color: str = "auto"


def standard_streams() -> Streams:
    """This process's own; what their encoding cannot carry is written as an escape.

    One that the caller closed (``>&-``) is replaced, so that no file of ours takes its place.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Streams(
        stdin=sys.stdin or _nowhere("r"),
        stdout=sys.stdout or _nowhere("w"),
        stderr=sys.stderr or _nowhere("w"),
        env=os.environ,
    )


def flush(streams: Streams) -> None:
    """Flush stdout; an OSError of stdout names it."""
    try:
        streams.stdout.flush()
    except OSError as error:
        error.filename = error.filename or STDOUT
        raise


def _nowhere(mode: str) -> TextIO:
    return io.TextIOWrapper(io.FileIO(os.devnull, mode))


def early(arguments: Iterable[str]) -> Early:
    """Scan raw arguments, up to ``--``, for -o json, --debug and --color; the last one wins."""
    output, color, debug, pending = "table", "auto", False, ""
    for word in arguments:
        if pending:
            output, color = (word, color) if pending == "o" else (output, word)
            pending = ""
        elif word == "--":
            break
        elif word == "--debug":
            debug = True
        elif word.startswith("--output="):
            output = word.partition("=")[2]
        elif word.startswith("--color="):
            color = word.partition("=")[2]
        elif word in ("--output", "--color"):
            pending = "o" if word == "--output" else "c"
        elif word[:1] == "-" and word[1:].lstrip("vyh").startswith("o"):
            output = word[1:].lstrip("vyh")[1:]
            pending = "" if output else "o"
    return Early(json=output == "json", debug=debug, color=color)


def cluster_dir(options: Globals) -> Path:
    """The cluster directory: --cluster, TASHICTL_CLUSTER, ``./`` if it is one, ``~/.tashi``."""
    from pathlib import Path  # costs more than a millisecond of start-up

    given = options.cluster or options.streams.env.get("TASHICTL_CLUSTER")
    if given:
        return Path(given)
    here = Path()
    if (here / "Tashi.cfg").is_file() or (here / "etc" / "Tashi.cfg").is_file():
        return here
    return Path.home() / ".tashi"


def inventory_path(options: Globals) -> Path:
    """The inventory: --inventory, else ``inventory/`` in the cluster directory."""
    from pathlib import Path

    return Path(options.inventory) if options.inventory else cluster_dir(options) / "inventory"


def paint_for(stream: TextIO, color: str, env: Mapping[str, str]) -> text.Paint:
    """The painter for a stream: --color first, then NO_COLOR (no-color.org), then the terminal."""
    if color == "always":
        return text.ansi
    if color == "never" or env.get("NO_COLOR") or env.get("TERM") == "dumb":
        return text.plain
    return text.ansi if stream.isatty() else text.plain


def width_of(stream: TextIO, env: Mapping[str, str]) -> int | None:
    """The columns of the terminal that `stream` is, None where it is none."""
    if not stream.isatty():
        return None
    if env.get("COLUMNS", "").isdigit():
        return int(env["COLUMNS"]) or None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def merge(before: Globals, given: Mapping[str, Any]) -> Globals:
    """Lay the values of one level's options (`g_` names) over those of the levels before."""
    changed: dict[str, Any] = {}
    for name in ("cluster", "inventory", "columns", "filter", "color"):
        if given.get(f"g_{name}") is not None:
            changed[name] = given[f"g_{name}"]
    if given.get("g_output") is not None:
        changed["output"] = Output(given["g_output"])
    if given.get("g_no_headers"):
        changed["headers"] = False
    for name in ("dry_run", "yes", "debug"):
        if given.get(f"g_{name}"):
            changed[name] = True
    if given.get("g_verbose"):
        changed["verbose"] = before.verbose + given["g_verbose"]
    return msgspec.structs.replace(before, **changed) if changed else before


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"tashictl {tashictl.__version__}")
        ctx.exit()


def _value(names: tuple[str, ...], metavar: str, help_text: str) -> click.Option:
    return click.Option([*names, _dest(names)], metavar=metavar, help=help_text)


def _choice(names: tuple[str, ...], choices: list[str], help_text: str) -> click.Option:
    return click.Option([*names, _dest(names)], type=click.Choice(choices), help=help_text)


def _flag(names: tuple[str, ...], help_text: str) -> click.Option:
    return click.Option([*names, _dest(names)], is_flag=True, default=False, help=help_text)


def _dest(names: tuple[str, ...]) -> str:
    return "g_" + names[-1].lstrip("-").replace("-", "_")


# Shared by every command: options hold no state, and building them costs start-up time.
GLOBAL_OPTIONS: tuple[click.Option, ...] = (
    _value(
        ("--cluster",),
        "DIR",
        "The cluster directory [env TASHICTL_CLUSTER; default ./ if it holds Tashi.cfg or "
        "etc/Tashi.cfg, else ~/.tashi].",
    ),
    _value(
        ("--inventory",),
        "PATH",
        "Hosts and networks: a YAML file, a folder, or an executable that prints JSON "
        "[default: inventory/ in the cluster directory].",
    ),
    _choice(("-o", "--output"), [o.value for o in Output], "The form of the data on stdout."),
    _value(
        ("-c", "--columns"),
        "a,b,+c",
        "Lists: choose columns, or add with +; 'help' shows them.",
    ),
    _flag(("--no-headers",), "Tables and CSV without the line of headers."),
    _value(
        ("--filter",),
        "EXPR",
        "Lists: only what fits, as in state=Running,name=web*,memory_mib>=2048; "
        "= != >= <= > <, joined by comma (and).",
    ),
    _flag(("--dry-run",), "Change nothing anywhere; print the plan."),
    _flag(("-y", "--yes"), "Ask no questions (never accepts a host key)."),
    click.Option(["-v", "--verbose", "g_verbose"], count=True, help="Say more; -vv still more."),
    _flag(("--debug",), "Say everything, with tracebacks and scripts."),
    _choice(("--color",), ["auto", "always", "never"], "Colours [auto; NO_COLOR is honoured]."),
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Print the version.",
    ),
)
