"""What a check found: how bad it is, what was read, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from tashictl.model.steps import Step


class Severity(Enum):
    """How bad it is: a NOTE is worth knowing, a WARNING may hurt, an ERROR does."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


FAULTS = (Severity.WARNING, Severity.ERROR)
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.NOTE, Severity.OK)


class Finding(Struct, frozen=True, kw_only=True):
    """The result of one check on one thing.

    `id` is a check of `table.CHECKS`, `subject` what it is about where a check looks at several
    (a bridge, a file), `remedy` has the main command in its first line. What `--fix` would do is
    in `steps` (on the host; `diff` is of the file that they write) and `private` (paths of ours
    that others lose their rights on).
    """

    id: str
    severity: Severity
    evidence: str
    remedy: str = ""
    subject: str = ""
    steps: tuple[Step, ...] = ()
    private: tuple[str, ...] = ()
    diff: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What a second look at the same thing has too."""
        return self.id, self.subject

    @property
    def can_be_mended(self) -> bool:
        """Whether `--fix` does something about it."""
        return bool(self.steps or self.private)


def worst_first(severity: Severity) -> int:
    """The place of a severity in a list that has the worst first."""
    return _WORST_FIRST.index(severity)


def counts(severities: Iterable[Severity]) -> str:
    """How many of each, in words, the worst first: ``1 error, 2 notes, 30 ok``."""
    found = list(severities)
    words = []
    for severity in _WORST_FIRST:
        number = found.count(severity)
        plural = "s" if number != 1 and severity is not Severity.OK else ""
        if number:
            words.append(f"{number} {severity.value}{plural}")
    return ", ".join(words) or "nothing was looked at"


def ok(check: str, evidence: str, subject: str = "") -> Finding:
    """A check that found all well."""
    return Finding(id=check, severity=Severity.OK, evidence=evidence, subject=subject)
