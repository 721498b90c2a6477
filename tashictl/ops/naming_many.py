"""Many entries at their servers: few messages, one script, one connection."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.errors import OperationFailed, TashiError, Unreachable
from tashictl.model.audit import Change
from tashictl.model.naming import DhcpEntry, DnsEntry
from tashictl.ops import naming as ops
from tashictl.ops import naming_dnsmasq
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import naming


def change_all(
    world: World, context: Context, changes: Sequence[Change]
) -> dict[Change, TashiError | None]:
    """Carry out changes, at each server in their order; None for each that is done."""
    found: dict[Change, TashiError | None] = {}
    for add in (False, True):
        found |= _dns(world, context, [c for c in changes if c.add is add])
    dhcp = [c for c in changes if isinstance(c.entry, DhcpEntry)]
    found |= _dnsmasq(world, context, [c for c in dhcp if _driver(c) == naming.DNSMASQ])
    found |= _omapi(world, context, [c for c in dhcp if _driver(c) == naming.OMAPI])
    for change in changes:
        if change not in found:
            found[change] = ops.change(world, context, change.entry, add=change.add)
    return found


def _driver(change: Change) -> str:
    return change.entry.driver if isinstance(change.entry, DhcpEntry) else ""


def _dns(
    world: World, context: Context, changes: Sequence[Change]
) -> dict[Change, TashiError | None]:
    """All of one direction."""
    some = [(c, c.entry) for c in changes if isinstance(c.entry, DnsEntry)]
    if not some:
        return {}
    try:
        dns = world.names.dns(context.settings.dns)
        do = dns.add if some[0][0].add else dns.remove
        errors = do([entry for _, entry in some])
    except TashiError as error:
        return {change: error for change, _ in some}
    return {change: error for (change, _), error in zip(some, errors, strict=True)}


def _dnsmasq(
    world: World, context: Context, changes: Sequence[Change]
) -> dict[Change, TashiError | None]:
    some = [(c.entry, c.add) for c in changes if isinstance(c.entry, DhcpEntry)]
    if not some:
        return {}
    try:
        errors = naming_dnsmasq.change(world, context, some)
    except TashiError as error:
        return dict.fromkeys(changes, error)
    return dict(zip(changes, errors, strict=True))


def _omapi(
    world: World, context: Context, changes: Sequence[Change]
) -> dict[Change, TashiError | None]:
    """One after the other; a server that is lost on the way is not asked for the rest."""
    found: dict[Change, TashiError | None] = {}
    if not changes:
        return found
    try:
        with ops.omapi(world, context) as server:
            for change in changes:
                assert isinstance(change.entry, DhcpEntry)
                try:
                    (server.add if change.add else server.remove)(change.entry)
                    found[change] = None
                except Unreachable as error:
                    found[change] = error
                    break
                except TashiError as error:
                    found[change] = error
    except TashiError as error:
        return {change: found.get(change, error) for change in changes}
    left = OperationFailed("E-DHCP-DOWN", "not tried: the DHCP server was lost before")
    return {change: found.get(change, left) for change in changes}
