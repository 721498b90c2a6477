"""Addresses that nobody gets for a time, because somebody unknown may still use them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from tashictl.model.network import Network
from tashictl.model.operation import StepEnded
from tashictl.model.settings import Settings
from tashictl.model.state import Quarantined, State
from tashictl.model.steps import Plan, ProbeAddress
from tashictl.model.vm import NicSpec, Vm
from tashictl.planning import naming

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
        Quarantined(network=nic.network, ip=address, until=until, why=why)
        for nic in nics
        for address in nic.addresses
    ]


def answered(
    entries: Iterable[object], plan: Plan, now: datetime, seconds: float
) -> list[Quarantined]:
    """The addresses that somebody else answered at when a creation asked for them."""
    until = (now + timedelta(seconds=seconds)).strftime(_ISO)
    found = []
    for entry in entries:
        if not isinstance(entry, StepEnded) or entry.undo or not entry.rc:
            continue
        step = plan[entry.step]
        if isinstance(step, ProbeAddress):
            found.append(
                Quarantined(
                    network=step.network_id, ip=step.address, until=until, why=entry.message
                )
            )
    return found


def resting(
    vm: Vm, networks: Iterable[Network], settings: Settings, now: datetime
) -> list[Quarantined]:
    """The addresses of a VM that is gone, for as long as anybody may still take them for its own.

    That is the longest lease where DHCP had them, and the time to live of its records in DNS.
    """
    seconds = 0.0
    if naming.dhcp_entries(vm, networks, settings):
        seconds += settings.dhcp.lease_s
    if naming.dns_entries(vm, settings):
        seconds += settings.dns.expire_s
    if not seconds:
        return []
    why = f"{vm.name} had it, and is gone"
    return [replace(kept, resting=True) for kept in of(vm.spec.nics, now, seconds, why)]
