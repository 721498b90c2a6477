"""Text for people: control characters made visible, widths measured, colours, clock times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

UNKNOWN = "–"
ELLIPSIS = "…"
Paint = Callable[[str, str], str]

_SGR = {"green": "32", "yellow": "33", "red": "31", "dim": "2"}


def plain(colour: str, text: str) -> str:
    """Leave `text` as it is, whatever the colour."""
    del colour
    return text


def ansi(colour: str, text: str) -> str:
    """Wrap `text` in the escape of a colour: green, yellow, red, dim, or "" for none."""
    return f"\x1b[{_SGR[colour]}m{text}\x1b[0m" if colour and text else text


def visible(text: str) -> str:
    """Write every character that a terminal would act upon or hide as an escape like ``\\x1b``.

    Control, format (bidirectional overrides among them) and surrogate characters are all meant:
    whatever `str.isprintable` denies.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def visible_json(dumped: str) -> str:
    """Escape in JSON text what a terminal acts upon: it stands only inside strings (or is a LF)."""
    if dumped.isascii() and "\x7f" not in dumped:
        return dumped
    return "".join(c if c == "\n" or c.isprintable() else _json_escape(c) for c in dumped)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    pairs = (units[i : i + 2].hex() for i in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs)


def visible_lines(text: str) -> list[str]:
    """Split `text` into lines and make each visible; a tab becomes four spaces."""
    return [visible(line.replace("\t", "    ")) for line in text.splitlines()]


def broken(text: str, width: int | None, indent: int) -> str:
    """Break long lines between words so that they fit behind `indent` columns; None breaks none."""
    if width is None or all(len(line) <= width - indent for line in text.splitlines()):
        return text
    import textwrap

    room = max(width - indent, 20)
    lines = (
        textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    )
    return "\n".join(part for parts in lines for part in parts)


def few(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def cells_of(text: str) -> int:
    """The number of terminal cells that visible text takes; wide characters (UAX 11) take two."""
    if text.isascii() or text == UNKNOWN:
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def clip(text: str, limit: int) -> str:
    """Cut visible text to `limit` cells, the last one ``…``."""
    if cells_of(text) <= limit:
        return text
    used, kept = 1, []
    for char in text:
        used += cells_of(char)
        if used > limit:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS if limit > 0 else ""


def show_time(at: str | None, now: datetime) -> str | None:
    """Write an ISO-8601 time in the zone of `now`: ``14:02`` today, else with its date."""
    when = read_time(at)
    if when is None:
        return None
    local = when.astimezone(now.tzinfo)
    return f"{local:%H:%M}" if local.date() == now.date() else f"{local:%Y-%m-%d %H:%M}"


def read_time(at: str | None) -> datetime | None:
    """Read an ISO-8601 time; None for none or for text that is no time with a zone."""
    if at is None:
        return None
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def is_older(at: str | None, now: datetime, limit_s: float) -> bool:
    """Whether `at` lies more than `limit_s` before `now`; a missing time is older than all."""
    when = read_time(at)
    return when is None or now - when > timedelta(seconds=limit_s)
