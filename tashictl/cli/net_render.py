"""`tashictl net render`: the files of hosts, printed or written into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tashictl.cli import desk, named, options, output, text
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import Conflict, Problems, TashiError, raise_all
from tashictl.model.host import HostConfig
from tashictl.model.net import HostFile
from tashictl.model.network import Network


class Rendered(Struct, frozen=True, kw_only=True):
    """A host with its files."""

    host: str
    style: str
    files: tuple[HostFile, ...]
    unsaid: tuple[str, ...] = ()  # networks in the place of the uplink, without host_address


def run(face: Globals, names: Sequence[str], style: str | None, to: str | None) -> None:
    """Print the files of these hosts, or write them below `to`."""
    from tashictl.cli import wiring

    output.refuse_choice(face, "net render")
    at = desk.sit_down(face)
    inventory = wiring.inventory_of(at)
    chosen = named.hosts(inventory, names)
    rendered = every(at, chosen, inventory.networks, style)
    _say_unaddressed(face, rendered)
    if to is None:
        lines = "".join(_painted(face, rendered))
        if face.for_people:
            output.write(face, lines)
        else:
            _emit(face, rendered)
        return
    if face.dry_run:
        for place, _, _ in _placed(rendered, to):
            output.say(face, f"would write {place}")
        output.say(face, "nothing was changed")
        return
    _write(rendered, to)
    if face.for_people:
        count = sum(len(r.files) for r in rendered)
        output.say(face, f"wrote {count} files of {len(rendered)} hosts below {to}")
    else:
        _emit(face, rendered)


def every(
    at: Desk, hosts: Sequence[HostConfig], networks: Sequence[Network], style: str | None
) -> list[Rendered]:
    """The files of fresh hosts; raises the problems of all hosts together."""
    from tashictl.cli import wiring
    from tashictl.planning.net import files, layout

    templates = wiring.net_templates(at)
    rendered: list[Rendered] = []
    problems: list[TashiError] = []
    for host in hosts:
        try:
            wanted = layout.layout(host, networks, style)
            made = files.files(wanted, templates(host.name), None)
            unsaid = tuple(
                s.network.name for s in wanted.strands if s.port == wanted.uplink and not s.address
            )
            rendered.append(Rendered(host=host.name, style=wanted.style, files=made, unsaid=unsaid))
        except Problems as several:
            problems += several.problems
        except TashiError as error:
            problems.append(error)
    raise_all(_once(problems))
    return rendered


def _say_unaddressed(face: Globals, rendered: Sequence[Rendered]) -> None:
    """A fresh host has no address where its uplink goes into a bridge and none is asked for."""
    from tashictl.cli.progress import Progress

    hosts = [r.host for r in rendered if r.unsaid]
    networks = dict.fromkeys(n for r in rendered for n in r.unsaid)
    if hosts:
        Progress(face).note(
            f"{text.few(hosts)}: no address on {', '.join(networks)}, which take the uplink: "
            "without host_address a host keeps what it has there, and a fresh one has nothing"
        )


def _once(problems: Sequence[TashiError]) -> Iterator[TashiError]:
    """Each problem once: one that is of no host may come up with every host."""
    seen = set()
    for problem in problems:
        key = (problem.code, problem.what, problem.cause)
        if key not in seen:
            seen.add(key)
            yield problem


def _emit(face: Globals, rendered: Sequence[Rendered]) -> None:
    records: list[dict[str, object]] = [
        {"host": r.host, "path": f.path, "mode": f"{f.mode:04o}", "text": f.text}
        for r in rendered
        for f in r.files
    ]
    if face.output is options.Output.NAME:
        output.write(face, "".join(f"{r['host']}:{r['path']}\n" for r in records))
    else:
        output.emit_records(face, records, ())


def _painted(face: Globals, rendered: Sequence[Rendered]) -> Iterator[str]:
    """What a person reads: each file below its path, comments dim."""
    streams = face.streams
    paint = options.paint_for(streams.stdout, face.color, streams.env)
    blank = ""
    for one in rendered:
        for file in one.files:
            yield blank
            yield paint("yellow", f"== {one.host}:{file.path}")
            yield paint("dim", f"  {file.mode:04o} {one.style}") + "\n"
            for line in text.visible_lines(file.text or ""):
                yield _line(paint, line) + "\n"
            blank = "\n"


def _line(paint: text.Paint, line: str) -> str:
    words = line.split()
    if line.lstrip().startswith("#"):
        return paint("dim", line)
    if words and (words[0] in ("auto", "iface") or line.startswith("[")):
        return paint("green", line)
    return line


def _placed(rendered: Sequence[Rendered], to: str) -> Iterator[tuple[str, bytes, int]]:
    for one in rendered:
        for file in one.files:
            yield f"{to}/{one.host}{file.path}", (file.text or "").encode(), file.mode


def _write(rendered: Sequence[Rendered], to: str) -> None:
    """Write all files, each at once; nothing at all where one would replace another's file."""
    from tashictl.adapters import files as disk
    from tashictl.planning.net.files import is_ours

    placed = list(_placed(rendered, to))
    problems = []
    for place, data, _ in placed:
        there = disk.read_file(place)
        if there is not None and there != data and not is_ours(there.decode(errors="replace")):
            problems.append(
                Conflict(
                    "E-EXISTS",
                    f"{place} is there already and is not ours",
                    cause="it lacks our mark",
                    hint="move it away, or give another folder",
                )
            )
    raise_all(problems)
    for place, data, mode in placed:
        with disk.translated(place, "be written"):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        disk.write_lasting(place, data, mode)
        with disk.translated(place, "be given its mode"):
            Path(place).chmod(mode)
    wanted = {place for place, _, _ in placed}
    for one in rendered:
        for path in _leftovers(f"{to}/{one.host}", wanted):
            disk.remove(path)


def _leftovers(folder: str, wanted: set[str]) -> Iterator[str]:
    """What an earlier run wrote for a host, in another style perhaps, and this one did not."""
    from tashictl.adapters import files as disk
    from tashictl.planning.net.files import is_ours

    for path in sorted(Path(folder).rglob("*")):
        place = f"{folder}/{path.relative_to(folder)}"
        if place in wanted or path.is_symlink() or not path.is_file():
            continue
        if is_ours((disk.read_file(place) or b"").decode(errors="replace")):
            yield place
