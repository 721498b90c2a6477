"""The port of byte streams to hosts; it stands beside `ops.ports`, which others need as well."""

from __future__ import annotations

from typing import Protocol


class Stream(Protocol):
    """A two-way byte stream to a socket on a host."""

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Unreachable."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; raises Unreachable past `deadline_s` (monotonic)."""
        ...

    def close(self) -> None:
        """End the stream; never raises."""
        ...
