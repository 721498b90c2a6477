"""What a look alone shows of a host's networks: links, addresses, TAPs and files as they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from tashictl.model.net import Picture, Strand
from tashictl.planning.net.propose import Proposal
from tashictl.planning.net.text import words

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"


class Row(Struct, frozen=True, kw_only=True):
    """One thing that was checked.

    `network` is "" and `number` 0 for what is of the whole host; `verdict` is ok, wrong or unknown.
    """

    number: int = 0
    network: str = ""
    host: str
    check: str
    verdict: str
    seen: str = ""
    remedy: str = ""


def host(proposal: Proposal) -> Iterator[Row]:
    """The carrier of the uplink; the live state and the files against what is wanted."""
    name, layout = proposal.host, proposal.layout
    if any(s.network.mode == "bridge" for s in layout.strands):
        link = proposal.net.picture.link(layout.uplink)
        if link is None or not link.up:
            seen = f"{layout.uplink} is {'down' if link else 'not there'}"
            yield Row(host=name, check="carrier", verdict=WRONG, seen=seen, remedy=_apply(name))
        else:
            good = link.carrier
            yield Row(
                host=name, check="carrier", verdict=OK if good else WRONG,
                seen=f"{layout.uplink} has {'a' if good else 'no'} carrier",
                remedy="" if good else f"the cable of {layout.uplink}, and its switch port",
            )  # fmt: skip
    yield _live(proposal)
    yield _files(proposal)


def _live(proposal: Proposal) -> Row:
    some = [words(c) for c in proposal.forward]
    more = f" and {len(some) - 1} more" if len(some) > 1 else ""
    return Row(
        host=proposal.host, check="live", verdict=WRONG if some else OK,
        seen=f"lacks {some[0]!r}{more}" if some else "as the inventory says",
        remedy=_apply(proposal.host) if some else "",
    )  # fmt: skip


def _files(proposal: Proposal) -> Row:
    paths = [f.path for f in proposal.files]
    if not paths:
        return Row(host=proposal.host, check="files", verdict=OK, seen="as they are rendered")
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    lost = "" if proposal.forward else "; live all is right, until the next boot"
    verb = "differ" if len(paths) > 1 else "differs"
    return Row(
        host=proposal.host, check="files", verdict=WRONG,
        seen=f"{paths[0]}{more} {verb}{lost}", remedy=_apply(proposal.host),
    )  # fmt: skip


def strand(proposal: Proposal, one: Strand, taps: Mapping[str, int]) -> Iterator[Row]:
    """A network on a host: its bridge, the port in it, the host's address, the TAPs."""
    picture, name = proposal.net.picture, proposal.host

    def row(check: str, wrong: str, right: str) -> Row:
        return Row(
            number=one.network.id, network=one.network.name, host=name, check=check,
            verdict=WRONG if wrong else OK, seen=wrong or right,
            remedy=_apply(name) if wrong else "",
        )  # fmt: skip

    yield row("bridge", _bridge(picture, one.bridge), f"{one.bridge} is up")
    yield row("port", _port(picture, one), f"{one.port} is in {one.bridge}")
    wanted = [a for a in (one.address, one.address6) if a not in ("", "none", "auto")]
    if wanted:
        link = picture.link(one.holder)
        has = [a.cidr for a in link.addresses] if link is not None else []
        lacking = [a for a in wanted if a not in has and not (a == "dhcp" and has)]
        said = ", ".join(has) or "none"
        yield row("address", f"no {lacking[0]}; it has {said}" if lacking else "", said)
    mine = [t for t, number in taps.items() if number == one.network.id and picture.link(t)]
    if mine:
        astray = [t for t in mine if not _is_in(picture, t, one.bridge)]
        where = f"{', '.join(astray)} not in {one.bridge}" if astray else ""
        yield row("taps", where, f"{len(mine)} in {one.bridge}")


def _bridge(picture: Picture, name: str) -> str:
    link = picture.link(name)
    if link is None:
        return f"{name} is not there"
    if link.kind != "bridge":
        return f"{name} is no bridge"
    return "" if link.up else f"{name} is down"


def _port(picture: Picture, one: Strand) -> str:
    link = picture.link(one.port)
    if link is None:
        return f"{one.port} is not there"
    if link.master != one.bridge:
        return f"{one.port} is in {link.master or 'no bridge'}"
    return "" if link.up else f"{one.port} is down"


def _is_in(picture: Picture, name: str, bridge: str) -> bool:
    link = picture.link(name)
    return link is not None and link.master == bridge


def _apply(name: str) -> str:
    return f"tashictl net apply {name}"
