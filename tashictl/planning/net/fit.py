"""Whether a change may be made on a host at all: its tools, what manages it, what is in flight."""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.errors import Conflict, InvalidRequest, TashiError
from tashictl.planning.net import lease, render_networkd, units
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
    yield from _leases(proposal)


def _leases(proposal: Proposal) -> Iterator[TashiError]:
    """Leases of networkd that would not come, or could not be had again."""
    layout, net, name = proposal.layout, proposal.net, proposal.host
    if layout.style != "networkd":
        return

    def refused(what: str, cause: str, hint: str) -> InvalidRequest:
        return InvalidRequest("E-DHCP", f"{name}: {what}", cause=cause, hint=hint, host=name)

    for port in lease.stranded(layout, net):
        yield refused(
            f"{port} would lose its lease",
            "it joins a VLAN-aware bridge, on which no network is without a tag",
            "a network without `vlan` on the same bridge, which takes the lease over",
        )
    texts = {f.path: f.text or "" for f in proposal.files}
    for device in proposal.told.devices:
        text = texts.get(render_networkd.path(device))
        if text is None:
            yield refused(
                f"networkd would not give up the lease of {device}",
                f"{render_networkd.path(device)} says so already and networkd has not read it, so "
                "that there is no way back",
                "networkctl reload, or a reboot, at its console",
            )
        elif device in proposal.told.gains and not units.asks(text):
            yield refused(
                f"{device} would not get the lease of its port",
                f"the file that asks for it is not in {render_networkd.FOLDER}",
                "host_address: dhcp for that network",
            )
