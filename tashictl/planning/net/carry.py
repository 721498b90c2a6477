"""What an interface's own stanzas say, divided: what goes along to the bridge, what stays there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.planning.net import stanzas
from tashictl.planning.net.stanzas import Stanza
from tashictl.planning.render import IFUP_MARK

TASHI = "/etc/network/interfaces.d/tashi"
COMMANDS = frozenset(("pre-up", "up", "post-up", "pre-down", "down", "post-down"))
# Options of the methods of inet and inet6 that are of addresses, not of the link.
_ADDRESS = frozenset(
    (
        *("address", "netmask", "broadcast", "network", "gateway", "metric", "pointopoint"),
        *("scope", "hostname", "leasetime", "lease", "vendor", "client", "accept_ra", "autoconf"),
        *("privext", "dhcp", "request_prefix", "ll-attempts", "ll-interval"),
        *("preferred-lifetime", "dad-attempts", "dad-interval", "bootfile", "server"),
    )
)
# What builds the VLANs and bridges that we build; and what is of the link, whatever its name.
_BUILDS = re.compile(
    r"(\S*/)?(brctl|vconfig|bridge)\b|.*\btype (bridge|vlan)\b|.*\b(no)?master\b"
    r"|(\S*/)?ifconfig \S+( 0\.0\.0\.0)?( (up|down|promisc|mtu \d+))*$"
)
_OF_LINK = re.compile(r".*\b(ethtool|tc|mii-tool|ifenslave|iw|iwconfig|ip (-\S+ )*l(ink)?)\b")
# What our own templates write into the stanza of a bridge, and of the uplink.
_OURS = re.compile(r"(ip link|bridge|test -d|for end in|sysctl -q -e -w net/ipv6/conf/)")
_OUR_MTU = re.compile(r"ip link set dev \$IFACE mtu \d+")


class Found(Struct, frozen=True, kw_only=True):
    """The stanzas of a host's files: the operator's, and those that we wrote."""

    theirs: tuple[Stanza, ...] = ()
    ours: tuple[Stanza, ...] = ()

    def of(self, name: str) -> tuple[Stanza, ...]:
        """The stanzas of an interface: the operator's, or else ours."""
        own = tuple(s for s in self.theirs if s.name == name)
        return own or tuple(s for s in self.ours if s.name == name)


def parted(text: str) -> tuple[str, str]:
    """What stands before the line with our mark (and the blank line before it), and the rest."""
    if text.startswith(IFUP_MARK):
        return "", text
    at = text.find("\n" + IFUP_MARK) + 1
    if not at:
        return text, ""
    own = text[:at]
    return (own[:-1] if own.endswith("\n\n") else own), text[at:]


def joined(own: str, ours: str) -> str:
    """One text of both, which `parted` parts again."""
    if not own or not ours:
        return own or ours
    return own + ("" if own.endswith("\n") else "\n") + "\n" + ours


def find(files: Mapping[str, str]) -> Found:
    """All stanzas that ifupdown would read, and ours even where it would not."""
    theirs: list[Stanza] = []
    ours: list[Stanza] = []
    for path in dict.fromkeys((*stanzas.sourced(files), TASHI)):
        own, written = parted(files.get(path, ""))
        theirs += stanzas.stanzas(own)
        ours += stanzas.stanzas(written)
    known = (*theirs, *ours)
    return Found(
        theirs=tuple(stanzas.resolved(s, known) for s in theirs),
        ours=tuple(stanzas.resolved(s, known) for s in ours),
    )


def bridges_of(found: Iterable[Stanza], port: str) -> frozenset[str]:
    """The bridges that `port` is put into, in the words of any style."""
    adds = re.compile(rf"(?:\S*/)?brctl addif (\S+) {re.escape(port)}")
    names = set()
    for one in found:
        if port in one.option("bridge_ports", "bridge-ports").split():
            names.add(one.name)
        names |= {m[1] for k, v in one.options if k in COMMANDS and (m := adds.fullmatch(v))}
    return frozenset(names)


def addresses(found: Iterable[Stanza], device: str, *, ours: bool = False) -> tuple[Stanza, ...]:
    """What these stanzas say of addresses, for `device`, which takes the place of their own."""
    kept = []
    for one in found:
        pairs = tuple(_address_options(one, device, ours=ours))
        if pairs or one.method not in ("manual", ""):
            kept.append(replace(one, name=device, inherits="", options=pairs))
    return tuple(kept)


def _address_options(one: Stanza, device: str, *, ours: bool) -> Iterator[tuple[str, str]]:
    for key, value in one.options:
        if key in COMMANDS:
            if _of_addresses(value) and not (ours and _OURS.match(value)):
                yield key, _renamed(value, one.name, device)
        elif key in _ADDRESS or key.startswith("dns-"):
            yield key, value


def link_options(found: Iterable[Stanza]) -> tuple[tuple[str, str], ...]:
    """What these stanzas say of the link itself; it stays where it is."""
    pairs = []
    for one in found:
        for key, value in one.options:
            if key in COMMANDS:
                if _OUR_MTU.fullmatch(value):
                    continue
                if not _BUILDS.match(value) and _OF_LINK.match(value):
                    pairs.append((key, value))
            elif key not in _ADDRESS and not key.startswith(("dns-", "bridge_", "bridge-", "vlan")):
                pairs.append((key, value))
    return tuple(dict.fromkeys(pairs))


def _of_addresses(command: str) -> bool:
    return not _BUILDS.match(command) and not _OF_LINK.match(command)


def _renamed(command: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w-]|\.\d)", new, command)
