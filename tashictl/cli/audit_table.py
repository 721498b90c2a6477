"""What `audit` shows: both sides of each disagreement and what mends it; rows for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tashictl.cli import output, text
from tashictl.cli.options import Globals
from tashictl.cli.tables import Column, Shown, Table
from tashictl.model.audit import Disagreement
from tashictl.planning.audit import repairs
from tashictl.planning.audit.reserve import Reservations

KEYS = (
    *("kind", "subject", "source", "database", "found", "repair"),
    *("mends", "removes", "mended", "error"),
)
_USUAL_WIDTH = 100
_WIDEST = 34  # of a subject; a longer one pushes its line


class Row(Struct, frozen=True, kw_only=True):
    """A disagreement; `mended` just now, or `error` says why not."""

    place: int
    found: Disagreement
    mended: bool = False
    error: str = ""


class Reserved(Struct, frozen=True, kw_only=True):
    """An address of `--import`; `change` is ``reserve``, ``keep`` or ``release``."""

    place: int
    network: str
    ip: str
    why: str
    change: str


def table() -> Table[Row]:
    """The rows as a table."""
    return Table(
        things="disagreements",
        keys=KEYS,
        record=_record,
        name=lambda row: f"{row.found.kind}/{row.found.subject}",
        order=lambda row: row.place,
        note=lambda row: _next(row),
        columns=(
            Column(key="kind", header="KIND", show=lambda r: r.found.kind, colour=_colour),
            Column(key="subject", header="SUBJECT", show=lambda r: r.found.subject),
            Column(key="source", header="SOURCE", show=lambda r: r.found.source),
            Column(key="database", header="DATABASE", show=lambda r: r.found.database),
            Column(key="found", header="FOUND", show=lambda r: r.found.found),
            Column(
                key="repair",
                header="REPAIR",
                shown=Shown.CHOSEN,
                show=lambda r: r.found.repair,
            ),
        ),
    )


def reserved_table() -> Table[Reserved]:
    """What `--import` reserves and releases."""
    keys = ("network", "ip", "why", "change")
    return Table(
        things="addresses to reserve or to release",
        keys=keys,
        record=lambda row: {key: getattr(row, key) for key in keys},
        name=lambda row: row.ip,
        order=lambda row: row.place,
        columns=(
            Column(
                key="change",
                header="CHANGE",
                show=lambda r: r.change,
                colour=lambda r: {"reserve": "green", "release": "yellow"}.get(r.change, "dim"),
            ),
            Column(key="network", header="NETWORK", show=lambda r: r.network),
            Column(key="ip", header="ADDRESS", show=lambda r: r.ip),
            Column(key="why", header="WHY", show=lambda r: r.why),
        ),
    )


def reserved_rows(found: Reservations, networks: dict[int, str]) -> list[Reserved]:
    """Its rows: what is new, what goes, what stays."""
    every = [
        *((kept, "reserve") for kept in found.new),
        *((kept, "release") for kept in found.released),
        *((kept, "keep") for kept in found.kept),
    ]
    return [
        Reserved(
            place=place,
            network=networks.get(kept.network, str(kept.network)),
            ip=kept.ip,
            why=kept.why,
            change=change,
        )
        for place, (kept, change) in enumerate(every)
    ]


def _record(row: Row) -> dict[str, object]:
    found = row.found
    return {
        "kind": found.kind,
        "subject": found.subject,
        "source": found.source,
        "database": found.database,
        "found": found.found,
        "repair": found.repair or None,
        "mends": found.can_be_mended,
        "removes": repairs.is_deletion(found),
        "mended": row.mended,
        "error": row.error or None,
    }


def emit(face: Globals, rows: Sequence[Row], closing: str) -> None:
    """Print the rows; for people each with both sides, what mends it below, and a closing line."""
    output.emit_told(face, rows, table(), _lines, closing)


def _lines(rows: Iterable[Row], width: int | None, paint: text.Paint) -> Iterator[str]:
    shown = list(rows)
    subjects = [text.visible(row.found.subject) for row in shown]
    kinds = max((len(row.found.kind) for row in shown), default=0)
    room = max((n for s in subjects if (n := text.cells_of(s)) <= _WIDEST), default=0)
    indent = 2 + kinds + 2 + room + 2
    for row, subject in zip(shown, subjects, strict=True):
        gap = " " * max(room - text.cells_of(subject), 0)
        head = f"{paint(_colour(row), _mark(row))} {row.found.kind:{kinds}}  {subject}{gap}  "
        first, *rest = _sides(row, width, indent)
        yield f"{head}{first}"
        yield from (" " * indent + piece for piece in rest)
        if (after := _next(row)) and not row.mended:
            yield " " * indent + paint("dim", f"→ {text.visible(after)}")


def _sides(row: Row, width: int | None, indent: int) -> list[str]:
    """Both sides, in one line where they fit; of what was mended only that."""
    found = row.found
    if row.mended:
        return [text.visible(f"mended: {found.repair}")]
    sides = [
        text.visible(side)
        for side in (f"database: {found.database}", f"{found.source}: {found.found}")
    ]
    together = "; ".join(sides)
    limit = width or _USUAL_WIDTH
    if indent + text.cells_of(together) <= limit:
        return [together]
    return [piece for side in sides for piece in text.broken(side, limit, indent).splitlines()]


def _mark(row: Row) -> str:
    return "✓" if row.mended else "✗"


def _next(row: Row) -> str:
    """What to do, or what was done."""
    if row.mended:
        return "mended"
    if row.error:
        return row.error
    if row.found.can_be_mended:
        return f"--repair: {row.found.repair}"
    return row.found.repair


def _colour(row: Row) -> str:
    if row.mended:
        return "green"
    return "yellow" if row.found.kind == "deferred" else "red"
