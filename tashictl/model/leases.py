"""What ISC dhcpd has in its two files: hosts and leases (dhcpd.leases), and what it was told."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.naming import owner_of

GROUP = "tashictl-"


class HostRecord(Struct, frozen=True, kw_only=True):
    """A host with a MAC and fixed addresses; what the file does not say is empty.

    `addresses` are in normal form where they are addresses (dhcpd.conf may have names); `dynamic`
    says that it was made over OMAPI. `options` are statements as ``host-name`` → ``web1``, values
    as the file has them but for quotes.
    """

    name: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    uid: str = ""
    group: str = ""
    dynamic: bool = False
    options: dict[str, str] = {}

    @property
    def owner(self) -> str:
        """The mark that the client identifier carries, "" for none of ours."""
        mark = self.uid.partition("/")[0]
        return mark if owner_of(mark) is not None else ""

    @property
    def cluster(self) -> str:
        """The cluster by its mark, or where that is lost by its group; "" for none of ours."""
        owner = owner_of(self.owner)
        if owner is not None:
            return owner.cluster
        return self.group.removeprefix(GROUP) if self.group.startswith(GROUP) else ""


class LeaseRecord(Struct, frozen=True, kw_only=True):
    """A lease of a pool: hosts with a fixed address have none.

    `state` is dhcpd's binding state (``active``, ``free``, ``abandoned`` …), `ends` ISO-8601 UTC,
    or ``never``.
    """

    address: str
    state: str = ""
    mac: str = ""
    hostname: str = ""
    ends: str = ""


class LeasesFile(Struct, frozen=True, kw_only=True):
    """What dhcpd.leases says at its end: of each host, group and lease the last word.

    `deleted` are names of hosts that were removed over OMAPI, those of dhcpd.conf among them.
    `cut` says that the file ends within a record; `faults` are lines that dhcpd could not read
    back: of what follows the first one it knows nothing after its next start.
    """

    hosts: tuple[HostRecord, ...] = ()
    groups: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    leases: tuple[LeaseRecord, ...] = ()
    cut: bool = False
    faults: tuple[str, ...] = ()


class DhcpSubnet(Struct, frozen=True, kw_only=True):
    """A subnet of dhcpd.conf; `ranges` are its dynamic pools, first and last included.

    What the subnet does not say itself is empty or None: the file's own then holds.
    """

    network: str
    ranges: tuple[tuple[str, str], ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    default_lease_s: int | None = None
    max_lease_s: int | None = None


class DhcpdConf(Struct, frozen=True, kw_only=True):
    """What we read of dhcpd.conf; `includes` are files that it names and that were not read."""

    hosts: tuple[HostRecord, ...] = ()
    subnets: tuple[DhcpSubnet, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    default_lease_s: int | None = None
    max_lease_s: int | None = None
    omapi_port: int | None = None
    omapi_key: str = ""
    includes: tuple[str, ...] = ()
    cut: bool = False
