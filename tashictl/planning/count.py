"""`vm create NAME --count N` (Tashi's createMany): the names, and what N VMs cannot share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tashictl.errors import Conflict, InvalidRequest, TashiError
from tashictl.planning import addressing
from tashictl.planning.request import RawVm

MOST = 250  # at once: each holds two files open here until it runs
_NAMED = 8


def names_of(raw: RawVm) -> tuple[tuple[str, ...], list[TashiError]]:
    """NAME-0 to NAME-(N-1), zero padded to one width, and what is wrong with asking for N."""
    text = raw.count or ""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):
        return (), [InvalidRequest("E-COUNT", f"count {text!r}: a whole number, 1 to {MOST}")]
    number = int(text)
    width = len(str(number - 1))
    names = tuple(f"{raw.name}-{place:0{width}}" for place in range(number))
    return names, list(_not_for_many(raw)) if number > 1 else []


def _not_for_many(raw: RawVm) -> Iterator[TashiError]:
    for text in raw.nics:
        try:
            _, ip, mac = addressing.split_nic(text)
        except ValueError:
            continue  # told elsewhere
        if ip is not None or mac is not None:
            yield InvalidRequest(
                "E-NIC",
                f"nic {text!r}: an address is for one VM",
                hint="--nic NET, without an address, where --count makes several",
            )
    for text in raw.disks:
        name, _, mode = text.partition(":")
        if mode in ("persistent", "True"):
            yield InvalidRequest(
                "E-DISK",
                f"disk {text!r}: a persistent disk is for one VM",
                hint=f"--disk {name}, where --count makes several",
            )


def taken(names: Iterable[str], there: Iterable[str]) -> list[TashiError]:
    """One Conflict that lists all names that are taken; none without."""
    known = set(there)
    found = [name for name in names if name in known]
    if not found:
        return []
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    listed = ", ".join(found[:_NAMED]) + more
    what = f"there are VMs named {listed}" if len(found) > 1 else f"there is a VM named {listed}"
    return [Conflict("E-EXISTS", what, hint="tashictl vm list")]
