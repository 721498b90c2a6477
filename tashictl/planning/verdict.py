"""What a sweep decides from, and what it decides: all of it data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from tashictl.model.event import Event, Problem
from tashictl.model.host import HostRecord
from tashictl.model.sample import Counters
from tashictl.model.settings import Settings
from tashictl.model.sighting import Sighting
from tashictl.model.state import State
from tashictl.model.vm import OperationKind, Vm


class RepairKind(Enum):
    """What is done by an operation after the round was written down."""

    SETTLE = "settle"  # finish or undo an operation that was interrupted
    REMOVE_HOST = "remove-host"  # go on with the removal of a host that was interrupted
    CLEAR = "clear"  # remove what is wanted absent
    RESTART = "restart"  # start again what ended with its host
    FORGET = "forget"  # remove what ended with its host
    SCHEDULE = "schedule"  # find a host for what waits for one


class Repair(Struct, frozen=True, kw_only=True):
    """Something to be done by an operation; `why` in words. `vm` is None for REMOVE_HOST."""

    kind: RepairKind
    why: str
    vm: Vm | None = None
    host: str | None = None
    operation: int | None = None

    @property
    def target(self) -> str:
        """The name of what it concerns."""
        return self.vm.name if self.vm is not None else self.host or ""


class Interrupted(Struct, frozen=True, kw_only=True):
    """An operation whose process has ended before it did."""

    id: int
    kind: OperationKind
    target: str


class Dialogue(Struct, frozen=True, kw_only=True):
    """What a VM's QEMU said over QMP: its run state, None where it was silent, and why.

    `blocks` are the counters of each block device, by name.
    """

    status: str | None
    cause: str = ""
    at_s: float = 0.0
    blocks: dict[str, dict[str, float]] = {}


class Scene(Struct, frozen=True, kw_only=True):
    """What a sweep decides from.

    `state` is the newest, `known` are the records from before the looks: what was changed
    meanwhile is newer than they; `last_known` is the last operation that had begun then. `asked`
    are the hosts of this round, each in `sightings` or, with the reason, in `lost`. `leads`: this
    round also cares for what belongs to no host (of the shards, the first does).
    """

    state: State
    known: Mapping[int, Vm]
    last_known: int | None = None
    asked: tuple[str, ...]
    sightings: Mapping[str, Sighting]
    lost: Mapping[str, str]
    interrupted: tuple[Interrupted, ...] = ()
    dialogues: Mapping[str, Dialogue] = {}  # by uuid, of those that were due
    counters: Mapping[str, Counters] = {}
    settings: Settings
    now: str
    leads: bool = True

    def looked_at(self, host: str | None) -> Sighting | None:
        """What was seen of a host; None where it did not answer, or another probe was at work."""
        seen = self.sightings.get(host or "")
        return seen if seen is not None and seen.busy_s is None else None


class Verdict(Struct, frozen=True, kw_only=True):
    """What a sweep decides.

    `stale` proves the database to be an old copy: then nothing else is true. `brake` says why the
    round may only go on when somebody agrees. `vms` and `hosts` are the records that change, those
    of VMs that nobody knew among them; `repairs` follow once these are written down.
    """

    stale: str = ""
    brake: tuple[str, ...] = ()
    vms: tuple[Vm, ...] = ()
    hosts: tuple[HostRecord, ...] = ()
    repairs: tuple[Repair, ...] = ()
    problems: tuple[Problem, ...] = ()
    events: tuple[Event, ...] = ()
