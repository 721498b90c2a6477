"""What an audit saw of each source, and what it says where two of them disagree."""

from __future__ import annotations

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.naming import DnsRecord, Entry


class ZoneSeen(Struct, frozen=True, kw_only=True):
    """A zone: all of its records, or, where it is not `whole`, those of the names asked for."""

    zone: str
    records: tuple[DnsRecord, ...] = ()
    whole: bool = True


class DhcpHost(Struct, frozen=True, kw_only=True):
    """A host as a DHCP server has it; `owner` is a mark, "" for what has none.

    `fixed` is what stands in its configuration; a MAC or address that it lacks is left empty.
    `names` are addresses with their names, where the server has names too, else None.
    """

    driver: str
    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    owner: str = ""
    fixed: bool = False
    names: tuple[tuple[str, str], ...] | None = None


class DhcpSeen(Struct, frozen=True, kw_only=True):
    """The hosts of a DHCP server; not `whole`: only those that were asked for."""

    driver: str
    server: str
    hosts: tuple[DhcpHost, ...] = ()
    whole: bool = True


class Neighbour(Struct, frozen=True, kw_only=True):
    """A line of a host's neighbour table; `age_s` is since it was last heard of."""

    address: str
    mac: str
    device: str
    age_s: float = 0.0


class QemuSeen(Struct, frozen=True, kw_only=True):
    """A QEMU of ours that runs, and the MACs that it was given."""

    uuid: str
    pid: int
    macs: tuple[str, ...] = ()


class HostSeen(Struct, frozen=True, kw_only=True):
    """What a host has; `folders` are uuids of VMs of which something lies there.

    `hidden`: its login may not see every process.
    """

    host: str
    neighbours: tuple[Neighbour, ...] = ()
    taps: tuple[str, ...] = ()
    qemus: tuple[QemuSeen, ...] = ()
    folders: tuple[str, ...] = ()
    hidden: bool = False


class Unseen(Struct, frozen=True, kw_only=True):
    """A source that was not had; `error` says why, `lacks` what is not found where a part was."""

    source: str
    error: TashiError
    lacks: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """All that one look saw; times as in the state: ISO-8601 UTC."""

    at: str
    zones: tuple[ZoneSeen, ...] = ()
    dhcp: tuple[DhcpSeen, ...] = ()
    hosts: tuple[HostSeen, ...] = ()
    unseen: tuple[Unseen, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """What mends something: register an entry at its server (`add`), or remove it."""

    entry: Entry
    add: bool


class Disagreement(Struct, frozen=True, kw_only=True):
    """Two sources that say different things of one subject.

    `kind` is an id of `planning.audit.table`, `source` where it was found. `database` and `found`
    are both sides, `repair` what is to be done, all in words. `changes` do it, in their order;
    empty where only a person can. `waits` is the key of work that waits for a server.
    """

    kind: str
    subject: str
    source: str
    database: str
    found: str
    repair: str = ""
    changes: tuple[Change, ...] = ()
    waits: str = ""

    @property
    def can_be_mended(self) -> bool:
        """Whether `--repair` does something about it."""
        return bool(self.changes or self.waits)
