"""Whether a change may be made on a host at all: its tools, what manages it, what is in flight."""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.errors import Conflict, InvalidRequest, TashiError
from tashictl.planning.net.propose import Proposal

_LEGACY_TOOLS = ("ifup", "vconfig", "brctl", "ifconfig")
_MANAGERS = {"ifupdown": "ifupdown", "legacy": "ifupdown", "networkd": "networkd"}


def refusals(proposal: Proposal) -> Iterator[TashiError]:
    """Why the change is refused, each with the next step; nothing was sent yet."""
    net, name, style = proposal.net, proposal.host, proposal.layout.style
    pending = net.pending
    if pending is not None and pending.active:
        left = f"{max(0, round(pending.left_s))} s left"
        if not pending.alive:
            left = "its timer has died, so that it does not go back by itself"
        yield Conflict(
            "E-NET-BUSY",
            f"{name}: a change of its network is in flight",
            cause=f"by {pending.who} since {pending.since}, {pending.stage}, {left}",
            hint=f"tashictl net confirm {name}, or net rollback {name}",
            host=name,
        )
    wants = _MANAGERS.get(style, style)
    if net.manager not in ("", wants):
        hint = f"style: {net.manager} for {name}"
        if net.manager in ("netplan", "NetworkManager"):
            hint = f"let {net.manager} go and use ifupdown or networkd there"
        yield InvalidRequest(
            "E-MANAGER",
            f"{name}: its network is set up by {net.manager}, not by {wants}",
            cause=f"the files of style {style} would not be read at the next boot",
            hint=hint,
            host=name,
        )
    lacking = [t for t in _LEGACY_TOOLS if t not in net.tools] if style == "legacy" else []
    if lacking:
        yield InvalidRequest(
            "E-STYLE",
            f"{name} has no {', '.join(lacking)}, which files of style legacy call at boot",
            hint=f"style: ifupdown for {name}; or apt-get install ifupdown vlan bridge-utils "
            "net-tools there",
            host=name,
        )
    for device in _leases_of_networkd(proposal):
        yield InvalidRequest(
            "E-DHCP",
            f"{name}: systemd-networkd has to ask for the lease of {device} itself",
            cause="it does so when its files say so, and they are written after the proof only",
            hint=f"a fixed address (host_addresses: [NETWORK=ADDRESS/LENGTH]); or at the console: "
            f"the files of `tashictl net render {name}`, then a reboot",
            host=name,
        )


def _leases_of_networkd(proposal: Proposal) -> Iterator[str]:
    """Interfaces that have to get a lease, or to take one over, from networkd."""
    if proposal.layout.style != "networkd":
        return
    for strand in proposal.layout.strands:
        leased = {
            device: link is not None and any(a.dynamic and not a.v6 for a in link.addresses)
            for device in (strand.port, strand.holder)
            for link in (proposal.net.picture.link(device),)
        }
        moves = strand.address == "" and strand.port != strand.holder and leased[strand.port]
        if moves or (strand.address == "dhcp" and not leased[strand.holder]):
            yield strand.holder
