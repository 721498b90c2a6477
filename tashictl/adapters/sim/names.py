"""Servers of names and addresses that are simulated: tables, and switches for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from msgspec.structs import replace

from tashictl.errors import Conflict, NotPermitted, TashiError, Uncertain, Unreachable
from tashictl.model.naming import DhcpEntry, DnsEntry, DnsRecord, OmapiHost
from tashictl.model.settings import DhcpSettings, DnsSettings


class NameTables:
    """What the servers have, whoever asks; `down` and `deaf` say how they are.

    `dns` and `dhcp` are by name, `pointers` by address; `records` are what others have in DNS. A
    host without an owner is not ours. A server that is `down` is not reached; one that is `deaf`
    does what it is told and does not answer.
    """

    def __init__(self) -> None:
        self.dns: dict[str, DnsEntry] = {}
        self.pointers: dict[str, DnsEntry] = {}
        self.records: set[DnsRecord] = set()
        self.dhcp: dict[str, DhcpEntry] = {}
        self.foreign: set[str] = set()  # names that somebody else has in DNS
        self.transfers = True  # whether the zones are given out whole
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
    """A DNS server in which every name but the first label is a zone."""

    def __init__(self, tables: NameTables) -> None:
        self._tables = tables

    def add(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Register what is free or has the same mark."""
        return [self._add(entry) for entry in entries]

    def _add(self, entry: DnsEntry) -> TashiError | None:
        if (error := _reached(self._tables, "dns")) is not None:
            return error
        named = self._tables.dns
        if entry.forward:
            if not self._is_free(entry.name, named.get(entry.name), entry.owner):
                return _foreign(entry.name)
            named[entry.name] = entry
        for address in entry.addresses if entry.reverse else ():
            there = self._tables.pointers.get(address)
            if not self._is_free(_reverse(address), there, entry.owner):
                return _foreign(_reverse(address))
            self._tables.pointers[address] = entry
        return _answered(self._tables, "dns")

    def _is_free(self, name: str, there: DnsEntry | None, owner: str) -> bool:
        if name in self._tables.foreign or (there is not None and there.owner != owner):
            return False
        names = (name, _mark(name))
        return there is not None or all(r.name not in names for r in self._tables.records)

    def remove(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Remove what has the entry's mark."""
        return [self._remove(entry) for entry in entries]

    def _remove(self, entry: DnsEntry) -> TashiError | None:
        if (error := _reached(self._tables, "dns")) is not None:
            return error
        there = self._tables.dns.get(entry.name)
        if entry.forward and there is not None and there.owner == entry.owner:
            del self._tables.dns[entry.name]
            left = [a for a in there.addresses if a not in entry.addresses]
            self._tables.records |= {_address(entry.name, a) for a in left}
        for address in entry.addresses if entry.reverse else ():
            there = self._tables.pointers.get(address)
            if there is not None and (there.owner, there.name) == (entry.owner, entry.name):
                del self._tables.pointers[address]
        return _answered(self._tables, "dns")

    def zone_of(self, name: str) -> str:
        """All but the first label."""
        _raise(_reached(self._tables, "dns"))
        return name.partition(".")[2]

    def records(self, zone: str) -> tuple[DnsRecord, ...]:
        """What a zone has, if it is given out."""
        _raise(_reached(self._tables, "dns"))
        if not self._tables.transfers:
            raise NotPermitted("E-DNS-TRANSFER", f"{zone} is not given out")
        return tuple(
            replace(r, zone=zone)
            for r in self._all()
            if self.zone_of(r.name.removeprefix(_mark(""))) == zone
        )

    def lookup(self, names: Sequence[str]) -> tuple[DnsRecord, ...]:
        """Those of some names."""
        _raise(_reached(self._tables, "dns"))
        return tuple(r for r in self._all() if r.name in names)

    def _all(self) -> Iterator[DnsRecord]:
        yield from self._tables.records
        for name, entry in self._tables.dns.items():
            yield DnsRecord(zone="", name=_mark(name), kind="TXT", value=entry.owner)
            yield from (_address(name, address) for address in entry.addresses)
        for address, entry in self._tables.pointers.items():
            name = _reverse(address)
            yield DnsRecord(zone="", name=_mark(name), kind="TXT", value=entry.owner)
            yield DnsRecord(zone="", name=name, kind="PTR", value=entry.name)


def _mark(name: str) -> str:
    return f"_tashictl.{name}"


def _reverse(address: str) -> str:
    return ip_address(address).reverse_pointer


def _address(name: str, address: str) -> DnsRecord:
    kind = "AAAA" if ip_address(address).version == 6 else "A"
    return DnsRecord(zone="", name=name, kind=kind, value=address)


def _foreign(name: str) -> Conflict:
    return Conflict("E-DNS-FOREIGN", f"{name} has records that are not ours")


class SimOmapi:
    """A DHCP server."""

    def __init__(self, tables: NameTables) -> None:
        self._tables = tables

    def add(self, entry: DhcpEntry) -> None:
        """Register where name and MAC are free; what is the VM's own is replaced."""
        _raise(_reached(self._tables, "dhcp"))
        dhcp = self._tables.dhcp
        there = dhcp.get(entry.name)
        if there is None or there.owner or not _is_same(there, entry):
            standing = [t for t in dhcp.values() if t.name == entry.name or t.mac == entry.mac]
            if any(t.owner != entry.owner for t in standing):
                raise Conflict("E-DHCP-FOREIGN", f"{entry.name} is another host's there")
            for one in standing:
                del dhcp[one.name]
            dhcp[entry.name] = entry
        _raise(_answered(self._tables, "dhcp"))

    def remove(self, entry: DhcpEntry) -> None:
        """Remove the host if it is the same one and has the entry's mark."""
        _raise(_reached(self._tables, "dhcp"))
        there = self._tables.dhcp.get(entry.name)
        if there is not None and there.owner == entry.owner and there.mac == entry.mac:
            del self._tables.dhcp[entry.name]
        _raise(_answered(self._tables, "dhcp"))

    def lookup(self, name: str) -> OmapiHost | None:
        """The host of that name."""
        _raise(_reached(self._tables, "dhcp"))
        there = self._tables.dhcp.get(name)
        if there is None:
            return None
        return OmapiHost(
            name=there.name, mac=there.mac, addresses=there.addresses, owner=there.owner
        )


def _is_same(there: DhcpEntry, entry: DhcpEntry) -> bool:
    return (there.mac, there.addresses) == (entry.mac, entry.addresses)


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
