"""Filters of lists: ``state=Running,name=web*,memory_mib>=2G`` on the keys of the JSON record."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tashictl.cli import errors_text
from tashictl.errors import InvalidRequest, raise_all
from tashictl.model import names, units

Record = Mapping[str, object]

_TERM = r"""\s*(?P<key>[A-Za-z_][\w.\-]*)\s*
        (?P<op>!=|>=|<=|==|=|>|<)\s*
        (?:"(?P<quoted>(?:[^"\\]|\\.)*)"\s*|(?P<bare>(?!")(?:\[[^\]]*\]|[^,])*))
        (?:,|$)"""
_NUMBER = r"-?\d+(\.\d+)?"
_HINT = 'key=value, with = != >= <= > <, joined by comma; "…" for a value with a comma'


class Term(Struct, frozen=True, kw_only=True):
    """One condition; `exact` values were quoted, so that their ``*`` and ``?`` mean themselves."""

    key: str
    op: str
    value: str
    exact: bool = False


def parse(expression: str) -> tuple[Term, ...]:
    """Read a filter. Raises InvalidRequest E-FILTER for text that is none."""
    terms: list[Term] = []
    at = 0
    term = re.compile(_TERM, re.VERBOSE | re.DOTALL)  # here: most command lines have no filter
    while at < len(expression) or not terms:
        match = term.match(expression, at)
        if match is None:
            raise InvalidRequest(
                "E-FILTER",
                f"'{expression[at:]}' is no condition",
                cause=f"in --filter '{expression}'",
                hint=_HINT,
            )
        quoted = match["quoted"]
        terms.append(
            Term(
                key=match["key"],
                op="=" if match["op"] == "==" else match["op"],
                value=match["bare"].strip()
                if quoted is None
                else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL),
                exact=quoted is not None,
            )
        )
        at = match.end()
    return tuple(terms)


def check(terms: Iterable[Term], keys: Sequence[str]) -> None:
    """Raise InvalidRequest for every key that is not among `keys` (``hints.*`` stands for any)."""
    wrong = [term.key for term in terms if not is_known(term.key, keys)]
    raise_all(errors_text.unknown_keys("E-FILTER", "key", wrong, keys))


def is_known(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys`, some of which may end in ``.*``."""
    return any(key == k or (k.endswith(".*") and key.startswith(k[:-1])) for k in keys)


def matches(terms: Iterable[Term], record: Record) -> bool:
    """Whether all `terms` hold; on a list a condition holds when it holds for any member.

    Raises InvalidRequest where a number is compared with text.
    """
    return all(_holds(term, record) for term in terms)


def leaves(value: object, path: Sequence[str]) -> Iterator[object]:
    """The values at a dotted path, through mappings and through every member of lists."""
    if isinstance(value, list | tuple):
        for member in value:
            yield from leaves(member, path)
    elif not path:
        if not isinstance(value, Mapping):
            yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from leaves(value[path[0]], path[1:])


def _holds(term: Term, record: Record) -> bool:
    found = leaves(record, term.key.split("."))
    if term.op == "!=":
        return not any(_equal(term, value) for value in found)
    if term.op == "=":
        return any(_equal(term, value) for value in found)
    return any(_ordered(term, value) for value in found)


def _equal(term: Term, value: object) -> bool:
    if value is None:
        return not term.exact and term.value in ("", "null")
    number = _number(term)
    if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
        return value == number
    found = str(value).casefold()
    wanted = term.value.casefold()
    if term.exact:
        return found == wanted
    return any(fnmatch.fnmatchcase(found, pattern) for pattern in _patterns(wanted))


def _patterns(value: str) -> tuple[str, ...]:
    try:
        return names.expand(value)
    except ValueError:
        return (value,)


def _ordered(term: Term, value: object) -> bool:
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        number = _number(term)
        if number is None:
            raise InvalidRequest(
                "E-FILTER", f"'{term.value}' is no number to compare {term.key} with", hint=_HINT
            )
        return _compare(term.op, float(value), number)
    return _compare(term.op, _natural(str(value)), _natural(term.value))


def _number(term: Term) -> float | None:
    if re.fullmatch(_NUMBER, term.value):
        return float(term.value)
    if term.key.endswith("_mib"):
        try:
            return float(units.memory_mib(term.value))
        except ValueError:
            return None
    return None


def _natural(value: str) -> list[tuple[int, str]]:
    """Digits compare as numbers, so that version 10.0 follows 7.2; works for ISO-8601 times too."""
    parts = re.split(r"(\d+)", value.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]


def _compare(op: str, left: Any, right: Any) -> bool:
    if op == ">=":
        return bool(left >= right)
    if op == "<=":
        return bool(left <= right)
    return bool(left > right) if op == ">" else bool(left < right)
