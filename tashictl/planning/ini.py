"""The files of Python's ConfigParser as Tashi read them, with lines and all mistakes at once.

Tashi ran on Python 2: a comment begins with ``#`` or ``;`` (or ``rem``) at the start of a line, or
with a ``;`` behind white space; a line that begins with white space continues the value before it;
``""`` is an empty value. Interpolation is off. Option names count whatever their case.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

_OPTION = re.compile(r"([^:=]+?)\s*[:=]\s*(.*)", re.DOTALL)
_INLINE_COMMENT = re.compile(r"(?:^|\s);.*", re.DOTALL)
_HEADER_REST = re.compile(r"\s*(?:[;#].*)?", re.DOTALL)


class Entry(Struct, frozen=True, kw_only=True):
    """An option as it was written; `line` counts from 1, a newline joins the lines of a value."""

    section: str
    option: str
    value: str
    line: int


class Mistake(Struct, frozen=True, kw_only=True):
    """A line that cannot be understood, and what to write instead."""

    line: int
    what: str
    hint: str = ""


class _Reader:
    """Reads line by line; `section` is None before the first header and after a bad one."""

    def __init__(self, is_option: Callable[[str, str], bool]) -> None:
        self.entries: list[Entry] = []
        self.mistakes: list[Mistake] = []
        self._is_option = is_option
        self._section: str | None = None
        self._lost = False  # a bad header was reported; its options are passed over
        self._open = False  # the last entry may be continued
        self._lines: dict[tuple[str, str], int] = {}

    def take(self, number: int, line: str) -> None:
        """Take one line, without its end."""
        text = line.strip()
        if not text or text[0] in "#;" or text[:4].lower() in ("rem", "rem ", "rem\t"):
            return
        if line[0].isspace():
            self._continue(number, text)
        elif text[0] == "[":
            self._header(number, text)
        else:
            self._option(number, text)

    def _header(self, number: int, text: str) -> None:
        name, bracket, rest = text[1:].partition("]")
        self._open = False
        self._lost = not bracket or not name.strip() or not _HEADER_REST.fullmatch(rest)
        if self._lost:
            self._section = None
            self._fault(number, f"{_short(text)} is no section header", "write [Section]")
        else:
            self._section = name.strip()

    def _continue(self, number: int, text: str) -> None:
        if self._lost:
            return
        match = _OPTION.match(text)
        if self._section is not None and match and self._is_option(self._section, match[1]):
            self._fault(
                number,
                f"{match[1]} is indented, so it continues the line above",
                "begin it at the start of the line",
            )
        elif not self._open:
            self._fault(number, f"{_short(text)} is indented, but continues no option")
        else:
            last = self.entries[-1]
            self.entries[-1] = Entry(
                section=last.section,
                option=last.option,
                value=f"{last.value}\n{_uncommented(text)}".strip(),
                line=last.line,
            )

    def _option(self, number: int, text: str) -> None:
        self._open = False
        if self._lost:
            return
        match = _OPTION.fullmatch(text)
        if self._section is None:
            self._fault(number, f"{_short(text)} stands before any [Section]")
        elif match is None:
            self._fault(number, f"{_short(text)} is no option", "write name = value")
        else:
            self._keep(number, self._section, match[1], _uncommented(match[2]))

    def _keep(self, number: int, section: str, option: str, value: str) -> None:
        first = self._lines.setdefault((section, option.lower()), number)
        self._open = True
        if first != number:
            self._fault(number, f"{option} in [{section}] is there twice, first in line {first}")
        self.entries.append(
            Entry(section=section, option=option, value="" if value == '""' else value, line=number)
        )

    def _fault(self, number: int, what: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(line=number, what=what, hint=hint))


def read(
    text: str, is_option: Callable[[str, str], bool]
) -> tuple[tuple[Entry, ...], tuple[Mistake, ...]]:
    """Read one file's text; never raises. `is_option` (section, name) tells a known option.

    It is asked of indented lines: one that looks like a known option is a mistake, not a value.
    """
    reader = _Reader(is_option)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        reader.take(number, line.rstrip())
    return tuple(reader.entries), tuple(reader.mistakes)


def _uncommented(text: str) -> str:
    return _INLINE_COMMENT.sub("", text).strip()


def _short(text: str) -> str:
    # The first word only: the rest may be a secret that lost its "=".
    return repr(text.split()[0][:24])
