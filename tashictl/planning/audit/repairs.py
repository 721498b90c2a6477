"""From disagreements to what is done about them: at once, later, or never."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.audit import Change, Disagreement
from tashictl.model.naming import DhcpEntry, DnsEntry, owner_of
from tashictl.model.settings import Settings


def longest_s(settings: Settings) -> float:
    """The time after which nothing that was sent before can still be done."""
    waits_s = settings.dns.timeout_s + settings.dhcp.timeout_s
    return 3 * waits_s + settings.tashictl.connect_timeout_s


def is_deletion(row: Disagreement) -> bool:
    """Whether its repair removes something."""
    return any(not change.add for change in row.changes)


def at_once(rows: Iterable[Disagreement]) -> tuple[Change, ...]:
    """The additions that hurt nothing."""
    return _once(c for row in rows if not is_deletion(row) for c in row.changes)


def removals(rows: Iterable[Disagreement]) -> tuple[Change, ...]:
    """What goes, if it is seen once more."""
    return _once(c for row in rows for c in row.changes if not c.add)


def all_of(rows: Iterable[Disagreement]) -> tuple[Change, ...]:
    """All changes, those that remove before those that add."""
    every = _once(c for row in rows for c in row.changes)
    return tuple(sorted(every, key=lambda change: change.add))


def uuid_of(change: Change) -> str:
    """The VM that a change is about, by its mark; "" for none."""
    owner = owner_of(change.entry.owner)
    return owner.uuid if owner is not None else ""


def words(change: Change) -> str:
    """A change in a few words."""
    entry, verb = change.entry, "add" if change.add else "remove"
    match entry:
        case DhcpEntry():
            return f"{verb} host {entry.name} ({entry.mac}) {', '.join(entry.addresses)}"
        case DnsEntry(forward=False):
            return f"{verb} the name {entry.name} of {', '.join(entry.addresses)}"
        case DnsEntry():
            return f"{verb} {entry.name} {', '.join(entry.addresses)}".rstrip()


def _once(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(dict.fromkeys(changes))
