"""YAML (and so JSON) text -> a tree in which every node knows its file and line. Nothing is built.

Only what an inventory needs is allowed: one document, no aliases (they could stand for billions of
nodes), no tags (they could stand for objects), no key twice, at most 16 levels.
"""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from msgspec import Struct

from tashictl.errors import InvalidRequest

MAX_DEPTH = 16
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON")
_FALSE = ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF")


class Scalar(Struct, frozen=True, kw_only=True):
    """One word or number as it was written; `plain` means without quotes."""

    text: str
    plain: bool
    where: str

    @property
    def is_null(self) -> bool:
        """Whether YAML 1.1 takes it for null."""
        return self.plain and self.text in _NULLS

    @property
    def boolean(self) -> bool | None:
        """What YAML 1.1 takes it for, None if it is no boolean."""
        if self.plain and self.text in _TRUE:
            return True
        return False if self.plain and self.text in _FALSE else None


class Sequence(Struct, frozen=True, kw_only=True):
    """A list."""

    items: tuple[Node, ...]
    where: str


class Mapping(Struct, frozen=True, kw_only=True):
    """Keys and values in the order of the file; no key is there twice."""

    pairs: tuple[tuple[Scalar, Node], ...]
    where: str


Node = Scalar | Sequence | Mapping


class Faults:
    """The mistakes found so far."""

    def __init__(self) -> None:
        self.found: list[InvalidRequest] = []

    def add(self, what: str, where: str, hint: str = "") -> None:
        """Note one mistake at ``path:line``."""
        self.found.append(InvalidRequest("E-INVENTORY", f"{what}, {where}", hint=hint))


class _Open(Struct):
    """A collection that is being read."""

    mapping: bool
    where: str
    nodes: list[Node]


class _Builder:
    """Builds the tree from parser events, without recursion."""

    def __init__(self, path: str, faults: Faults) -> None:
        self._path = path
        self._faults = faults
        self._stack: list[_Open] = []
        self._documents = 0
        self._refused = False  # something was left out, so the tree is not what was meant
        self._root: Node | None = None

    @property
    def root(self) -> Node | None:
        """The tree, if the whole of it was allowed."""
        return None if self._refused else self._root

    def take(self, event: yaml.Event) -> bool:
        """Take one event; False means that there is no use in going on."""
        mark = event.start_mark
        where = f"{self._path}:{mark.line + 1 if mark else 1}"
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._faults.add("a second document", where, "write one document, without ---")
            return self._documents == 1
        if (tag := getattr(event, "tag", None)) is not None:
            self._refused = True
            self._faults.add(f"the tag {tag}", where, "tags are not used: leave it out")
        if isinstance(event, yaml.AliasEvent):
            self._refused = True
            hint = "aliases are not used: write it out, or use defaults and groups"
            self._faults.add(f"the alias *{event.anchor}", where, hint)
            self._add(Scalar(text="", plain=True, where=where))
        elif isinstance(event, yaml.ScalarEvent):
            plain = event.style in (None, "")
            self._add(Scalar(text=event.value, plain=plain, where=where))
        elif isinstance(event, yaml.CollectionStartEvent):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._stack.append(_Open(mapping=is_mapping, where=where, nodes=[]))
            if len(self._stack) > MAX_DEPTH:
                self._faults.add(f"more than {MAX_DEPTH} levels", where)
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        return True

    def _close(self) -> None:
        done = self._stack.pop()
        if not done.mapping:
            self._add(Sequence(items=tuple(done.nodes), where=done.where))
            return
        pairs: list[tuple[Scalar, Node]] = []
        lines: dict[str, str] = {}
        for key, value in zip(done.nodes[::2], done.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._faults.add("a key that is no word", key.where)
            elif key.text in lines:
                text = f"{key.text!r} is there twice, first in {lines[key.text]}"
                self._faults.add(text, key.where)
            else:
                lines[key.text] = key.where
                pairs.append((key, value))
        self._add(Mapping(pairs=tuple(pairs), where=done.where))

    def _add(self, node: Node) -> None:
        if self._stack:
            self._stack[-1].nodes.append(node)
        else:
            self._root = node


def read(path: str, text: str, faults: Faults) -> Node | None:
    """Read one document; None if it is empty or cannot be read. Mistakes go to `faults`."""
    if text.lstrip()[:1] in ("{", "["):
        # JSON may be indented by tabs, YAML may not; inside JSON's strings a tab cannot stand.
        text = text.replace("\t", " ")
    builder = _Builder(path, faults)
    try:
        going = all(builder.take(event) for event in _events(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        cause = f"no YAML: {_cause(error.problem, error.context)}"
        if "nesting depth" in cause:  # a limit of PyYAML's own since 6.0.4, met before ours
            cause = f"more than {MAX_DEPTH} levels"
        faults.add(cause, f"{path}:{line}")
        return None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        faults.add("no YAML: a character that is not allowed", f"{path}:{line}")
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # An escape beyond Unicode, half of a surrogate pair: no place is given.
        faults.add(f"no YAML: {error}", path)
        return None
    return builder.root if going else None


def _events(text: str) -> Iterable[yaml.Event]:
    events: Iterable[yaml.Event] = yaml.parse(text, Loader=_LOADER)
    return events


def _cause(problem: str | None, context: str | None) -> str:
    return ", ".join(part for part in (problem, context) if part) or "it cannot be parsed"
