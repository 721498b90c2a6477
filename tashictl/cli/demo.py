"""`tashictl image build-demo`: the demo guest, built on this machine, in a file or on the hosts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from tashictl.adapters import files
from tashictl.adapters.demo import build, parts
from tashictl.cli import output, progress
from tashictl.cli.options import Globals
from tashictl.errors import Conflict, InvalidRequest, TashiError, raise_all

FILE_MODE = 0o644


class Asked(Struct, frozen=True, kw_only=True):
    """What `image build-demo` was asked for."""

    name: str | None
    hosts: tuple[str, ...]
    to: str | None


def check(asked: Asked, found: Iterable[TashiError] = ()) -> None:
    """Raise all that is wrong at once: what the caller found, the options, the missing parts."""
    problems = list(found)
    if asked.to is not None and (asked.hosts or asked.name is not None):
        problems.append(
            InvalidRequest(
                "E-USAGE",
                "--to writes a file only, so --name and --host have no meaning with it",
                hint="leave them out, or leave out --to",
            )
        )
    try:
        parts.refuse(parts.missing())
    except InvalidRequest as error:
        problems.append(error)
    raise_all(problems)


def built(face: Globals) -> Path:
    """The image in the cache, built now unless it is there."""
    cache = build.default_cache()
    path = build.place(cache)
    if not path.exists():
        progress.Progress(face).note(f"building {path}")
    return build.build(cache)


def foretold(face: Globals) -> Path | None:
    """Say what would be built (dry run); the image's path if it is built already."""
    path = build.place(build.default_cache())
    if path.exists():
        output.say(face, f"{path} is built already")
        return path
    output.say(face, f"would build {path}")
    return None


def write(path: Path, to: str) -> None:
    """Copy the image to a file that is new or the same; raises Conflict for another one."""
    refuse_other(path, to)
    if files.read_file(to) is None:
        files.write_new(to, path.read_bytes(), FILE_MODE)


def refuse_other(path: Path | None, to: str) -> None:
    """Raise Conflict where `to` is there and is not the image at `path` (None: not built yet)."""
    there = files.read_file(to)
    if there is not None and (path is None or there != path.read_bytes()):
        raise Conflict("E-EXISTS", f"{to} exists already and is another file", hint="--to OTHER")
