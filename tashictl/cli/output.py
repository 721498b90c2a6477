"""Data on stdout: lists, objects and single lines, in the form that -o asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from tashictl.cli import errors_text, filters, options, progress, tables, text
from tashictl.cli.options import Globals, Output
from tashictl.cli.tables import Column, Row, Shown, Style, Table
from tashictl.errors import InvalidRequest, TashiError, raise_all

_USUAL = (Shown.ALWAYS,)
_WIDE = (Shown.ALWAYS, Shown.WIDE)


def write(face: Globals, data: str) -> None:
    """Write `data` to stdout in one go; an OSError of stdout names it."""
    try:
        face.streams.stdout.write(data)
    except OSError as error:
        error.filename = error.filename or options.STDOUT
        raise


def say(face: Globals, line: str) -> None:
    """Say on stdout what is true now; programs (-o json …) read the data instead."""
    if face.for_people:
        write(face, text.visible(line) + "\n")


def emit_list(face: Globals, rows: Iterable[Row], table: Table[Row]) -> None:
    """Print rows, sorted and filtered; an empty table is a note on stderr.

    Raises InvalidRequest for a filter or a column that makes no sense.
    """
    if face.columns == "help":
        write(face, tables.describe(table))
        return
    check_choice(face, table)
    chosen = sorted(rows, key=table.order)
    if face.filter is not None:
        terms = filters.parse(face.filter)
        chosen = [row for row in chosen if filters.matches(terms, table.record(row))]
    if face.for_people:
        _emit_table(face, chosen, table)
    elif face.output is Output.NAME:
        write(face, "".join(f"{text.visible(table.name(row))}\n" for row in chosen))
    else:
        keys, records = _records(face, chosen, table)
        write(
            face, _csv(face, keys, records) if face.output is Output.CSV else _dump(face, records)
        )


def emit_told(
    face: Globals,
    rows: Sequence[Row],
    table: Table[Row],
    lines: Callable[[Sequence[Row], int | None, text.Paint], Iterable[str]],
    closing: str,
) -> None:
    """Print rows in words, by `lines` and a closing one; as any list to programs and with -c.

    `lines` gets the rows that fit the filter, the width of the terminal and its painter.
    """
    if face.output is not Output.TABLE or face.columns is not None:
        emit_list(face, rows, table)
        return
    if face.filter is not None:
        terms = filters.parse(face.filter)
        rows = [row for row in rows if filters.matches(terms, table.record(row))]
    streams = face.streams
    paint = options.paint_for(streams.stdout, face.color, streams.env)
    width = options.width_of(streams.stdout, streams.env)
    told = [*lines(rows, width, paint), text.visible(closing)]
    write(face, "".join(f"{line}\n" for line in told))


def only_columns(face: Globals, table: Table[Row]) -> bool:
    """Whether only ``-c help`` was wanted, which is then printed.

    For verbs that change something, before they do: raises InvalidRequest E-COLUMN for a column
    that does not exist.
    """
    if face.columns == "help":
        write(face, tables.describe(table))
        return True
    _columns(face, table)
    return False


def check_choice(face: Globals, table: Table[Row]) -> None:
    """Raise all that is wrong with -c and --filter, before anything is done or asked."""
    found: list[TashiError] = []
    for check in (_check_columns, _check_filter):
        try:
            check(face, table)
        except TashiError as error:
            found += errors_text.each(error)
    raise_all(found)


def _check_columns(face: Globals, table: Table[Row]) -> None:
    if face.columns not in (None, "help"):
        _columns(face, table)


def _check_filter(face: Globals, table: Table[Row]) -> None:
    if face.filter is not None:
        filters.check(filters.parse(face.filter), table.keys)


def emit_object(
    face: Globals, row: Row, table: Table[Row], lines: Iterable[str] | None = None
) -> None:
    """Print one row: the record for programs; for people `lines`, or a line per column.

    Raises InvalidRequest for a filter: there is nothing to choose from.
    """
    if face.filter is not None:
        raise _no_choice(f"one of the {table.things}", "--filter")
    if face.columns == "help":
        write(face, tables.describe(table))
    elif face.for_people:
        shown = list(lines) if lines is not None else _pairs(face, row, table)
        write(face, "".join(text.visible(line) + "\n" for line in shown))
    elif face.output is Output.NAME:
        write(face, text.visible(table.name(row)) + "\n")
    else:
        keys, records = _records(face, [row], table)
        write(
            face,
            _csv(face, keys, records) if face.output is Output.CSV else _dump(face, records[0]),
        )


def emit_record(
    face: Globals, record: dict[str, object], lines: Iterable[str], name: str = ""
) -> None:
    """Print something that is no row of a table: `record` for programs, `lines` for people."""
    if face.for_people:
        write(face, "".join(text.visible(line) + "\n" for line in lines))
    elif face.output is Output.NAME:
        write(face, text.visible(name) + "\n" if name else "")
    elif face.output is Output.CSV:
        write(face, _csv(face, list(record), [record]))
    else:
        write(face, _dump(face, record))


def refuse_choice(face: Globals, what: str) -> None:
    """Raise InvalidRequest where -c or --filter is given and `what` has nothing to choose from."""
    options_ = (("--columns", face.columns), ("--filter", face.filter))
    raise_all([_no_choice(what, option) for option, value in options_ if value is not None])


def _no_choice(what: str, option: str) -> InvalidRequest:
    return InvalidRequest(
        "E-USAGE",
        f"{what} takes no {option}",
        cause="it chooses from a list, and this is none",
        hint="-o json shows all of it",
    )


def emit_records(face: Globals, records: Sequence[dict[str, object]], lines: Iterable[str]) -> None:
    """Print a list that has no table, as `emit_record` does with one."""
    if face.for_people:
        write(face, "".join(text.visible(line) + "\n" for line in lines))
    elif face.output is Output.CSV:
        write(face, _csv(face, list(records[0]) if records else [], records))
    elif face.output is not Output.NAME:
        write(face, _dump(face, list(records)))


def _emit_table(face: Globals, rows: Sequence[Row], table: Table[Row]) -> None:
    columns = _columns(face, table)
    if not rows:
        kind = "none fits the filter" if face.filter else f"no {table.things}"
        progress.Progress(face).note(kind)
        return
    streams = face.streams
    style = Style(
        paint=options.paint_for(streams.stdout, face.color, streams.env),
        limit=options.width_of(streams.stdout, streams.env),
        headers=face.headers,
    )
    write(face, tables.render(table, columns, rows, style))


def _columns(face: Globals, table: Table[Row]) -> list[Column[Row]]:
    return tables.choose(table, face.columns, _WIDE if face.output is Output.WIDE else _USUAL)


def _pairs(face: Globals, row: Row, table: Table[Row]) -> list[str]:
    columns = tables.choose(table, face.columns, _WIDE)
    width = max(len(c.header) for c in columns)
    found = [(c.header.lower(), c.show(row)) for c in columns]
    lines = [f"{head:{width}}  {text.UNKNOWN if v is None else v}" for head, v in found if v != ""]
    note = table.note(row) if table.note else ""
    return [*lines, f"· {note}"] if note else lines


def _records(
    face: Globals, rows: Iterable[Row], table: Table[Row]
) -> tuple[list[str], list[dict[str, object]]]:
    """The records, whole, or with -c only what was chosen; and their keys in order."""
    if face.columns is None:
        return list(table.top_keys), [table.record(row) for row in rows]
    columns = _columns(face, table)
    records = [table.record(row) for row in rows]
    return [c.key for c in columns], [{c.key: _at(r, c.where) for c in columns} for r in records]


def _at(record: object, path: str) -> object:
    """The value at a dotted path: as it is, or through a list the list of what is found."""
    head, _, rest = path.partition(".")
    if not head:
        return record
    if isinstance(record, list | tuple):
        return [_at(member, path) for member in record]
    return _at(record.get(head), rest) if isinstance(record, dict) else None


def _dump(face: Globals, data: object) -> str:
    if face.output is Output.YAML:
        import yaml

        dumped = str(yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True))
        if dumped.replace("\n", "").isprintable():
            return dumped
        return str(yaml.safe_dump(_plain(data), sort_keys=False))
    return to_json(data)


def _plain(data: object) -> object:
    """`data` through JSON: YAML must not meet tuples or enums."""
    decoded: object = msgspec.json.decode(msgspec.json.encode(data))
    return decoded


def to_json(data: object) -> str:
    """Render indented JSON; characters that a terminal acts upon are escaped, the rest is UTF-8."""
    dumped = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
    return text.visible_json(dumped) + "\n"


def _csv(face: Globals, keys: Sequence[str], records: Iterable[dict[str, object]]) -> str:
    """RFC 4180 with LF; nested values are compact JSON, unknown ones are empty."""
    import csv
    import io

    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    if face.headers:
        writer.writerow(keys)
    writer.writerows([_field(record.get(key)) for key in keys] for record in records)
    return sink.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return text.visible(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return text.visible(msgspec.json.encode(value).decode())
