"""`tashictl image`: disk images on the hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from tashictl.cli import commands, desk, listings, output
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, PartialResult, TashiError, raise_all
from tashictl.model import names

if TYPE_CHECKING:
    from tashictl.cli.desk import Desk
    from tashictl.ops.context import Context
    from tashictl.ops.image import Imported

command = commands.Noun("image", help="Disk images on the hosts.")
_CHUNK = 1 << 20


@command.reads("list")
@click.pass_obj
def list_(face: Globals) -> None:
    """List the images; reads the state database only."""
    at = desk.sit_down(face)
    output.emit_list(face, at.state().images.values(), listings.image_table())


@command.changes("import")
@click.argument("path", metavar="FILE")
@click.option("--name", default=None, metavar="NAME", help="Its name, if not the file's.")
@click.option("--sha256", default=None, metavar="HEX", help="Refuse a file with another one.")
@click.option("--host", "hosts", multiple=True, metavar="H", help="Only to these hosts.")
@click.pass_obj
def import_(
    face: Globals, path: str, name: str | None, sha256: str | None, hosts: tuple[str, ...]
) -> int:
    """Bring an image file onto every host, or onto the shared prefix."""
    from tashictl.cli import wiring

    name = name or Path(path).name
    raise_all(_name_problems(name))
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    return _brought(at, context, path, name, sha256, hosts)


@command.changes("build-demo")
@click.option("--name", default=None, metavar="NAME", help="Its name, if not demo.qcow2.")
@click.option("--host", "hosts", multiple=True, metavar="H", help="Only to these hosts.")
@click.option("--to", default=None, metavar="FILE", help="Only into a file; needs no cluster.")
@click.pass_obj
def build_demo(face: Globals, name: str | None, hosts: tuple[str, ...], to: str | None) -> int:
    """Build the tiny demo guest on this machine and bring it onto the hosts, as import does.

    It boots in seconds with 128 MiB, is reached by SSH and reads a NoCloud seed. Root is not
    needed. What was built is kept in $XDG_CACHE_HOME/tashictl, or ~/.cache/tashictl.
    """
    from tashictl.adapters.demo import build
    from tashictl.cli import demo, wiring

    asked = demo.Asked(name=name, hosts=hosts, to=to)
    if to is not None:
        demo.check(asked)
        return _demo_file(face, to)
    name = name or build.NAME
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    problems = _name_problems(name) + _host_problems(context, at, hosts)
    demo.check(asked, problems)
    if face.dry_run:
        path = demo.foretold(face)
        if path is None:
            chosen = _chosen(context, at.state().hosts, hosts)
            output.say(face, f"would import it as {name} to {', '.join(chosen) or 'no host'}")
            output.say(face, "nothing was changed")
            return 0
    else:
        path = demo.built(face)
    return _brought(at, context, str(path), name, None, hosts)


def _demo_file(face: Globals, to: str) -> int:
    from tashictl.cli import demo

    if face.dry_run:
        demo.refuse_other(demo.foretold(face), to)
        output.say(face, f"would write {to}")
        output.say(face, "nothing was changed")
        return 0
    path = demo.built(face)
    demo.write(path, to)
    with _opened(to) as source:
        image = _described(source, Path(to).name, None).image
    line = f"{to} is the demo image, {image.size_bytes} bytes"
    output.emit_object(face, image, listings.image_table(), [line])
    return 0


def _brought(
    at: Desk, context: Context, path: str, name: str, sha256: str | None, hosts: tuple[str, ...]
) -> int:
    from tashictl.cli import wiring
    from tashictl.ops import image as ops

    face = at.face
    chosen = _chosen(context, at.state().hosts, hosts)
    with _opened(path) as source:
        content = _described(source, name, sha256)
        if face.dry_run:
            ops.known_as(at.state(), content.image)
            what = f"{name}, {content.image.size_bytes} bytes, {content.image.format}"
            output.say(face, f"would import {what} to {', '.join(chosen)}")
            output.say(face, "nothing was changed")
            return 0
        with wiring.world_of(at) as world:
            done = ops.put(world, context, content, chosen)
    return _told(face, done)


def _told(face: Globals, done: Imported) -> int:
    image = done.image
    line = f"{image.name} is on {', '.join(image.hosts) or 'no host'}"
    output.emit_object(face, image, listings.image_table(), [line])
    if not done.failed:
        return 0
    if not image.hosts:
        raise done.failed[0][1]
    raise PartialResult(
        "E-PARTIAL",
        f"{image.name} did not reach " + ", ".join(host for host, _ in done.failed),
        cause="; ".join(str(error) for _, error in done.failed),
        hint="repeat the import: what is there already is not sent again",
    )


def _name_problems(name: str) -> list[TashiError]:
    if names.is_image_name(name):
        return []
    return [InvalidRequest("E-IMAGE", f"{name!r} is no image name", hint="--name NAME")]


def _host_problems(context: Context, at: Desk, asked: tuple[str, ...]) -> list[TashiError]:
    known = _known(context, at.state().hosts)
    return [
        InvalidRequest("E-HOST", f"no host {host!r}", hint="tashictl host list")
        for host in asked
        if host not in known
    ]


def _known(context: Context, added: Iterable[str]) -> list[str]:
    return [h.name for h in context.inventory.hosts if h.name in added]


def _chosen(context: Context, added: Iterable[str], asked: tuple[str, ...]) -> list[str]:
    known = _known(context, added)
    for host in asked:
        if host not in known:
            raise InvalidRequest("E-HOST", f"no host {host!r}", hint="tashictl host list")
    return list(asked) or known


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InvalidRequest("E-FILE", f"{path} cannot be read", cause=str(error)) from error


def _described(source: BinaryIO, name: str, sha256: str | None):  # type: ignore[no-untyped-def]
    from tashictl.ops.image import Content
    from tashictl.planning import images

    digest, size_bytes = hashlib.sha256(), 0
    head = b""
    while chunk := source.read(_CHUNK):
        head = head or chunk[: images.HEADER_BYTES]
        digest.update(chunk)
        size_bytes += len(chunk)
    found = digest.hexdigest()
    if sha256 is not None and sha256.lower() != found:
        raise InvalidRequest(
            "E-SHA256", f"{name} has another sha256", cause=f"{found}, not {sha256}"
        )
    return Content(source=source, image=images.describe(name, head, size_bytes, found))
