"""What a person sees of a change of a host's network: summary, live changes, file diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

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
_GAP, _WIDTH = "     ", 100
_WAITS = ("armed", "applying", "applied")


def summary(proposal: Proposal) -> str:
    """One line: what comes, goes and changes."""
    return _GAP.join(_parts(proposal))


def _parts(proposal: Proposal) -> list[str]:
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
                comes.append(f"{cidr} on {device}")
            case DropAddress(device=device, cidr=cidr):
                goes.append(f"{cidr} from {device}")
            case _:
                continue
    parts = [
        f"{sign} {', '.join(some)}"
        for sign, some in (("+", comes), ("-", goes), ("~", becomes))
        if some
    ]
    files = len(proposal.files)
    parts += [f"{files} file{'s' if files > 1 else ''}"] if files else []
    taps = sum(link.name.startswith("tashi") for link in proposal.picture.links)
    parts += [f"{taps} TAP{'s stay' if taps > 1 else ' stays'}"] if taps and parts else []
    return parts or ["nothing differs"]


def _heading(proposal: Proposal) -> Iterator[str]:
    """The host and its summary, in as many lines as it needs."""
    line = text.visible(proposal.host) + "  "
    indent = " " * text.cells_of(line)
    for number, part in enumerate(map(text.visible, _parts(proposal))):
        if number and text.cells_of(line + _GAP + part) > _WIDTH:
            yield line
            line = indent + part
        else:
            line += (_GAP if number else "") + part
    yield line


def difference(proposal: Proposal, paint: text.Paint) -> Iterator[str]:
    """The lines of a host's differences: the summary, then live ones, then the files."""
    yield from _heading(proposal)
    yield from live(proposal.forward, paint)
    for file in proposal.files:
        for line in text.visible_lines(file_diff(file, proposal.net)):
            yield "  " + paint(_colour(line), line)


def live(changes: Iterable[AnyChange], paint: text.Paint) -> Iterator[str]:
    """The live changes, a line each."""
    for change in changes:
        line = text.visible(words(change))
        yield "  " + paint(_colour(line), line)


def _colour(line: str) -> str:
    """Of a line of a diff; the names of its files are no change."""
    return "dim" if line.startswith(("--- ", "+++ ")) else _COLOURS.get(line[:1], "")


def pending(host: str, found: Pending, now: datetime) -> str:
    """One line about a change in flight, or the last one; times are in the zone of `now`."""
    began = _clock(text.read_time(found.since), now) or found.since
    by = f", by {found.who} at {began}" if found.who else f", at {began}"
    if found.active:
        at = _clock(now + timedelta(seconds=max(0.0, found.left_s)), now)
        end = f"; goes back by itself at {at} unless confirmed"
        end = end if found.stage in _WAITS else ""
        if not found.alive:
            end = "; its timer has died: net rollback takes it back"
        return text.visible(f"{host}  {found.stage}{by}{end}")
    why = why_back(found.detail)
    return text.visible(f"{host}  {found.stage}{f' ({why})' if why else ''}{by}")


def _clock(when: datetime | None, now: datetime) -> str:
    if when is None:
        return ""
    local = when.astimezone(now.tzinfo)
    return f"{local:%H:%M:%S}" if local.date() == now.date() else f"{local:%Y-%m-%d %H:%M:%S}"


def record(proposal: Proposal) -> dict[str, object]:
    """A host's differences for programs."""
    return {
        "host": proposal.host,
        "style": proposal.layout.style,
        "live": [words(c) for c in proposal.forward],
        "files": [{"path": f.path, "diff": file_diff(f, proposal.net)} for f in proposal.files],
    }
