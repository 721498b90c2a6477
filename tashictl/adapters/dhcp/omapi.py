"""ISC dhcpd over OMAPI, by pypureomapi; one request at a time."""

from __future__ import annotations

from typing import Protocol

from tashictl.model.naming import DhcpEntry, OmapiHost
from tashictl.model.settings import DhcpSettings


class Channel(Protocol):
    """A byte stream to the server that somebody else has opened; see `ops.ports_stream.Stream`."""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; `deadline_s` is monotonic."""
        ...

    def close(self) -> None:
        """End it; never raises."""
        ...


class OmapiServer:
    """One connection; see `ops.ports_names.Omapi`."""

    def __init__(self, settings: DhcpSettings, through: Channel | None) -> None:
        self._settings = settings
        self._through = through

    def add(self, entry: DhcpEntry) -> None:
        """Register."""
        raise NotImplementedError

    def remove(self, entry: DhcpEntry) -> None:
        """Remove."""
        raise NotImplementedError

    def lookup(self, name: str) -> OmapiHost | None:
        """Look up."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection; never raises."""
