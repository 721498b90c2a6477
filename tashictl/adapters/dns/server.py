"""A DNS server that takes dynamic updates, by dnspython."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.errors import TashiError
from tashictl.model.naming import DnsEntry, DnsRecord
from tashictl.model.settings import DnsSettings


class DnsServer:
    """The server of the settings; see `ops.ports_names.Dns`."""

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings

    def add(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Register."""
        raise NotImplementedError

    def remove(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Remove."""
        raise NotImplementedError

    def zone_of(self, name: str) -> str:
        """The zone in which a name lies."""
        raise NotImplementedError

    def records(self, zone: str) -> tuple[DnsRecord, ...]:
        """All records of a zone."""
        raise NotImplementedError

    def lookup(self, names: Sequence[str]) -> tuple[DnsRecord, ...]:
        """The records of some names."""
        raise NotImplementedError
