"""Leases and names in the folders that a dnsmasq reads, on one of our hosts."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.errors import InvalidRequest, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.naming import DhcpEntry
from tashictl.ops import answers
from tashictl.ops.context import Context, may_begin_s
from tashictl.ops.ports import World
from tashictl.planning import dnsmasq

_SLACK_S = 15.0


def change(
    world: World, context: Context, changes: Sequence[tuple[DhcpEntry, bool]]
) -> list[TashiError | None]:
    """Add (True) or remove entries in one script; None for each that is done, else why not.

    Raises InvalidRequest without a server, Unreachable and Uncertain as a script does.
    """
    host = server(context)
    settings = context.settings
    script = dnsmasq.script(changes, settings, world.dice.nonce(), _not_after(world, context, host))
    allowance_s = settings.tashictl.connect_timeout_s + script.timeout_s + _SLACK_S
    reply = world.remote.run(host, script, world.clock.monotonic_s() + allowance_s)
    if reply.fault is not None and not reply.sent:
        raise answers.unreachable(host.name, reply)
    results = dnsmasq.read(reply.out, script.nonce, changes, settings, host.name)
    if results is None:
        raise answers.no_answer(host.name, reply)
    return results


def _not_after(world: World, context: Context, host: HostConfig) -> int:
    record = world.store.read().hosts.get(host.name)
    offset_s = record.facts.clock_offset_s if record and record.facts else 0.0
    allowance_s = may_begin_s(context.settings.tashictl, dnsmasq.LOCK_WAIT_S)
    return int(world.clock.now().timestamp() + offset_s + allowance_s)


def server(context: Context) -> HostConfig:
    """The host that runs it; raises InvalidRequest E-DNSMASQ-HOST where none is known."""
    name = context.settings.dhcp.dnsmasq_host
    host = context.inventory.host(name) if name else None
    if host is None:
        raise InvalidRequest(
            "E-DNSMASQ-HOST",
            f"no host {name!r} to find dnsmasq on" if name else "no host with a dnsmasq is known",
            cause="a network has dhcp: dnsmasq, and [DhcpDns] dnsmasqHost names no host of the "
            "inventory",
            hint="dnsmasqHost = HOST, dnsmasqHostsDir = its dhcp-hostsdir",
        )
    return host
