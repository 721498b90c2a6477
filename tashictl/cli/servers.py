"""The servers of names and addresses; their libraries are loaded by who reaches one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tashictl.errors import OperationFailed
from tashictl.model.settings import DhcpSettings, DnsSettings

if TYPE_CHECKING:
    from tashictl.adapters.dhcp.omapi import OmapiServer
    from tashictl.adapters.dns.server import DnsServer
    from tashictl.ops.ports_stream import Stream


class SystemNames:
    """DNS by dnspython, OMAPI by pypureomapi."""

    def dns(self, settings: DnsSettings) -> DnsServer:
        """The DNS server of the settings."""
        try:
            from tashictl.adapters.dns.server import DnsServer
        except ImportError as error:
            raise _missing("dnspython", "dns", error) from error
        return DnsServer(settings)

    @contextmanager
    def omapi(self, settings: DhcpSettings, through: Stream | None) -> Iterator[OmapiServer]:
        """A connection to dhcpd, closed at the end; `through` is closed as well."""
        try:
            from tashictl.adapters.dhcp.omapi import OmapiServer
        except ImportError as error:
            raise _missing("pypureomapi", "dhcp", error) from error
        server = OmapiServer(settings, through)
        try:
            yield server
        finally:
            server.close()


def _missing(library: str, extra: str, error: ImportError) -> OperationFailed:
    return OperationFailed(
        "E-LIBRARY",
        f"{library} is not installed",
        cause=str(error),
        hint=f"pip install 'tashictl[{extra}]'",
    )
