"""What DHCP servers have, as far as they can be asked."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.errors import InvalidRequest, NotPermitted, OperationFailed, TashiError
from tashictl.model.audit import DhcpHost, DhcpSeen, Unseen
from tashictl.model.host import HostConfig
from tashictl.model.naming import DhcpEntry
from tashictl.model.script import Reply
from tashictl.model.state import State
from tashictl.ops import answers, naming_dnsmasq
from tashictl.ops import naming as ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import dnsmasq_look, naming
from tashictl.planning.audit import places

_SLACK_S = 15.0


def look(world: World, context: Context, state: State) -> tuple[list[DhcpSeen], list[Unseen]]:
    """The hosts of every DHCP server that is used, and what could not be had."""
    seen: list[DhcpSeen] = []
    unseen: list[Unseen] = []
    for driver in places.drivers(context.inventory.networks, state):
        try:
            if driver == naming.DNSMASQ:
                seen.append(_dnsmasq(world, context))
            elif driver == naming.OMAPI:
                found, partly = _dhcpd(world, context, state)
                seen.append(found)
                unseen += partly
            else:
                raise InvalidRequest("E-DHCP-DRIVER", f"dhcp: {driver} cannot be looked at yet")
        except TashiError as error:
            unseen.append(Unseen(source=f"dhcp {driver}", error=error))
    return seen, unseen


def _dnsmasq(world: World, context: Context) -> DhcpSeen:
    host = naming_dnsmasq.server(context)
    script = dnsmasq_look.listing(context.settings, world.dice.nonce())
    reply = _run(world, context, host, script)
    folders = dnsmasq_look.read(reply.out, script.nonce)
    if folders is None:
        raise answers.no_answer(host.name, reply)
    named = bool(context.settings.dhcp.dnsmasq_names_dir)
    return DhcpSeen(
        driver=naming.DNSMASQ,
        server=f"dnsmasq on {host.name}",
        hosts=places.dnsmasq_hosts(folders, named=named),
    )
