"""The language of /etc/network/interfaces, interfaces(5): read, and edited without a byte too much.

It follows what ifupdown 0.8 does, not only what its manual says: a comment line is no part of a
continuation, `auto` without a name speaks of the stanza it stands in, `source` takes several words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from tashictl.planning.net import globs

INTERFACES = "/etc/network/interfaces"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"[^ \t\n\v\f\r]+")
_SPACES = " \t\n\v\f\r"
_LISTS = ("auto", "no-auto-down", "no-scripts")
_FAMILIES = ("inet", "inet6", "can", "ipx")
_IN_DIRECTORY = "[a-zA-Z0-9_-]+"


class Stanza(Struct, frozen=True, kw_only=True):
    """One `iface` with its options in their order; commands may be there several times."""

    name: str
    family: str = "inet"
    method: str = "manual"
    inherits: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def option(self, *keys: str) -> str:
        """The value of the first of these options that is there, or ""."""
        return next((v for k, v in self.options if k in keys), "")


class _Line(Struct, frozen=True, kw_only=True):
    """A logical line: its bytes, its words, and the number of the stanza it is of (-1: of none)."""

    text: str
    words: tuple[str, ...]
    rest: str
    stanza: int


def _joined(text: str) -> Iterator[tuple[str, str]]:
    """Each logical line: as it is written, and as ifupdown reads it (comments are read as "")."""
    lines = _LINE.findall(text)
    at = 0
    while at < len(lines):
        raw = lines[at]
        read = raw.removesuffix("\n").lstrip(_SPACES)
        at += 1
        if read.startswith("#"):
            yield raw, ""
            continue
        while read.endswith("\\"):
            read = read[:-1]
            if at == len(lines):
                break
            raw += lines[at]
            read += lines[at].removesuffix("\n")
            at += 1
        yield raw, read.strip(_SPACES)


def _lines(text: str) -> tuple[_Line, ...]:
    found = []
    number, inside = -1, False
    for raw, read in _joined(text):
        words = tuple(_WORD.findall(read))
        first = words[0] if words else ""
        if first == "iface":
            number, inside = number + 1, True
        elif _ends_stanza(first, words):
            inside = False
        rest = read[len(first) :].strip(_SPACES)
        mine = inside and bool(words)
        found.append(_Line(text=raw, words=words, rest=rest, stanza=number if mine else -1))
    return tuple(found)


def _is_list(first: str) -> bool:
    return first in _LISTS or (first.startswith("allow-") and first != "allow-")


def _ends_stanza(first: str, words: tuple[str, ...]) -> bool:
    if first in ("mapping", "source", "rename") or first.startswith("source-dir"):
        return True
    return _is_list(first) and len(words) > 1


def stanzas(text: str) -> tuple[Stanza, ...]:
    """The `iface` stanzas of a file, in order."""
    found: list[Stanza] = []
    options: list[tuple[str, str]] = []
    for line in _lines(text):
        if line.stanza < 0:
            continue
        if line.words[0] == "iface":
            _close(found, options)
            found.append(_header(line.words[1:]))
        elif not _is_list(line.words[0]):
            options.append((line.words[0], line.rest))
    _close(found, options)
    return tuple(found)


def _close(found: list[Stanza], options: list[tuple[str, str]]) -> None:
    if found and options:
        last = found.pop()
        found.append(
            Stanza(
                name=last.name,
                family=last.family,
                method=last.method,
                inherits=last.inherits,
                options=tuple(options),
            )
        )
    options.clear()


def _header(words: tuple[str, ...]) -> Stanza:
    name, *more = words or ("",)
    family = more.pop(0) if more and more[0] in _FAMILIES else ""
    method = more.pop(0) if more and family and more[0] != "inherits" else ""
    inherits = more[1] if len(more) > 1 and more[0] == "inherits" else ""
    return Stanza(name=name, family=family, method=method, inherits=inherits)


def resolved(one: Stanza, known: Iterable[Stanza]) -> Stanza:
    """The stanza with what it inherits written out, as ifupdown copies it."""
    others = [s for s in known if s.name == one.inherits and s is not one]
    base = next((s for s in others if one.family in ("", s.family)), None)
    if not one.inherits or base is None:
        return one
    base = resolved(base, [s for s in known if s.name != one.inherits])
    return Stanza(
        name=one.name,
        family=one.family or base.family,
        method=one.method or base.method,
        options=(*base.options, *one.options),
    )


def without(text: str, names: Collection[str]) -> str:
    """The text without the stanzas of these interfaces, and without their names in lists.

    All else stays as it is, byte for byte: comments, mappings, other interfaces.
    """
    kept: list[str] = []
    gone, hole = -1, False
    for line in _lines(text):
        first = line.words[0] if line.words else ""
        if first == "iface" and len(line.words) > 1 and line.words[1] in names:
            gone = line.stanza
        out = line.text
        if line.stanza >= 0 and line.stanza == gone:
            out = ""
        elif _is_list(first) and len(line.words) > 1:
            out = _list_without(line, names)
        elif hole and not out.strip() and not (kept and kept[-1].strip()):
            continue  # one blank line is enough where something was taken out
        hole = out == "" or (hole and not out.strip())
        kept += [out] if out else []
    return "".join(kept)


def _list_without(line: _Line, names: Collection[str]) -> str:
    out = {w for w in line.words[1:] if w.partition("=")[0] in names}
    if not out:
        return line.text
    if out == set(line.words[1:]):
        return ""
    text = line.text
    for word in out:
        text = re.sub(rf"[ \t]+{re.escape(word)}(?=[ \t\r\n\\]|$)", "", text)
    return text


def sourced(files: Mapping[str, str], path: str = INTERFACES) -> tuple[str, ...]:
    """The files that ifupdown reads when it reads `path`, itself first, each once."""
    seen: list[str] = []
    _follow(files, path, seen)
    return tuple(seen)


def _follow(files: Mapping[str, str], path: str, seen: list[str]) -> None:
    if path in seen or path not in files:
        return
    seen.append(path)
    for pattern in _patterns(files[path], path.rpartition("/")[0]):
        for name in sorted(files):
            if pattern.fullmatch(name):
                _follow(files, name, seen)


def reads(files: Mapping[str, str], wanted: str) -> bool:
    """Whether ifupdown would read the file `wanted`, if it were there."""
    return wanted in sourced({**files, wanted: files.get(wanted, "")})


def _patterns(text: str, folder: str) -> Iterator[re.Pattern[str]]:
    for line in _lines(text):
        first = line.words[0] if line.words else ""
        for word in line.words[1:]:
            path = word.strip("\"'")
            path = path if path.startswith("/") else f"{folder}/{path}"
            if first == "source":
                yield globs.of_path(path)
            elif first.startswith("source-dir"):
                folder_of = globs.of_path(path.rstrip("/"))
                yield re.compile(f"(?:{folder_of.pattern})/{_IN_DIRECTORY}")
