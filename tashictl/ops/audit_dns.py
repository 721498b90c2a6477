"""The zones that an audit looks at: whole where the server gives them out, else name by name."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.errors import NotPermitted, TashiError
from tashictl.model.audit import Unseen, ZoneSeen
from tashictl.model.state import State
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.ops.ports_names import Dns
from tashictl.planning.audit import places
from tashictl.planning.audit.zones import is_below

LACKS = "asked name by name, so that orphans are not found"
_NO_ZONE, _NO_TRANSFER = "E-DNS-ZONE", "E-DNS-TRANSFER"


def look(world: World, context: Context, state: State) -> tuple[list[ZoneSeen], list[Unseen]]:
    """The zones of all names, and what of them could not be had."""
    settings = context.settings
    if settings.dns.server is None or not settings.dns.enabled:
        return [], []
    asked = places.names(state, context.inventory.networks, settings)
    try:
        survey = _Survey(world.names.dns(settings.dns), asked)
        survey.look()
    except TashiError as error:
        return [], [Unseen(source=f"dns {settings.dns.server}", error=error)]
    return survey.zones, survey.unseen


class _Survey:
    """Zones found so far; a server that does not answer ends it."""

    def __init__(self, dns: Dns, asked: places.Asked) -> None:
        self._dns = dns
        self._asked = asked
        self._none: set[str] = set()  # where the server has no zone
        self.zones: list[ZoneSeen] = []
        self.unseen: list[Unseen] = []

    def look(self) -> None:
        for name in (*self._asked.names, *self._asked.maybe):
            above = places.above(name)
            if above in self._none or places.is_covered(name, self.zones):
                continue
            try:
                zone = self._dns.zone_of(name)
            except TashiError as error:
                if error.code != _NO_ZONE:
                    raise
                self._none.add(above)
                if name in self._asked.names:
                    self.unseen.append(Unseen(source=f"dns {above}", error=error))
                continue
            if all(seen.zone != zone for seen in self.zones):
                self._zone(zone)
            else:
                self._none.add(above)  # delegated, and yet said to be of that zone

    def _zone(self, zone: str) -> None:
        try:
            self.zones.append(ZoneSeen(zone=zone, records=self._dns.records(zone)))
        except NotPermitted as error:
            if error.code != _NO_TRANSFER:
                raise
            self.unseen.append(Unseen(source=f"dns {zone}", error=error, lacks=LACKS))
            names = places.with_marks(_below(self._asked.names, zone))
            records = self._dns.lookup(names) if names else ()
            self.zones.append(ZoneSeen(zone=zone, records=tuple(records), whole=False))


def _below(names: Iterable[str], zone: str) -> list[str]:
    return [name for name in names if is_below(name, zone)]
