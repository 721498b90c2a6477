"""`tashictl image`: disk images on the hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from msgspec import Struct
from msgspec.structs import replace

from tashictl.cli import commands, desk, listings, meter, output, progress
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, PartialResult, TashiError, raise_all
from tashictl.model import names

if TYPE_CHECKING:
    from tashictl.cli.desk import Desk
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
    from tashictl.planning import image_kinds

    name = name or Path(path).name
    output.check_choice(face, listings.image_table())
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    problems = _name_problems(name) + _host_problems(context, at, hosts)
    wanted: dict[str, str] = {}
    try:
        wanted = image_kinds.checksums(sha256, sha512, checksum)
    except InvalidRequest as error:
        problems.append(error)
    try:
        _opened(path).close()
    except InvalidRequest as error:
        problems.append(error)
    raise_all(problems)
    return _brought(at, context, _File(path=path, name=name, wanted=wanted), hosts)


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
    return _brought(at, context, _File(path=str(path), name=name), hosts)


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
        image = _described(face, source, _File(path=to, name=Path(to).name)).image
    line = f"{to} is the demo image, {image.size_bytes} bytes"
    output.emit_object(face, image, listings.image_table(), [line])
    return 0


class _File(Struct, frozen=True, kw_only=True):
    """A file to be imported as `name`; `wanted` are the checksums that it must have."""

    path: str
    name: str
    wanted: Mapping[str, str] = {}


def _brought(at: Desk, context: Context, file: _File, hosts: tuple[str, ...]) -> int:
    from tashictl.cli import wiring
    from tashictl.ops import image as ops

    face = at.face
    chosen = _chosen(context, at.state().hosts, hosts)
    with _opened(file.path) as source:
        content = _described(face, source, file)
        if face.dry_run:
            ops.known_as(at.state(), content.image)
            what = f"{file.name}, {content.image.size_bytes} bytes, {content.image.format}"
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
        hint=_way_on(done),
    )


def _way_on(done: Imported) -> str:
    if any(error.code == "E-PLACEIMAGE" for _, error in done.failed):
        return "what lies there under that name may be used: --name OTHER, or remove it there"
    return "repeat the import: what is there already is not sent again"


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
        if Path(path).is_dir():
            raise InvalidRequest("E-FILE", f"{path} is a folder, no image file")
        return Path(path).open("rb")
    except OSError as error:
        raise InvalidRequest(
            "E-FILE", f"{path} cannot be read", cause=error.strerror or ""
        ) from error


def _described(face: Globals, source: BinaryIO, file: _File) -> Content:
    from tashictl.ops.image import Content
    from tashictl.planning import image_kinds, images

    head = source.read(image_kinds.LOOK_BYTES)
    image_kinds.refuse_unfit(file.path, head)
    digests = {name: hashlib.new(name) for name in ("sha256", *file.wanted)}
    size_bytes, chunk = 0, head
    while chunk:
        for digest in digests.values():
            digest.update(chunk)
        size_bytes += len(chunk)
        chunk = source.read(_CHUNK)
    problems = [
        InvalidRequest(
            f"E-{algorithm.upper()}",
            f"{file.path} has another {algorithm}",
            cause=f"it has {digests[algorithm].hexdigest()}\nnot      {digits}",
            hint="fetch it again: it is another version, or damaged",
        )
        for algorithm, digits in file.wanted.items()
        if digests[algorithm].hexdigest() != digits
    ]
    raise_all(problems)
    image = images.describe(file.name, head, size_bytes, digests["sha256"].hexdigest())
    if image_kinds.is_cut(image):
        progress.Progress(face).warn(
            f"{file.path}: as a raw disk {size_bytes} bytes are no whole number of 512-byte "
            "sectors: it may be cut short, or no disk at all"
        )
    if image_kinds.is_iso(head):
        note = "as a disk it boots only if it is a hybrid"
        progress.Progress(face).note(f"{file.name} is a CD: {note}")
    return Content(source=source, image=image)
