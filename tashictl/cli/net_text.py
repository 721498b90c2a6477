"""What a person sees of a change of a host's network: summary, live changes, file diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tashictl.cli import text
from tashictl.model.net import Pending
from tashictl.model.net_change import (
    AddAddress,
    AnyChange,
    DropAddress,
    DropLink,
    MakeLink,
    SetMaster,
    SetMtu,
)
from tashictl.planning.net.propose import Proposal, file_diff
from tashictl.planning.net.text import why_back, words

_COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "dim"}


def summary(proposal: Proposal) -> str:
    """One line: what comes, goes and changes."""
    comes, goes, becomes = [], [], []
    old = {link.name: link for link in proposal.net.picture.links}
    for change in proposal.forward:
        match change:
            case MakeLink(link=link):
                mtu = f" (mtu {link.mtu})" if link.kind == "bridge" else ""
                comes.append(f"{link.kind} {link.name}{mtu}")
            case DropLink(name=name):
                goes.append(name)
            case SetMtu(name=name, mtu=size) if name in old:
                becomes.append(f"{name} mtu {old[name].mtu} → {size}")
            case SetMaster(name=name, master=str(master)) if name in old:
                becomes.append(f"{name} joins {master}")
            case AddAddress(device=device, cidr=cidr):
                becomes.append(f"{device} + {cidr}")
            case DropAddress(device=device, cidr=cidr):
                becomes.append(f"{device} - {cidr}")
            case _:
                continue
    parts = [
        f"{sign} {', '.join(some)}"
        for sign, some in (("+", comes), ("-", goes), ("~", becomes))
        if some
    ]
    parts += [f"{len(proposal.files)} files"] if proposal.files else []
    taps = sum(link.name.startswith("tashi") for link in proposal.picture.links)
    parts += [f"{taps} TAPs stay"] if taps else []
    return "     ".join(parts) or "nothing differs"


def difference(proposal: Proposal, paint: text.Paint) -> Iterator[str]:
    """The lines of a host's differences: live first, then the files."""
    if proposal.clean:
        yield f"{proposal.host}: nothing differs"
        return
    yield f"{proposal.host}:"
    yield from live(proposal.forward, paint)
    for file in proposal.files:
        for line in text.visible_lines(file_diff(file, proposal.net)):
            yield "  " + paint(_COLOURS.get(line[:1], ""), line)


def live(changes: Iterable[AnyChange], paint: text.Paint) -> Iterator[str]:
    """The live changes, a line each."""
    for change in changes:
        line = text.visible(words(change))
        yield "  " + paint(_COLOURS.get(line[:1], ""), line)


def pending(host: str, found: Pending) -> str:
    """One line about a change in flight."""
    left = f", goes back in {max(0, round(found.left_s))} s" if found.active else ""
    why = f" ({why_back(found.detail)})" if found.detail and not found.active else ""
    return f"{host}: {found.stage}{why}, by {found.who} since {found.since}{left}"


def record(proposal: Proposal) -> dict[str, object]:
    """A host's differences for programs."""
    return {
        "host": proposal.host,
        "style": proposal.layout.style,
        "live": [words(c) for c in proposal.forward],
        "files": [{"path": f.path, "diff": file_diff(f, proposal.net)} for f in proposal.files],
    }
