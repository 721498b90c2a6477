"""Servers of names and addresses that are simulated: tables, and switches for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from tashictl.errors import Conflict, TashiError, Uncertain, Unreachable
from tashictl.model.naming import DhcpEntry, DnsEntry, DnsRecord, OmapiHost
from tashictl.model.settings import DhcpSettings, DnsSettings


class NameTables:
    """What the servers have, whoever asks; `down` and `deaf` say how they are.

    `dns` and `dhcp` are by name. A server that is `down` is not reached; one that is `deaf` does
    what it is told and does not answer.
    """

    def __init__(self) -> None:
        self.dns: dict[str, DnsEntry] = {}
        self.dhcp: dict[str, DhcpEntry] = {}
        self.foreign: set[str] = set()  # names that somebody else has in DNS
        self.down: set[str] = set()  # "dns", "dhcp"
        self.deaf: set[str] = set()


class SimNames:
    """Both servers, as one controller reaches them; `alive` is told of each time that it does."""

    def __init__(self, tables: NameTables, alive: Callable[[str], None] = lambda _: None) -> None:
        self.tables = tables
        self._alive = alive

    def dns(self, settings: DnsSettings) -> SimDns:
        """The DNS server."""
        del settings
        self._alive("dns")
        return SimDns(self.tables)

    @contextmanager
    def omapi(self, settings: DhcpSettings, through: object) -> Iterator[SimOmapi]:
        """The DHCP server."""
        del settings, through
        self._alive("omapi")
        yield SimOmapi(self.tables)


class SimDns:
    """A DNS server of one zone."""

    def __init__(self, tables: NameTables) -> None:
        self._tables = tables

    def add(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Register what is free or has the same mark."""
        return [self._add(entry) for entry in entries]

    def _add(self, entry: DnsEntry) -> TashiError | None:
        if (error := _reached(self._tables, "dns")) is not None:
            return error
        there = self._tables.dns.get(entry.name)
        if entry.name in self._tables.foreign or (there and there.owner != entry.owner):
            return Conflict("E-DNS-FOREIGN", f"{entry.name} has records that are not ours")
        self._tables.dns[entry.name] = entry
        return _answered(self._tables, "dns")

    def remove(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Remove what has the entry's mark."""
        return [self._remove(entry) for entry in entries]

    def _remove(self, entry: DnsEntry) -> TashiError | None:
        if (error := _reached(self._tables, "dns")) is not None:
            return error
        there = self._tables.dns.get(entry.name)
        if there is not None and there.owner == entry.owner:
            del self._tables.dns[entry.name]
        return _answered(self._tables, "dns")

    def zone_of(self, name: str) -> str:
        """All but the first label."""
        return name.partition(".")[2]

    def records(self, zone: str) -> tuple[DnsRecord, ...]:
        """Addresses and marks of all names."""
        found = []
        for name, entry in self._tables.dns.items():
            found.append(
                DnsRecord(zone=zone, name=f"_tashictl.{name}", kind="TXT", value=entry.owner)
            )
            for address in entry.addresses:
                kind = "AAAA" if ip_address(address).version == 6 else "A"
                found.append(DnsRecord(zone=zone, name=name, kind=kind, value=address))
        return tuple(found)

    def lookup(self, names: Sequence[str]) -> tuple[DnsRecord, ...]:
        """Those of some names."""
        return tuple(r for r in self.records("") if r.name in names)


class SimOmapi:
    """A DHCP server."""

    def __init__(self, tables: NameTables) -> None:
        self._tables = tables

    def add(self, entry: DhcpEntry) -> None:
        """Register where name and MAC are free or the host is the same one."""
        _raise(_reached(self._tables, "dhcp"))
        for there in self._tables.dhcp.values():
            same = (there.name, there.mac, there.addresses) == (
                *(entry.name, entry.mac, entry.addresses),
            )
            if not same and (there.name == entry.name or there.mac == entry.mac):
                raise Conflict("E-DHCP-FOREIGN", f"{entry.name} is another host's there")
        self._tables.dhcp[entry.name] = entry
        _raise(_answered(self._tables, "dhcp"))

    def remove(self, entry: DhcpEntry) -> None:
        """Remove the host if it is the same one."""
        _raise(_reached(self._tables, "dhcp"))
        there = self._tables.dhcp.get(entry.name)
        if there is not None and there.mac == entry.mac:
            del self._tables.dhcp[entry.name]
        _raise(_answered(self._tables, "dhcp"))

    def lookup(self, name: str) -> OmapiHost | None:
        """The host of that name."""
        _raise(_reached(self._tables, "dhcp"))
        there = self._tables.dhcp.get(name)
        if there is None:
            return None
        return OmapiHost(name=there.name, mac=there.mac, addresses=there.addresses)


def _reached(tables: NameTables, server: str) -> TashiError | None:
    if server not in tables.down:
        return None
    return Unreachable(f"E-{server.upper()}-DOWN", f"the {server.upper()} server is not reached")


def _answered(tables: NameTables, server: str) -> TashiError | None:
    if server not in tables.deaf:
        return None
    return Uncertain(f"E-{server.upper()}-TIMEOUT", f"the {server.upper()} server did not answer")


def _raise(error: TashiError | None) -> None:
    if error is not None:
        raise error
