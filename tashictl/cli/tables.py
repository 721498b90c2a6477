"""Tables: columns declared once per noun, chosen with -c, laid out for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, TypeVar

from msgspec import Struct

from tashictl.cli import errors_text, filters, text
from tashictl.errors import raise_all

Row = TypeVar("Row")
_GAP = "  "
_NOTE_GAP = "    "
_LEAST_NOTE = 8


class Shown(Enum):
    """When a column stands in a table."""

    ALWAYS = "always"
    WIDE = "wide"
    CHOSEN = "chosen"


class Column(Struct, Generic[Row], frozen=True, kw_only=True):
    """A column: `show` gives a row's text, None for unknown, "" for nothing.

    `path` is where the same value stands in the record (default: the key); `colour` says green,
    yellow, red or dim for a row, and only what the text says already.
    """

    key: str
    header: str
    show: Callable[[Row], str | None]
    path: str = ""
    right: bool = False
    shown: Shown = Shown.ALWAYS
    colour: Callable[[Row], str] | None = None

    @property
    def where(self) -> str:
        """The dotted path of the value in the record."""
        return self.path or self.key


class Table(Struct, Generic[Row], frozen=True, kw_only=True):
    """How the rows of one noun are shown: `record` for programs, `columns` for people.

    `things` is the plural (``VMs``); `keys` are the dotted keys of a record, ``x.*`` for a free
    mapping; `order` sorts; `note` is what trails a row.
    """

    things: str
    columns: tuple[Column[Row], ...]
    keys: tuple[str, ...]
    record: Callable[[Row], dict[str, object]]
    name: Callable[[Row], str]
    order: Callable[[Row], int | str]
    note: Callable[[Row], str] | None = None

    @property
    def top_keys(self) -> tuple[str, ...]:
        """The record's own keys, without what is nested."""
        return tuple(dict.fromkeys(key.partition(".")[0] for key in self.keys))


class Style(Struct, frozen=True, kw_only=True):
    """How a table is laid out; `limit` is the terminal's width, None where nothing is cut."""

    paint: text.Paint = text.plain
    limit: int | None = None
    headers: bool = True


def choose(table: Table[Row], spec: str | None, default: Sequence[Shown]) -> list[Column[Row]]:
    """The columns for ``-c``: names replace the default ones, ``+name`` adds.

    Any key of the record may be named. Raises InvalidRequest E-COLUMN for every unknown one.
    """
    usual = [c for c in table.columns if c.shown in default]
    words = [w.strip().lower().replace("-", "_") for w in (spec or "").split(",") if w.strip()]
    known = {c.key: c for c in table.columns}
    for word in dict.fromkeys(w.removeprefix("+") for w in words):
        if word not in known and filters.is_known(word, table.keys):
            known[word] = _from_record(table, word)
    names = list(dict.fromkeys([*known, *table.keys]))
    wrong = [w.removeprefix("+") for w in words if w.removeprefix("+") not in known]
    raise_all(errors_text.unknown_keys("E-COLUMN", "column", wrong, names))
    base = [known[w] for w in words if not w.startswith("+")] or usual
    return [*base, *(known[w[1:]] for w in words if w.startswith("+") and known[w[1:]] not in base)]


def _from_record(table: Table[Row], key: str) -> Column[Row]:
    path = key.split(".")

    def show(row: Row) -> str | None:
        found = [str(v) for v in filters.leaves(table.record(row), path) if v is not None]
        return " ".join(found) if found else None

    return Column(key=key, header=key.upper(), show=show)


def describe(table: Table[Row]) -> str:
    """What ``-c help`` prints: the columns and where they are shown, then the other keys."""
    width = max(len(c.key) for c in table.columns)
    where = {Shown.ALWAYS: "", Shown.WIDE: "-o wide", Shown.CHOSEN: "-c"}
    lines = [f"{c.key:{width}}  {c.header:14}  {where[c.shown]}".rstrip() for c in table.columns]
    others = [k for k in table.keys if k not in {c.key for c in table.columns}]
    return "\n".join([*lines, f"also: {', '.join(others)}", ""])


def render(
    table: Table[Row], columns: Sequence[Column[Row]], rows: Sequence[Row], style: Style
) -> str:
    """Lay `rows` out with one blank before, two between columns; nothing wraps.

    With a limit, what stands beyond it is cut with ``…``.
    """
    notes = [text.visible(table.note(row)) for row in rows] if table.note else []
    blocks: list[list[str]] = []
    used = 0
    for column in columns:
        start = used + (len(_GAP) if blocks else 1)
        room = None if style.limit is None else style.limit - start
        if room is not None and room < 1:
            break
        block, width = _block(column, rows, style, room)
        blocks.append(block)
        used = start + width
    lines = [" " + _GAP.join(cells) for cells in zip(*blocks, strict=True)]
    if any(notes):
        _append_notes(lines, notes, style, used)
    return "".join(line.rstrip() + "\n" for line in lines)


def _block(
    column: Column[Row], rows: Sequence[Row], style: Style, room: int | None
) -> tuple[list[str], int]:
    """The cells of one column, all equally wide, painted; the header first."""
    show = column.show
    found = [show(row) for row in rows]
    cells = [
        text.UNKNOWN if t is None else t if t.isprintable() else text.visible(t) for t in found
    ]
    heads = [column.header] if style.headers else []
    every = heads + cells
    width = _widest(every)
    if room is not None and width > room:
        width = room
        every = [text.clip(cell, room) for cell in every]
    if style.paint is text.plain:
        return _pad(every, width, column.right), width
    colours = [""] * len(heads) + [
        "dim" if value is None else column.colour(row) if column.colour else ""
        for value, row in zip(found, rows, strict=True)
    ]
    painted = [
        cell.replace(bare, style.paint(colour, bare)) if colour and (bare := cell.strip()) else cell
        for cell, colour in zip(_pad(every, width, column.right), colours, strict=True)
    ]
    return painted, width


def _widest(cells: Sequence[str]) -> int:
    measure = len if _is_simple(cells) else text.cells_of
    return max(map(measure, cells), default=0)


def _pad(cells: Sequence[str], width: int, right: bool) -> list[str]:
    if _is_simple(cells):
        return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]
    return [
        (" " * missing + cell if right else cell + " " * missing)
        if (missing := width - text.cells_of(cell)) > 0
        else cell
        for cell in cells
    ]


def _is_simple(cells: Sequence[str]) -> bool:
    """Whether every character takes one terminal cell, seen without a look at each."""
    return "".join(cells).replace(text.UNKNOWN, "").isascii()


def _append_notes(lines: list[str], notes: Sequence[str], style: Style, used: int) -> None:
    first = len(lines) - len(notes)
    for number, note in enumerate(notes, first):
        shown = f"· {note}"
        if style.limit is not None:
            room = style.limit - used - len(_NOTE_GAP)
            shown = text.clip(shown, room) if room >= _LEAST_NOTE else ""
        if note and shown:
            lines[number] += _NOTE_GAP + style.paint("dim", shown)
