"""Whether networks work: what a look shows, what each host is asked, how answers are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface

from msgspec import Struct

from tashictl.model.net import Picture, Strand
from tashictl.model.script import Script
from tashictl.planning.frames import sections
from tashictl.planning.net import standing
from tashictl.planning.net.propose import Proposal
from tashictl.planning.net.standing import OK, UNKNOWN, WRONG, Row
from tashictl.planning.shell import quote, read_only

TIMEOUT_S = 40
_HEADERS = {False: 28, True: 48}  # of IP and ICMP, in bytes
_MTU = 1500

# All at once, each answer by one write; a host whose ping knows no -M do says so.
_WORDS = r"""
has() { command -v "$1" >/dev/null; }
end() { say B probe "$@"; }
reach() { # number, interface, address
  if ping -n -c 1 -W 2 -I "$2" "$3" >/dev/null 2>&1 || ping -n -c 2 -W 3 -I "$2" "$3" \
    >/dev/null 2>&1; then end "$1" ok; else end "$1" silent; fi; }
whole() { # number, interface, address, bytes
  ping -n -M do -c 1 -W 1 -s 8 -I "$2" "$3" >/dev/null 2>&1 || {
    ping -n -c 1 -W 2 -I "$2" "$3" >/dev/null 2>&1 && end "$1" unable || end "$1" unreached
    return; }
  if ping -n -M do -c 3 -W 3 -s "$4" -I "$2" "$3" >/dev/null 2>&1
  then end "$1" ok; else end "$1" silent; fi; }
heard() { # number, interface, address, words for an answer and for none
  has arping || { end "$1" unable; return; }
  arping -q -D -c 3 -w 4 -I "$2" "$3" >/dev/null 2>&1
  case $? in 0) end "$1" "$5" ;; 1) end "$1" "$4" ;; *) end "$1" unable ;; esac; }
gateway() { # number, interface, address
  if ping -n -c 2 -W 3 -I "$2" "$3" >/dev/null 2>&1 \
    || ip neigh show "$3" dev "$2" | grep -v -e FAILED -e INCOMPLETE | grep -q lladdr
  then end "$1" ok; else end "$1" silent; fi; }
"""


class Probe(Struct, frozen=True, kw_only=True):
    """One question that `host` is asked about a network; `words` are a command of the script.

    `other` is the host that should answer, "" for what is not a host.
    """

    host: str
    strand: Strand
    check: str
    words: tuple[str, ...]
    other: str = ""


class Found(Struct, frozen=True, kw_only=True):
    """One host: what it should be, and what its TAPs should hang on."""

    proposal: Proposal
    taps: Mapping[str, int] = {}


def standing_rows(found: Iterable[Found], networks: frozenset[str]) -> Iterator[Row]:
    """What the looks alone show; for networks of these names."""
    for one in found:
        yield from standing.host(one.proposal)
        for strand in one.proposal.layout.strands:
            if strand.network.name in networks:
                yield from standing.strand(one.proposal, strand, one.taps)


def probes(
    found: Iterable[Found], networks: frozenset[str], asked: frozenset[str]
) -> tuple[Probe, ...]:
    """What to ask the hosts `asked` of networks of these names; other hosts may be who answers."""
    on: dict[str, list[tuple[Proposal, Strand]]] = {}
    for one in found:
        for strand in one.proposal.layout.strands:
            if strand.network.name in networks:
                on.setdefault(strand.network.name, []).append((one.proposal, strand))
    return tuple(
        probe
        for members in on.values()
        for number, (proposal, strand) in enumerate(members)
        if proposal.host in asked
        for probe in _of_member(proposal, strand, members[number + 1 :] + members[:number])
    )


def unprovable(found: Iterable[Found], asked: Iterable[Probe]) -> Iterator[Row]:
    """Networks of which no host was asked anything that another could answer."""
    reached = {(p.host, p.strand.network.id) for p in asked if p.check == "reach"}
    for one in found:
        for strand in one.proposal.layout.strands:
            if (one.proposal.host, strand.network.id) not in reached:
                yield _row(
                    one.proposal.host, strand, "reach", UNKNOWN, "not provable: no host address", ""
                )


def _of_member(
    proposal: Proposal, strand: Strand, others: list[tuple[Proposal, Strand]]
) -> Iterator[Probe]:
    """The next host with an address is asked for; a ring of them proves all."""
    host, picture = proposal.host, proposal.net.picture
    own = addresses(picture, strand.holder)
    device = quote(strand.holder)

    def probe(check: str, *words: str, other: str = "") -> Probe:
        return Probe(host=host, strand=strand, check=check, words=words, other=other)

    link = picture.link(strand.bridge)
    if link is None or not link.up:
        return
    for address in own:
        if ":" not in address:
            yield probe("duplicate", "heard", device, address.partition("/")[0], "taken", "ok")
    mtu = strand.network.mtu or _MTU
    seen: set[bool] = set()
    for other, theirs in others:
        for address in addresses(other.net.picture, theirs.holder):
            v6 = ":" in address
            plain = address.partition("/")[0]
            if v6 in seen:
                continue
            if _near(address, own):
                seen.add(v6)
                yield probe("reach", "reach", device, plain, other=other.host)
                size = str(mtu - _HEADERS[v6])
                yield probe("mtu", "whole", device, plain, size, other=other.host)
            elif not own and not v6:
                seen.add(v6)
                on = quote(strand.bridge if strand.holder == strand.bridge else strand.holder)
                yield probe("reach", "heard", on, plain, "ok", "silent", other=other.host)
    for gateway in (strand.network.gateway, strand.network.gateway6):
        if gateway and _near(f"{gateway}/{128 if ':' in gateway else 32}", own):
            yield probe("gateway", "gateway", device, gateway)


def addresses(picture: Picture, device: str) -> tuple[str, ...]:
    """The host's own addresses on an interface; of IPv6, those that stay."""
    link = picture.link(device)
    if link is None:
        return ()
    return tuple(a.cidr for a in link.addresses if not (a.v6 and a.dynamic))


def _near(address: str, own: Iterable[str]) -> bool:
    """Whether an address lies in the subnet of one of these."""
    plain = ip_interface(address).ip
    return any(plain in ip_interface(o).network for o in own)


def script(asked: Iterable[Probe], nonce: str) -> Script:
    """The probes of one host; it changes nothing."""
    lines = [" ".join((p.words[0], str(n), *p.words[1:])) + " &" for n, p in enumerate(asked)]
    text = read_only(nonce, _WORDS + "\n".join((*lines, "wait")) + "\n")
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def judge(asked: Iterable[Probe], out: bytes, nonce: str) -> Iterator[Row]:
    """What the answers mean; what was not answered is unknown."""
    said = {
        s.words[1]: s.words[2]
        for s in sections(out, nonce)
        if s.kind == "B" and len(s.words) == 3 and s.words[0] == "probe"
    }
    for number, probe in enumerate(asked):
        yield _judged(probe, said.get(str(number), ""))


_UNABLE = {
    "mtu": ("its ping has no -M do", "apt-get install iputils-ping there"),
    "reach": ("no host address, and no arping there", "apt-get install iputils-arping there"),
    "duplicate": ("no arping there", "apt-get install iputils-arping there"),
}


def _judged(probe: Probe, said: str) -> Row:
    network, words = probe.strand.network, probe.words
    tag = f"VLAN {network.vlan}" if network.vlan is not None else "the untagged VLAN"
    if said == "unable":
        return _row(probe.host, probe.strand, probe.check, UNKNOWN, *_UNABLE[probe.check])
    if said in ("", "unreached"):
        seen = f"{probe.other} does not answer" if said else "no answer from the host in time"
        return _row(probe.host, probe.strand, probe.check, UNKNOWN, seen, "")
    good = said == "ok"
    verdict, remedy = OK if good else WRONG, ""
    match probe.check:
        case "reach":
            seen = f"{probe.other} ({words[2]}) {'answers' if good else 'does not answer'}"
            remedy = f"{tag} on the switch ports of {probe.host} and {probe.other}, and between"
        case "mtu":
            size = network.mtu or _MTU
            seen = f"{size} bytes {'reach' if good else 'do not reach'} {probe.other} whole"
            remedy = f"mtu {size} on each switch port between, or a smaller mtu: of {network.name}"
        case "duplicate":
            seen = f"{words[2]} {'is its alone' if good else 'is used by another machine, too'}"
            remedy = f"give that machine another address; who: arping -I {words[1]} {words[2]}"
        case _:
            seen = f"{words[2]} {'answers' if good else 'does not answer'}"
            remedy = f"is it up and in {tag}? else gateway: of {network.name}"
    return _row(probe.host, probe.strand, probe.check, verdict, seen, "" if good else remedy)


def _row(host: str, strand: Strand, check: str, verdict: str, seen: str, remedy: str) -> Row:
    network = strand.network
    return Row(
        number=network.id, network=network.name, host=host,
        check=check, verdict=verdict, seen=seen, remedy=remedy,
    )  # fmt: skip
