"""What --dry-run prints: per host the steps, the scripts and the file diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from tashictl.cli import options, output, text
from tashictl.cli.options import Globals, Output

_UNCHANGED = "nothing was changed"
_DIFF_COLOURS = {"+": "green", "-": "red", "@": "dim"}


class Planned(Struct, frozen=True, kw_only=True):
    """One step of a plan: its place, kind, where, one line for people, the exact script, a diff.

    Steps that travel as one script may each carry that script; text shows it once.
    """

    number: int
    name: str
    host: str
    summary: str = ""
    script: str = ""
    diff: str | None = None


def emit_plan(face: Globals, title: str, steps: Iterable[Planned]) -> None:
    """Print a plan on stdout: `title` is the line ``would …``; --debug adds the scripts."""
    every = list(steps)
    if face.output is Output.NAME:
        return
    if not face.for_people:
        records = as_records(every)
        if face.output is Output.CSV:
            output.emit_records(face, records, ())
        else:
            output.emit_record(face, {"steps": records}, ())
        return
    paint = options.paint_for(face.streams.stdout, face.color, face.streams.env)
    lines = [text.visible(title), *by_host(every, face, paint)]
    tail = "" if face.debug else "    " + paint("dim", "(--dry-run --debug prints the scripts)")
    output.write(face, "\n".join([*lines, _UNCHANGED + tail, ""]))


def as_records(steps: Iterable[Planned]) -> list[dict[str, object]]:
    """The steps of the contract."""
    return [{"host": s.host, "name": s.name, "script": s.script, "diff": s.diff} for s in steps]


def by_host(steps: Sequence[Planned], face: Globals, paint: text.Paint) -> Iterator[str]:
    """The lines of a plan, under a heading for each host; --debug adds the scripts."""
    numbers = max((len(str(s.number)) for s in steps), default=1)
    names = max((len(s.name) for s in steps), default=1)
    for host, members in groupby(steps, key=lambda s: s.host):
        yield f"{text.visible(host)}:"
        group = list(members)
        for place, step in enumerate(group):
            head = f"  {step.number:>{numbers}} {text.visible(step.name):{names}}"
            yield f"{head}  {text.visible(step.summary)}".rstrip()
            yield from _diff(step.diff or "", paint)
            following = group[place + 1].script if place + 1 < len(group) else None
            if face.debug and step.script and step.script != following:
                yield from (f"      {line}".rstrip() for line in text.visible_lines(step.script))


def _diff(diff: str, paint: text.Paint) -> Iterator[str]:
    for line in text.visible_lines(diff):
        yield "      " + paint(_DIFF_COLOURS.get(line[:1], ""), line)
