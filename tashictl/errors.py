"""Every error that tashictl raises on purpose, as one tree.

The tree (exit code in brackets, the contract of the command line)::

    TashiError
    +-- OperationFailed [1]    an operation was started and went wrong
    |   +-- StepFailed  [1]    a step was answered with a failure
    +-- InvalidRequest  [2]    usage, or a request with an invalid or unknown part
    +-- NoSuchTarget    [3]    the verb's own target does not exist
    +-- PartialResult   [4]    some targets failed, were skipped or are Pending
    +-- Conflict        [5]    name, address or disk taken, wrong state, locked
    +-- Unreachable     [6]    a host or server could not be reached; unknown host key
    |   +-- Uncertain   [6]    it was sent, and no answer came: it may have been done
    +-- NotPermitted    [7]    owner, foreign cluster, database older than a host
    +-- NoCapacity      [8]    it fits nowhere
    +-- FaultsFound     [9]    differences or faults were found, nothing was changed
    +-- Interrupted   [130]    Ctrl-C; what was in flight was undone or is listed
    +-- Problems               several of the above at once; see there for the code
        +-- SummedUp           the errors of several targets, the first one sums them up
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class TashiError(Exception):
    """An error with a machine code, the fact, its cause and the next step.

    `code` is like ``E-NAME``; `what` names the thing and the fact; `cause` says why;
    `hint` is what to do next; `host` is where it happened; `leftovers` lists what could
    not be undone, one line each.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        code: str,
        what: str,
        *,
        cause: str = "",
        hint: str = "",
        host: str | None = None,
        leftovers: Iterable[str] = (),
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.cause = cause
        self.hint = hint
        self.host = host
        self.leftovers = tuple(leftovers)

    def __str__(self) -> str:
        return f"[{self.code}] {self.what}" + (f" ({self.cause})" if self.cause else "")


class OperationFailed(TashiError):
    """An operation was started and went wrong; it was undone, or `leftovers` says what is left."""

    exit_code = 1


class StepFailed(OperationFailed):
    """A step of a plan was carried out and answered with a failure: it is known what was done."""


class InvalidRequest(TashiError):
    """Usage, or a request or file with an invalid or unknown part; nothing was changed."""

    exit_code = 2


class NoSuchTarget(TashiError):
    """The thing that the verb was to act on does not exist."""

    exit_code = 3


class PartialResult(TashiError):
    """Some targets failed, were skipped or are Pending."""

    exit_code = 4


class Conflict(TashiError):
    """A name, address or persistent disk is taken, the state is wrong, or a lock is held."""

    exit_code = 5


class Unreachable(TashiError):
    """A host or server could not be reached, or its host key is unknown.

    It never means "stopped": what was sent before may still take effect.
    """

    exit_code = 6


class Uncertain(Unreachable):
    """Something was sent and no answer came: it may have been done, or may still be done."""


class NotPermitted(TashiError):
    """Not the owner, a foreign cluster, a changed host key, or a database older than a host."""

    exit_code = 7


class NoCapacity(TashiError):
    """It fits no host even when empty; nothing was recorded."""

    exit_code = 8


class FaultsFound(TashiError):
    """Differences or faults were found; nothing was changed."""

    exit_code = 9


class Interrupted(TashiError):
    """The operator pressed Ctrl-C; what was in flight was undone or is listed."""

    exit_code = 130


# When several apply to one request: usage before conflict before capacity, then the rest.
_PRECEDENCE = (2, 5, 8, 3, 7, 6, 9, 4, 1)


class Problems(TashiError):
    """Several errors of one request or one file, reported together."""

    def __init__(self, problems: Iterable[TashiError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(
            first.code, "; ".join(p.what for p in self.problems), cause=first.cause, hint=first.hint
        )

    @property
    def code_for_exit(self) -> int:
        """The exit code by the contract's precedence: 2 before 5 before 8, then the rest."""
        codes = {p.exit_code for p in self.problems}
        return next((c for c in _PRECEDENCE if c in codes), 1)


class SummedUp(Problems):
    """What went wrong with several targets, behind an error that sums it up and gives the code."""

    @property
    def code_for_exit(self) -> int:
        """The exit code of the first."""
        return self.problems[0].exit_code


def raise_all(problems: Iterable[TashiError]) -> None:
    """Raise the one problem as itself, several as `Problems`, none not at all."""
    found = tuple(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Problems(found)


def exit_code_of(error: TashiError) -> int:
    """The process exit code that stands for `error`."""
    return error.code_for_exit if isinstance(error, Problems) else error.exit_code
