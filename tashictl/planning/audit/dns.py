"""Names against the forward zones, and addresses against the reverse ones.

A change is of one zone only: what is wrong in the one does not hold up the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.audit import Change, Disagreement
from tashictl.model.naming import DnsEntry
from tashictl.planning.audit.claims import Claims
from tashictl.planning.audit.zones import Name, Zones, address_of, is_reverse, reverse_name


class Whose(Enum):
    """Whose a name is, seen from one entry."""

    FREE = "free"
    MINE = "mine"
    STALE = "stale"  # ours, and nobody wants it any more
    OPEN = "open"  # ours, and an operation is to settle it
    FOREIGN = "foreign"


class _Place(Struct, frozen=True, kw_only=True):
    """A name that an entry wants: what the zone has there, and what it should have."""

    name: str
    there: Name
    entry: DnsEntry  # of this one zone
    wanted: str
    is_right: bool


def compare(claims: Claims, zones: Zones) -> Iterator[Disagreement]:
    """What is missing, wrong, foreign or too much."""
    wanted: set[str] = set()
    for name, entry in claims.dns.items():
        wanted.add(name)
        free = True
        if zones.has(name):
            there = zones.at(name)
            free = whose(claims, there, entry.owner) is not Whose.FOREIGN
            yield from _forward(claims, name, there, entry)
        for address in entry.addresses if entry.reverse else ():
            reverse = reverse_name(address)
            wanted.add(reverse)
            if zones.has(reverse):
                yield from _reverse(claims, reverse, zones.at(reverse), entry, address, free)
    for name, there in zones.names.items():
        if name not in wanted and name not in claims.open_dns:
            yield from _orphan(claims, name, there)


def whose(claims: Claims, there: Name, owner: str) -> Whose:
    """Whose a name is, seen from the owner of an entry."""
    if there.is_free:
        return Whose.FREE
    if len(there.marks) != 1 or there.alias:
        return Whose.FOREIGN
    mark = there.marks[0]
    if mark == owner:
        return Whose.MINE
    if claims.is_open(mark):
        return Whose.OPEN
    return Whose.STALE if claims.is_ours(mark) else Whose.FOREIGN


def _forward(claims: Claims, name: str, there: Name, entry: DnsEntry) -> Iterator[Disagreement]:
    place = _Place(
        name=name,
        there=there,
        entry=replace(entry, reverse=False),
        wanted=f"{', '.join(entry.addresses)} of {claims.who(entry.owner)}",
        is_right=set(there.addresses) == set(entry.addresses),
    )
    if whose(claims, there, entry.owner) is Whose.FOREIGN:
        yield _foreign(claims, place, "dns-foreign", "rename the VM, or remove them there")
    else:
        yield from _held_against(claims, place, "dns")


def _reverse(
    claims: Claims, name: str, there: Name, entry: DnsEntry, address: str, free: bool
) -> Iterator[Disagreement]:
    """`free`: the name is not somebody else's, so that the address may be given it."""
    place = _Place(
        name=name,
        there=there,
        entry=replace(entry, addresses=(address,), forward=False),
        wanted=f"{address} is {entry.name}",
        is_right=there.targets == (entry.name,),
    )
    if whose(claims, there, entry.owner) is Whose.FOREIGN:
        if not place.is_right:  # one that is right was there before us
            yield _foreign(claims, place, "ptr-wrong", "remove it there, if it is stale")
        return
    for found in _held_against(claims, place, "ptr"):
        yield found if free else replace(found, changes=(), repair="first see to its name")


def _held_against(claims: Claims, place: _Place, kind: str) -> Iterator[Disagreement]:
    add = Change(entry=place.entry, add=True)
    if claims.waits(place.entry, add=True):
        return
    match whose(claims, place.there, place.entry.owner):
        case Whose.FREE:
            yield _row(place, f"{kind}-missing", "nothing", "add it", (add,))
        case Whose.MINE if not place.is_right:
            yield _row(place, f"{kind}-wrong", place.there.text, "put the right one there", (add,))
        case Whose.STALE:
            remove = _removal(place.name, place.there)
            if claims.waits(remove, add=False):
                return
            found = f"{place.there.text} of {claims.who(remove.owner)}"
            changes = (Change(entry=remove, add=False), add)
            yield _row(place, f"{kind}-orphan", found, "remove it, then add ours", changes)
        case _:
            return


def _orphan(claims: Claims, name: str, there: Name) -> Iterator[Disagreement]:
    """A name with a mark of ours that no VM has."""
    if len(there.marks) != 1 or there.alias:
        return
    (mark,) = there.marks
    if not claims.is_ours(mark) or claims.is_open(mark):
        return
    remove = _removal(name, there)
    if claims.waits(remove, add=False):
        return
    kind = "ptr-orphan" if is_reverse(name) else "dns-orphan"
    yield Disagreement(
        kind=kind,
        subject=name,
        source="dns",
        database="nothing",
        found=f"{there.text} of {claims.who(mark)}",
        repair="remove it",
        changes=(Change(entry=remove, add=False),),
    )


def _removal(name: str, there: Name) -> DnsEntry:
    """What removes all that is ours at a name, and nothing elsewhere."""
    (mark,) = there.marks
    if not is_reverse(name):
        return DnsEntry(name=name, addresses=there.addresses, owner=mark, reverse=False)
    target = there.targets[0] if there.targets else name
    return DnsEntry(name=target, addresses=(address_of(name),), owner=mark, forward=False)


def _foreign(claims: Claims, place: _Place, kind: str, repair: str) -> Disagreement:
    marks = ", ".join(claims.who(mark) for mark in place.there.marks)
    found = f"{place.there.text}, {f'of {marks}' if marks else 'without our mark'}"
    return _row(place, kind, found, repair, ())


def _row(
    place: _Place, kind: str, found: str, repair: str, changes: tuple[Change, ...]
) -> Disagreement:
    return Disagreement(
        kind=kind,
        subject=place.name,
        source="dns",
        database=place.wanted,
        found=found,
        repair=repair,
        changes=changes,
    )
