"""How much of a network's range is used."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from tashictl.model.network import Network


def of(network: Network, held: Iterable[str]) -> tuple[int | None, int | None]:
    """How many addresses of the range are held, and how many a VM may still get.

    `held` are the addresses of VMs and those in quarantine. None, None for a network without a
    range.
    """
    text = network.range or network.range6
    if not text:
        return None, None
    first, last = ends(text)
    spans = [ends(e) for e in network.exclude]
    used = {n for a in held if first <= (n := _number(a)) <= last and _same(a, text)}
    shut = [
        (max(low, first), min(high, last))
        for e, (low, high) in zip(network.exclude, spans, strict=True)
        if _same(e, text)
    ]
    excluded = size(shut)
    open_used = [n for n in used if not any(low <= n <= high for low, high in shut)]
    return len(used), last - first + 1 - excluded - len(open_used)


def size(spans: Iterable[tuple[int, int]]) -> int:
    """How many numbers lie in any of the spans, which may overlap."""
    total, done = 0, -1
    for low, high in sorted(spans):
        start = max(low, done + 1)
        if high >= start:
            total += high - start + 1
            done = high
    return total


def ends(text: str) -> tuple[int, int]:
    """The first and last address of ``first-last``, or of one alone, as numbers."""
    first, _, last = text.partition("-")
    return _number(first), _number(last or first)


def _number(address: str) -> int:
    return int(ip_address(address))


def _same(one: str, other: str) -> bool:
    return (":" in one) == (":" in other)
