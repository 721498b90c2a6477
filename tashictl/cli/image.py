"""`tashictl image`: disk images on the hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from tashictl.cli import commands, desk, listings, output
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, PartialResult
from tashictl.model import names

if TYPE_CHECKING:
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
    from tashictl.ops import image as ops

    name = name or Path(path).name
    if not names.is_image_name(name):
        raise InvalidRequest("E-IMAGE", f"{name!r} is no image name", hint="--name NAME")
    at = desk.sit_down(face)
    context = wiring.context_of(at)
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


def _chosen(context: Context, added: Iterable[str], asked: tuple[str, ...]) -> list[str]:
    known = [h.name for h in context.inventory.hosts if h.name in added]
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
