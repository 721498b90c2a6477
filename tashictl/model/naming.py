"""What an interface of a VM has in DNS and DHCP, and the mark that says whose it is."""

from __future__ import annotations

from msgspec import Struct

_KIND = "tashictl"


class Owner(Struct, frozen=True, kw_only=True):
    """Who made an entry: ``tashictl:<cluster>:<uuid>``, the one mark that is used everywhere."""

    cluster: str
    uuid: str

    def __str__(self) -> str:
        return f"{_KIND}:{self.cluster}:{self.uuid}"


def owner_of(text: str) -> Owner | None:
    """The owner that a mark names; None for what is no mark of ours."""
    kind, _, rest = text.partition(":")
    cluster, colon, uuid = rest.partition(":")
    if kind != _KIND or not colon or not cluster or not uuid or ":" in uuid:
        return None
    return Owner(cluster=cluster, uuid=uuid)


class DnsEntry(Struct, frozen=True, kw_only=True, tag="dns", forbid_unknown_fields=True):
    """What one interface has in DNS: its addresses by its name, and its name by each address.

    `name` is a full name without a dot at its end; `owner` is the text of a mark; `reverse` says
    whether there are PTR records, `forward` whether there is more than those.
    """

    name: str
    addresses: tuple[str, ...]
    owner: str
    ttl_s: int = 300
    reverse: bool = True
    forward: bool = True

    @property
    def key(self) -> str:
        """What it is kept by where it waits: ``dns/<name>``."""
        return f"dns/{self.name}"


class DhcpEntry(Struct, frozen=True, kw_only=True, tag="dhcp", forbid_unknown_fields=True):
    """What one interface has in DHCP: a host with a MAC gets these addresses and a name.

    `driver` is ``isc-omapi``, ``dnsmasq`` or ``kea``; `name` is that of the host object (Tashi:
    ``<vm>``, ``<vm>-nic<i>`` from the second interface on), `fqdn` its name in DNS, if it has one.
    The options are left out where empty: they are then as the server has them for the subnet.
    """

    driver: str
    network: int
    name: str
    mac: str
    addresses: tuple[str, ...]
    owner: str
    fqdn: str = ""
    domain: str = ""
    routers: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int | None = None

    @property
    def key(self) -> str:
        """What it is kept by where it waits: ``dhcp/<mac>``."""
        return f"dhcp/{self.mac}"


Entry = DnsEntry | DhcpEntry


class Deferred(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registration (`add`) or removal that a server could not be had for; the sweep does it.

    `since` is ISO-8601 UTC, `why` the last failure in a line, `tries` how often it was tried.
    """

    entry: Entry
    add: bool
    since: str
    why: str
    tries: int = 1

    @property
    def key(self) -> str:
        """That of its entry: of one thing only the last wish waits."""
        return self.entry.key


class DnsRecord(Struct, frozen=True, kw_only=True):
    """A record as a server has it; `name` without a dot at its end, `value` as it is shown.

    The value of a TXT record is its strings joined, without quotes.
    """

    zone: str
    name: str
    kind: str
    value: str
    ttl_s: int = 0


class OmapiHost(Struct, frozen=True, kw_only=True):
    """A host as dhcpd has it; `owner` is the mark that it carries, "" for none of ours.

    The group is not told over OMAPI, the leases file has it.
    """

    name: str
    mac: str
    addresses: tuple[str, ...]
    owner: str = ""


class DnsmasqHost(Struct, frozen=True, kw_only=True):
    """A line of a file in dnsmasq's dhcp-hostsdir.

    `file` is its name there, `owner` the mark in its first line, "" for none. `mac`, `addresses`
    and `name` are left empty where the line does not say them, or where nobody can read it.
    `tagged` says that it sets a tag, of which dnsmasq 2.90 dies at SIGHUP.
    """

    file: str
    owner: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    name: str = ""
    tagged: bool = False


class DnsmasqName(Struct, frozen=True, kw_only=True):
    """A name of an address in a file in dnsmasq's hostsdir; `file` and `owner` as above."""

    file: str
    owner: str
    address: str
    name: str


class DnsmasqFolders(Struct, frozen=True, kw_only=True):
    """What lies in dnsmasq's folders, and who reads them.

    `watchers` are the pids of dnsmasqs that wait for files in the folder of hosts; `by_pid_file` is
    the one that its pid file names, None for none that runs. `running` says that any runs there.
    `due` says that a removal is still to be told by SIGHUP. `missing` are folders that are not
    there.
    """

    hosts: tuple[DnsmasqHost, ...] = ()
    names: tuple[DnsmasqName, ...] = ()
    watchers: tuple[int, ...] = ()
    by_pid_file: int | None = None
    running: bool = False
    due: bool = False
    missing: tuple[str, ...] = ()
