"""Networks of hosts: look at them, and hold them against the inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import OperationFailed, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.net import HostNet
from tashictl.model.script import Reply, Script
from tashictl.ops import answers
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning.net import look as plan
from tashictl.planning.net.propose import Proposal, Wanted, propose, taps_of

_LATE = 124  # of timeout
Templates = Callable[[str], Mapping[str, str]]


class Looked(Struct, frozen=True, kw_only=True):
    """What a look at one host gave: what is there and what is proposed, or the error.

    `seconds` is how long it took, from nothing to the answer.
    """

    host: HostConfig
    net: HostNet | None = None
    proposal: Proposal | None = None
    error: TashiError | None = None
    seconds: float = 0.0


def net_dir(context: Context) -> str:
    """The folder on a host where changes in flight lie."""
    return f"{context.settings.tashictl.run_dir}/net"


def look(world: World, context: Context, hosts: Iterable[HostConfig]) -> dict[str, Looked]:
    """Look at the networks of hosts at once; what fails has an error."""
    nonces: dict[str, str] = {}
    found: dict[str, Looked] = {}
    asked = tuple(hosts)
    began_s = world.clock.monotonic_s()

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        etc = context.settings.tashictl.etc_dir
        return plan.script(net_dir(context), etc, nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        # With the login, which on a slow host takes longer than the look.
        seconds = world.clock.monotonic_s() - began_s
        found[host.name] = _looked(host, reply, nonces.get(host.name), seconds)

    timeout_s = context.settings.tashictl.connect_timeout_s + plan.TIMEOUT_S
    world.remote.sweep(asked, script_for, timeout_s, result)
    return {h.name: found[h.name] for h in asked}


def _looked(host: HostConfig, reply: Reply, nonce: str | None, seconds: float) -> Looked:
    net = plan.read(reply.out, nonce) if nonce is not None else None
    if net is not None:
        return Looked(host=host, net=net, seconds=seconds)
    if reply.fault is not None:
        return Looked(host=host, error=answers.unreachable(host.name, reply))
    late = reply.rc == _LATE
    said = reply.err.decode("utf-8", "replace").strip()[-300:] or f"exit {reply.rc}"
    error = OperationFailed(
        "E-NET-LOOK",
        f"{host.name} gave no full answer about its network",
        cause=f"it took longer than {plan.TIMEOUT_S} s" if late else said,
        hint="try again when it has less to do"
        if late
        else "iproute2 with JSON (ip -j) is needed there",
        host=host.name,
    )
    return Looked(host=host, error=error)


def held_against(
    world: World,
    context: Context,
    looked: Mapping[str, Looked],
    templates: Templates,
    style: str | None = None,
) -> dict[str, Looked]:
    """What was looked at, with a proposal for each host, or why there is none."""
    vms = world.store.read().vms.values()
    found = {}
    for name, one in looked.items():
        if one.net is None:
            found[name] = one
            continue
        wanted = Wanted(
            host=one.host,
            networks=context.inventory.networks,
            templates=templates(name),
            taps=taps_of(vms, name),
            style=style,
        )
        try:
            proposal = propose(wanted, one.net)
        except TashiError as error:
            found[name] = replace(one, error=error)
            continue
        found[name] = replace(one, proposal=proposal)
    return found
