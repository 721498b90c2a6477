"""What an operation decides with, beside the database: settings, inventory, templates."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tashictl.errors import InvalidRequest
from tashictl.model.cluster import Cluster, Host, snapshot
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.state import State
from tashictl.planning import quarantine
from tashictl.planning.wishes import Picture


class Context(Struct, frozen=True, kw_only=True):
    """Read once per command; `ifup_template` is the text of qemu-ifup.j2.

    `ifup_templates` are those of hosts that have their own. `seen` grows while the command works:
    by host, the last operation that it is known to have seen.
    """

    settings: Settings
    inventory: Inventory
    ifup_template: str = ""
    ifup_templates: dict[str, str] = {}
    seen: dict[str, int] = {}

    def ifup_of(self, host: str) -> str:
        """The text of qemu-ifup.j2 that holds for a host."""
        return self.ifup_templates.get(host, self.ifup_template)

    def cluster(self, state: State) -> Cluster:
        """The cluster as `state` and the inventory have it."""
        return snapshot(state, self.inventory, self.settings.qemu.reserved_memory_mib)

    def picture(self, state: State, now: str, turn: int = 0) -> Picture:
        """What a request is held against at `now`, ISO-8601 UTC; `turn` as in the picture."""
        return Picture(
            cluster=self.cluster(state),
            inventory=self.inventory,
            settings=self.settings,
            quarantine=quarantine.in_force(state, now),
            deferred=tuple(state.deferred.values()),
            turn=turn,
        )

    def host(self, state: State, name: str) -> Host:
        """A host that was added; raises InvalidRequest when inventory or database lacks it."""
        host = self.cluster(state).host(name)
        if host is None:
            raise InvalidRequest(
                "E-HOST",
                f"host {name} is not in the inventory, or was not added",
                hint=f"tashictl host add {name}",
            )
        return host

    def config(self, name: str) -> HostConfig:
        """How to reach a host; raises InvalidRequest when the inventory lacks it."""
        config = self.inventory.host(name)
        if config is None:
            raise InvalidRequest(
                "E-HOST",
                f"host {name} is not in the inventory",
                cause="it is needed to reach what runs there",
                hint=f"put {name} back into the inventory",
            )
        return config


def iso(moment: datetime) -> str:
    """ISO-8601 UTC to the second, with Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The time that `iso` wrote."""
    return datetime.fromisoformat(text)


def may_begin_s(ours: TashictlSettings, wait_s: int) -> float:
    """How long after it was made a script may still begin on a host (its not-after)."""
    return ours.connect_timeout_s + wait_s + 30
