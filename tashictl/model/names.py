"""Names of VMs, hosts and images: what is allowed, and patterns that stand for several."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator

NAME_RULE = "a name is a-z 0-9 and -, 1 to 63, not only digits"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_DOMAIN = 253
_RANGE = re.compile(r"\[([0-9,-]+)\]")
_MAX_IMAGE = 200
_MAX_EXPANSION = 100_000


def is_name(text: str) -> bool:
    """Whether `text` may name a VM, host or network: an RFC 1123 label that is not a number."""
    return _NAME.fullmatch(text) is not None and not text.isdigit()


def is_image_name(text: str) -> bool:
    """Whether `text` may name an image: parts of a path, none starting with a dot."""
    return len(text) <= _MAX_IMAGE and _IMAGE.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether `text` is a name of DNS that every server carries: labels of at most 63 (RFC 1035).

    Lower case, without a dot at its end; labels of a zone may begin with an underscore.
    """
    labels = text.split(".")
    return len(text) <= _MAX_DOMAIN and all(_LABEL.fullmatch(label) for label in labels)


def expand(text: str) -> tuple[str, ...]:
    """Expand ClusterShell ranges: ``node[2-4,7]`` is node2 node3 node4 node7; padding is kept.

    Text without a range comes back as it is. Raises ValueError for a malformed range, or one that
    stands for too many names.
    """
    found = [""]
    place = 0
    for match in _RANGE.finditer(text):
        numbers = tuple(_numbers(match.group(1)))
        if len(found) * len(numbers) > _MAX_EXPANSION:
            raise ValueError(f"{text!r} stands for more than {_MAX_EXPANSION} names")
        between = text[place : match.start()]
        found = [head + between + number for head in found for number in numbers]
        place = match.end()
    return tuple(head + text[place:] for head in found)


def _numbers(body: str) -> Iterator[str]:
    for part in body.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is no range of numbers")
        low, high = int(first), int(last or first)
        if high < low or high - low > _MAX_EXPANSION:
            raise ValueError(f"{part!r} runs backwards or is too long")
        width = len(first) if first.startswith("0") else 0
        yield from (str(n).zfill(width) for n in range(low, high + 1))


def select(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """The members of `names` for which `pattern` (name, glob or range) stands, in their order."""
    known = tuple(names)
    if pattern in known:
        return (pattern,)
    try:
        wanted = expand(pattern)
    except ValueError:
        wanted = (pattern,)
    return tuple(n for n in known if any(fnmatch.fnmatchcase(n, w) for w in wanted))
