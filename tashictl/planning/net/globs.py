"""Wildcards of the shell as regular expressions, whatever an operator's file holds."""

from __future__ import annotations

import re

_PART = re.compile(r"\[[!^]?[^/]?[^]/]*\]|.", re.DOTALL)
_NOTHING = re.compile(r"(?!)")


def of_path(pattern: str) -> re.Pattern[str]:
    """For paths: a wildcard stands for no slash, and not for the dot that hides a file."""
    return _compiled(re.sub(r"/+", "/", pattern), "[^/]", hides=True)


def of_name(pattern: str) -> re.Pattern[str]:
    """For names of interfaces."""
    return _compiled(pattern, ".", hides=False)


def _compiled(pattern: str, one: str, *, hides: bool) -> re.Pattern[str]:
    out = ""
    for part in _PART.findall(pattern):
        if part in ("*", "?"):
            hidden = r"(?!\.)" if hides and out.endswith("/") else ""
            out += hidden + one + ("*" if part == "*" else "")
        elif len(part) > 2:
            inside = part[1:-1]
            negated = "^" if inside[0] in "!^" else ""
            out += "[" + negated + _members(inside[len(negated) :]) + "]"
        else:
            out += re.escape(part)
    try:
        return re.compile(out)
    except re.error:  # a range that runs backwards stands for nothing
        return _NOTHING


def _members(inside: str) -> str:
    return "".join(c if c == "-" or c.isalnum() else re.escape(c) for c in inside)
