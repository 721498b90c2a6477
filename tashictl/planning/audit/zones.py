"""The records of zones by name, and whose a name is."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from msgspec import Struct

from tashictl.model.audit import ZoneSeen
from tashictl.model.naming import owner_of

MARK = "_tashictl."  # before a name: where its mark stands
_V4, _V6 = ".in-addr.arpa", ".ip6.arpa"


class Name(Struct, frozen=True, kw_only=True):
    """What stands at one name: addresses, names that it stands for, and marks of owners."""

    addresses: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    alias: str = ""
    marks: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether it may be registered."""
        return not (self.addresses or self.targets or self.alias or self.marks)

    @property
    def text(self) -> str:
        """What there is, in words, without the marks."""
        found = [*self.addresses, *self.targets]
        if self.alias:
            found.append(f"an alias of {self.alias}")
        return ", ".join(found) or "nothing"


class Zones(Struct, frozen=True, kw_only=True):
    """Zones that were seen, and what stands at each name of them."""

    zones: tuple[str, ...]
    names: dict[str, Name]

    def has(self, name: str) -> bool:
        """Whether a name lies in a zone that was seen."""
        return any(is_below(name, zone) for zone in self.zones)

    def at(self, name: str) -> Name:
        """What stands at a name."""
        return self.names.get(name, Name())


def index(seen: Iterable[ZoneSeen]) -> Zones:
    """The names of zones; what says who owns a name is counted to that name."""
    zones = tuple(seen)
    found: dict[str, dict[str, set[str]]] = {}
    for zone in zones:
        for record in zone.records:
            name = record.name.lower().rstrip(".")
            kind, value = record.kind, record.value
            if kind == "TXT":
                if owner_of(value) is None:
                    continue
                name = name.removeprefix(MARK)
            elif kind in ("A", "AAAA"):
                kind, value = "A", _normal(value)
            elif kind in ("PTR", "CNAME"):
                value = value.lower().rstrip(".")
            else:
                continue
            found.setdefault(name, {}).setdefault(kind, set()).add(value)
    return Zones(
        zones=tuple(zone.zone.lower().rstrip(".") for zone in zones),
        names={name: _name(kinds) for name, kinds in found.items()},
    )


def _name(kinds: dict[str, set[str]]) -> Name:
    return Name(
        addresses=tuple(sorted(kinds.get("A", ()), key=rank)),
        targets=tuple(sorted(kinds.get("PTR", ()))),
        alias=min(kinds.get("CNAME", ()), default=""),
        marks=tuple(sorted(kinds.get("TXT", ()))),
    )


def rank(address: str) -> tuple[int, int]:
    """The place of an address in a list: IPv4 first, by number."""
    found = ip_address(address)
    return found.version, int(found)


def _normal(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def is_below(name: str, zone: str) -> bool:
    """Whether a name is a zone's own or lies below it."""
    return name == zone or name.endswith(f".{zone}") or not zone


def is_reverse(name: str) -> bool:
    """Whether it is the name of an address."""
    return name.endswith((_V4, _V6))


def reverse_name(address: str) -> str:
    """The name of an address in the reverse zones."""
    return ip_address(address).reverse_pointer


def address_of(name: str) -> str:
    """The address of a name in the reverse zones; "" for what is none."""
    try:
        if name.endswith(_V4):
            return str(ip_address(".".join(reversed(name.removesuffix(_V4).split(".")))))
        digits = name.removesuffix(_V6).split(".")[::-1]
        text = "".join(digits)
        groups = [text[i : i + 4] for i in range(0, len(text), 4)]
        return str(ip_address(":".join(groups))) if len(digits) == 32 else ""
    except ValueError:
        return ""
