"""Addresses that nobody gets for a time, because somebody unknown may still use them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tashictl.model.state import Quarantined, State
from tashictl.model.vm import NicSpec

_ISO = "%Y-%m-%dT%H:%M:%SZ"


def in_force(state: State, now: str) -> tuple[Quarantined, ...]:
    """The addresses that are in quarantine at `now`, ISO-8601 UTC as everywhere."""
    return tuple(kept for kept in state.quarantine.values() if kept.until > now)


def expired(state: State, now: str) -> tuple[str, ...]:
    """The keys of those whose time has passed: anyone who writes the state may drop them."""
    return tuple(key for key, kept in state.quarantine.items() if kept.until <= now)


def of(nics: Iterable[NicSpec], now: datetime, seconds: float, why: str) -> list[Quarantined]:
    """The addresses of some interfaces, for `seconds` from `now` on."""
    until = (now + timedelta(seconds=seconds)).strftime(_ISO)
    return [
        Quarantined(network=nic.network, ip=nic.ip, until=until, why=why)
        for nic in nics
        if nic.ip is not None
    ]
