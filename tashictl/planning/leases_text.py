"""The text of dhcpd's files as a tree of statements; whatever it is, it is read without complaint.

Both files have one grammar: words and strings up to ``;``, or up to ``{`` and a block. What of it
means something is looked for in `leases`.
"""

from __future__ import annotations

import re

from msgspec import Struct

# In this order: blanks and comments, a string (perhaps without its end), punctuation, a word.
_TOKEN = re.compile(
    r'[ \t\r\n\f\v]+|#[^\n]*|"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{};,=]|[^\s{};,="#]+|.', re.S
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.S)
_LETTERS = {"t": "\t", "r": "\r", "n": "\n", "b": "\b"}
_BYTE = 0xFF


class Word(Struct, frozen=True):
    """A word, a comma or equals sign, or a string without its quotes; and its line, from 1."""

    text: str
    quoted: bool = False
    line: int = 0


class Statement(Struct, frozen=True, kw_only=True):
    """Words up to ``;`` or ``{``; `body` is None where there is no block."""

    words: tuple[Word, ...]
    body: tuple[Statement, ...] | None = None

    @property
    def kind(self) -> str:
        """Its first word in lower case, "" where that is a string or there is none."""
        first = self.words[0] if self.words else None
        return first.text.lower() if first is not None and not first.quoted else ""

    @property
    def values(self) -> tuple[str, ...]:
        """The texts of the words after the first, without commas and equals signs."""
        return tuple(w.text for w in self.words[1:] if w.quoted or w.text not in (",", "="))


class Tree(Struct, frozen=True, kw_only=True):
    """A file; `cut` where it ends within a statement or block, what is whole of it is there."""

    statements: tuple[Statement, ...]
    cut: bool


def tree(text: str) -> Tree:
    """All statements of a file; a ``}`` too many means nothing."""
    found: list[Statement] = []
    outer: list[tuple[tuple[Word, ...], list[Statement]]] = []
    words: list[Word] = []
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == ";":
            if words:
                found.append(Statement(words=tuple(words)))
            words = []
        elif token == "{":
            outer.append((tuple(words), found))
            found, words = [], []
        elif token == "}":
            # A last statement without its semicolon is one all the same.
            if words:
                found.append(Statement(words=tuple(words)))
            words = []
            if outer:
                found = _closed(outer, found)
        elif token[0] == '"':
            words.append(Word(_unquoted(token), True, line))
        elif not token.isspace() and token[0] != "#":
            words.append(Word(token, False, line))
        line += token.count("\n")
    cut = bool(words or outer)
    while outer:
        found = _closed(outer, found)
    return Tree(statements=tuple(found), cut=cut)


def _closed(
    outer: list[tuple[tuple[Word, ...], list[Statement]]], body: list[Statement]
) -> list[Statement]:
    head, found = outer.pop()
    found.append(Statement(words=head, body=tuple(body)))
    return found


def _unquoted(token: str) -> str:
    inner = token[1:-1] if len(token) > 1 and token.endswith('"') else token[1:]
    return _ESCAPE.sub(lambda match: _plain(match[1]), inner)


def _plain(escape: str) -> str:
    if escape[0] in "01234567":
        return chr(int(escape, 8) & _BYTE)
    if escape[0] == "x" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _LETTERS.get(escape, escape)
