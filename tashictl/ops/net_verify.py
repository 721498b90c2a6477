"""Prove that the networks of hosts work; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script
from tashictl.ops.context import Context
from tashictl.ops.net import Looked
from tashictl.ops.ports import World
from tashictl.planning.net import verify as plan
from tashictl.planning.net.propose import taps_of
from tashictl.planning.net.standing import UNKNOWN, WRONG, Row


class Verified(Struct, frozen=True, kw_only=True):
    """The rows, and the hosts that were not looked at."""

    rows: tuple[Row, ...] = ()
    errors: tuple[TashiError, ...] = ()


def verify(
    world: World,
    context: Context,
    looked: Mapping[str, Looked],
    networks: frozenset[str],
    hosts: Sequence[str],
) -> Verified:
    """Verify networks of these names on these hosts; `looked` are all that may answer."""
    vms = tuple(world.store.read().vms.values())
    found = {
        name: plan.Found(proposal=one.proposal, taps=taps_of(vms, name))
        for name, one in looked.items()
        if one.proposal is not None
    }
    mine = [found[h] for h in hosts if h in found]
    rows = list(plan.standing_rows(mine, networks))
    rows += [_unfit(h, looked[h].error) for h in hosts if looked[h].net and h not in found]
    asked = plan.probes(found.values(), networks, frozenset(hosts))
    rows += _ask(world, context, [looked[h].host for h in hosts if h in found], asked)
    unproved = plan.unprovable(mine, asked)
    rows += [row for row in unproved if row.network in networks]
    errors = tuple(e for h in hosts if looked[h].net is None and (e := looked[h].error) is not None)
    return Verified(rows=tuple(rows), errors=errors)


def _unfit(name: str, error: TashiError | None) -> Row:
    """A host that cannot be as the inventory says."""
    assert error is not None
    seen = error.what + (f": {error.cause}" if error.cause else "")
    return Row(host=name, check="inventory", verdict=WRONG, seen=seen, remedy=error.hint or "")


def _ask(
    world: World, context: Context, hosts: Iterable[HostConfig], asked: Iterable[plan.Probe]
) -> list[Row]:
    """Have each host carry its probes out, all hosts at once."""
    by_host: dict[str, list[plan.Probe]] = {}
    for probe in asked:
        by_host.setdefault(probe.host, []).append(probe)
    nonces = {name: world.dice.nonce() for name in by_host}
    rows: list[Row] = []

    def script_for(host: HostConfig) -> Script:
        return plan.script(by_host[host.name], nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        rows.extend(plan.judge(by_host[host.name], reply.out, nonces[host.name]))

    timeout_s = context.settings.tashictl.connect_timeout_s + plan.TIMEOUT_S
    world.remote.sweep([h for h in hosts if h.name in by_host], script_for, timeout_s, result)
    return rows


def wrong(rows: Iterable[Row]) -> int:
    """How many are wrong."""
    return sum(row.verdict == WRONG for row in rows)


def unknown(rows: Iterable[Row]) -> int:
    """How many could not be told."""
    return sum(row.verdict == UNKNOWN for row in rows)
