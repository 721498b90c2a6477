"""Events: what was found or decided, with the reason; problems: what is wrong until it is not."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Severity(Enum):
    """How much it matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was found or decided, once; `at` is ISO-8601 UTC.

    `kind` is like ``vm-exited``; `text` says what is true now or was done, `reason` why. `problem`
    is the id of the problem that it belongs to, if any; `id` is given by the book of events.
    """

    id: int = 0
    at: str
    kind: str
    severity: Severity = Severity.NOTE
    host: str | None = None
    vm: str | None = None
    text: str
    reason: str = ""
    problem: str | None = None
    actor: str = ""


class Problem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is wrong now and stays in the book until a look finds it gone.

    `id` is ``kind:subject`` and the same at every look: ``host-down:node4``. `hint` is the next
    step. `scope` is the host whose look decides whether it is gone (None: any full round).
    `since` and `acked_*` are the book's: when it was first seen, who said that he knows.
    """

    id: str
    severity: Severity = Severity.WARNING
    text: str
    hint: str = ""
    host: str | None = None
    vm: str | None = None
    scope: str | None = None
    since: str = ""
    acked_at: str | None = None
    acked_by: str | None = None
    acked_why: str = ""
