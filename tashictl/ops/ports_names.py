"""The servers of names and addresses, and the part of a transaction that keeps work for them.

It stands beside `ops.ports`, which is as long as a file may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from tashictl.errors import TashiError
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry, DnsRecord, OmapiHost
from tashictl.model.settings import DhcpSettings, DnsSettings
from tashictl.ops.ports_stream import Stream


class DeferredTable(Protocol):
    """The part of a transaction that keeps what waits for a server."""

    def put_deferred(self, work: Deferred) -> None:
        """Add or replace, by entry: of one thing only the last wish waits."""
        ...

    def remove_deferred(self, key: str) -> None:
        """Nothing waits of this entry any more."""
        ...


class Dns(Protocol):
    """A DNS server that takes dynamic updates (RFC 2136), each an atomic one with prerequisites.

    Many entries travel in few messages. What comes back for each entry is None when it is done (or
    was), else why not: Conflict E-DNS-FOREIGN (records that are not ours stand there: they are
    named), Unreachable E-DNS-DOWN (nothing of it was sent), Uncertain E-DNS-TIMEOUT (it may have
    been done, or will be), OperationFailed E-DNS-KEY, E-DNS-CLOCK, E-DNS-REFUSED, E-DNS-ZONE,
    E-DNS-ANSWER for what the server does not take.
    """

    def add(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Register, where name and address are free or carry the same mark."""
        ...

    def remove(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Remove exactly these values where the mark is the entry's; what is gone is done.

        A name with another mark, or with none, is left alone and done as well: it is not ours.
        """
        ...

    def zone_of(self, name: str) -> str:
        """The zone of the server in which a name lies, without a dot at its end.

        Raises OperationFailed E-DNS-ZONE where the server has none, and as above.
        """
        ...

    def records(self, zone: str) -> tuple[DnsRecord, ...]:
        """All records of a zone, by transfer (RFC 5936); raises NotPermitted E-DNS-TRANSFER."""
        ...

    def lookup(self, names: Sequence[str]) -> tuple[DnsRecord, ...]:
        """The A, AAAA, CNAME, PTR and TXT records of some names, as the server has them."""
        ...


class Omapi(Protocol):
    """One connection to ISC dhcpd's OMAPI; one request at a time (more make dhcpd abort).

    What is raised: Unreachable E-DHCP-DOWN (nothing was sent), Uncertain E-DHCP-TIMEOUT,
    OperationFailed E-DHCP-KEY, E-DHCP-ANSWER; Conflict E-DHCP-FOREIGN for a host that is not ours.
    """

    def add(self, entry: DhcpEntry) -> None:
        """Register a host, where name and MAC are free or the host is the same one."""
        ...

    def remove(self, entry: DhcpEntry) -> None:
        """Remove the host with this name, MAC and address; what is gone, or another's, is done."""
        ...

    def lookup(self, name: str) -> OmapiHost | None:
        """The host of that name, None when there is none."""
        ...


class Names(Protocol):
    """How the servers are reached."""

    def dns(self, settings: DnsSettings) -> Dns:
        """The DNS server; raises InvalidRequest where the settings or the key do not do."""
        ...

    def omapi(
        self, settings: DhcpSettings, through: Stream | None
    ) -> AbstractContextManager[Omapi]:
        """A connection to dhcpd, over `through` where it was opened on a host already."""
        ...
