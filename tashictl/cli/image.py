"""`tashictl image`: disk images on the hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from msgspec.structs import replace

from tashictl.cli import commands, desk, listings, meter, output, progress
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, PartialResult, raise_all
from tashictl.model import names

if TYPE_CHECKING:
    from tashictl.ops.context import Context
    from tashictl.ops.image import Content, Imported

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
@click.option("--sha512", default=None, metavar="HEX", help="The same, as in SHA512SUMS.")
@click.option("--checksum", default=None, metavar="ALGO:HEX", help="The same: sha512:HEX.")
@click.option("--host", "hosts", multiple=True, metavar="H", help="Only to these hosts.")
@click.pass_obj
def import_(
    face: Globals,
    path: str,
    name: str | None,
    sha256: str | None,
    sha512: str | None,
    checksum: str | None,
    hosts: tuple[str, ...],
) -> int:
    """Bring an image file onto every host, or onto the shared prefix."""
    from tashictl.cli import wiring
    from tashictl.ops import image as ops
    from tashictl.planning import image_kinds

    name = name or Path(path).name
    if not names.is_image_name(name):
        raise InvalidRequest("E-IMAGE", f"{name!r} is no image name", hint="--name NAME")
    wanted = image_kinds.checksums(sha256, sha512, checksum)
    output.check_choice(face, listings.image_table())
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    chosen = _chosen(context, at.state().hosts, hosts)
    with _opened(path) as source:
        content = _described(face, path, source, name, wanted)
        if face.dry_run:
            ops.known_as(at.state(), content.image)
            what = f"{name}, {content.image.size_bytes} bytes, {content.image.format}"
            output.say(face, f"would import {what} to {', '.join(chosen)}")
            output.say(face, "nothing was changed")
            return 0
        with wiring.world_of(at) as world, meter.on_terminal(face, content.image) as show:
            done = ops.put(world, context, replace(content, source=show(source)), chosen)
    return _told(face, done)


def _told(face: Globals, done: Imported) -> int:
    image = done.image
    line = f"{image.name} is on {', '.join(image.hosts) or 'no host'}"
    if image.hosts or not face.for_people:
        output.emit_object(face, image, listings.image_table(), [line])
    if not done.failed:
        return 0
    if not image.hosts:
        raise_all([error for _, error in done.failed])
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
        if Path(path).is_dir():
            raise InvalidRequest("E-FILE", f"{path} is a folder, no image file")
        return Path(path).open("rb")
    except OSError as error:
        raise InvalidRequest("E-FILE", f"{path} cannot be read", cause=str(error)) from error


def _described(
    face: Globals, path: str, source: BinaryIO, name: str, wanted: Mapping[str, str]
) -> Content:
    from tashictl.ops.image import Content
    from tashictl.planning import image_kinds, images

    head = source.read(image_kinds.LOOK_BYTES)
    image_kinds.refuse_unfit(path, head)
    digests = {name: hashlib.new(name) for name in ("sha256", *wanted)}
    size_bytes, chunk = 0, head
    while chunk:
        for digest in digests.values():
            digest.update(chunk)
        size_bytes += len(chunk)
        chunk = source.read(_CHUNK)
    problems = [
        InvalidRequest(
            f"E-{algorithm.upper()}",
            f"{path} has another {algorithm}",
            cause=f"it has {digests[algorithm].hexdigest()}\nnot      {digits}",
            hint="fetch it again: it is another version, or damaged",
        )
        for algorithm, digits in wanted.items()
        if digests[algorithm].hexdigest() != digits
    ]
    raise_all(problems)
    image = images.describe(name, head, size_bytes, digests["sha256"].hexdigest())
    if image_kinds.is_iso(head):
        progress.Progress(face).note(f"{name} is a CD: as a disk it boots only if it is a hybrid")
    return Content(source=source, image=image)
