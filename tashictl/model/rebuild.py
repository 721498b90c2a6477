"""What a rebuild of the state goes by, and what it comes to."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tashictl.model.event import Severity
from tashictl.model.host import HostFacts
from tashictl.model.settings import Settings
from tashictl.model.state import Quarantined, State


class Counters(Struct, frozen=True, kw_only=True):
    """The highest ids that were seen anywhere outside the base: of VMs, of operations."""

    vm: int = 0
    operation: int = 0


class Evidence(Struct, frozen=True, kw_only=True):
    """All that is known: the newest copy of the state, and what the hosts say now.

    `looks` are the hosts of this cluster that answered, `without` those that nobody asks. `epoch`
    is the new one. No script of an older epoch begins on a host of `looks` any more.
    """

    cluster: str
    epoch: int
    now: datetime
    base: State | None
    looks: dict[str, HostFacts]
    without: frozenset[str]
    counters: Counters
    settings: Settings


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that people must know of: what it is (`kind`), and where it lies.

    `folder` is a path on `host`. An ERROR is something that was not chosen for them.
    """

    kind: str
    severity: Severity
    text: str
    vm: str | None = None
    uuid: str | None = None
    host: str | None = None
    folder: str | None = None


class Rebuilt(Struct, frozen=True, kw_only=True):
    """The new state; `quarantined` are the addresses that it keeps back anew."""

    state: State
    findings: tuple[Finding, ...]
    quarantined: tuple[Quarantined, ...]
