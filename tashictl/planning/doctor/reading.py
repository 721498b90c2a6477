"""Reads what a host answered to `doctor`: whatever it says, nothing raises."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
from msgspec import Struct

from tashictl.planning import facts
from tashictl.planning.facts import Reading
from tashictl.planning.frames import Section, sections

_NUMBER = re.compile(r"[0-9]{1,18}")


class Link(Struct, frozen=True, kw_only=True):
    """A network interface; `kind` is the kernel's (bridge, vlan, tun, veth, "" for a NIC).

    `carrier` is None where the kernel does not say. `addresses` are without their prefixes.
    """

    name: str
    kind: str = ""
    up: bool = False
    carrier: bool | None = None
    mtu: int = 0
    master: str = ""
    parent: str = ""
    vlan: int | None = None
    vlan_aware: bool = False
    addresses: tuple[str, ...] = ()

    @property
    def is_tap(self) -> bool:
        """Whether it is a VM's."""
        return self.kind == "tun" or self.name.startswith("tashi")


class Chain(Struct, frozen=True, kw_only=True):
    """A chain of the firewall that forwarded packets pass; `policy` is accept, drop or reject."""

    family: str
    table: str
    name: str
    policy: str
    rules: tuple[str, ...] = ()


class Ifup(Struct, frozen=True, kw_only=True):
    """A file ``qemu-ifup.N``: `mode` is octal with the owner's uid behind, as stat shows it."""

    there: bool = False
    executable: bool = False
    mode: str = ""
    text: str = ""


class Examined(Struct, frozen=True, kw_only=True):
    """What a host is like, beside `Reading`; `words` are single values by name.

    `began_s` is the host's clock when the script began. `links` is None where they could not be
    read, `firewall_by` names the tools that showed the chains.
    """

    reading: Reading
    began_s: int = 0
    words: dict[str, str] = {}
    profiles: tuple[str, ...] = ()
    sshd: dict[str, str] = {}
    links: dict[str, Link] | None = None
    firewall: tuple[Chain, ...] = ()
    firewall_by: tuple[str, ...] = ()
    ifups: dict[int, Ifup] = {}

    def number(self, word: str) -> int:
        """One of the `words` as a number, 0 where it is none."""
        return _number(self.words.get(word, ""))


def read(out: bytes, nonce: str, now: datetime) -> Examined | None:
    """Read the answer; None when it is cut short."""
    reading = facts.read(out, nonce, now)
    if reading is None:
        return None
    found = [s for s in sections(out, nonce) if s.kind == "B" and s.words]
    by_name = {s.words[0]: s for s in found}
    chains, tools = _firewall(_lines(by_name.get("firewall")))
    return Examined(
        reading=reading,
        began_s=_number(_pairs(by_name.get("basics")).get("time", "")),
        words=_pairs(by_name.get("doctor")),
        profiles=tuple(line for line in _lines(by_name.get("profiles")) if line),
        sshd=_pairs(by_name.get("sshd")),
        links=_links(by_name.get("links")),
        firewall=chains,
        firewall_by=tools,
        ifups={
            _number(s.words[1]): _ifup(s.text)
            for s in found
            if s.words[0] == "ifup" and s.words[1:]
        },
    )


def _lines(section: Section | None) -> list[str]:
    return section.text.splitlines() if section is not None else []


def _pairs(section: Section | None) -> dict[str, str]:
    """Key and value of each line; the first one of a key counts."""
    found: dict[str, str] = {}
    for line in _lines(section):
        key, _, value = line.partition(" ")
        if key:
            found.setdefault(key, value.strip())
    return found


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


# -- links


class _Info(Struct, frozen=True):
    id: int | None = None
    vlan_filtering: int = 0


class _LinkInfo(Struct, frozen=True):
    info_kind: str = ""
    info_data: msgspec.Raw = msgspec.Raw(b"{}")


class _Address(Struct, frozen=True):
    local: str = ""


class _IpLink(Struct, frozen=True):
    ifname: str = ""
    flags: list[str] = []
    mtu: int = 0
    operstate: str = ""
    master: str = ""
    link: str | None = None
    linkinfo: _LinkInfo = _LinkInfo()
    addr_info: list[_Address] = []


def _links(section: Section | None) -> dict[str, Link] | None:
    """What ``ip -j -d addr show`` says; each entry for itself, so that one cannot hide the rest."""
    try:
        entries = msgspec.json.decode(section.text if section else "", type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    found = (_link(entry) for entry in entries)
    return {link.name: link for link in found if link is not None}


def _link(entry: msgspec.Raw) -> Link | None:
    try:
        seen = msgspec.json.decode(entry, type=_IpLink)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not seen.ifname:
        return None
    info = _info(seen.linkinfo)
    return Link(
        name=seen.ifname,
        kind=seen.linkinfo.info_kind,
        up="UP" in seen.flags,
        carrier="LOWER_UP" in seen.flags if "UP" in seen.flags else None,
        mtu=seen.mtu,
        master=seen.master,
        parent=(seen.link or "") if seen.linkinfo.info_kind == "vlan" else "",
        vlan=info.id if seen.linkinfo.info_kind == "vlan" else None,
        vlan_aware=bool(info.vlan_filtering),
        addresses=tuple(a.local for a in seen.addr_info if a.local),
    )


def _info(linkinfo: _LinkInfo) -> _Info:
    try:  # kinds that do not matter here have keys of the same names and other types
        return msgspec.json.decode(linkinfo.info_data, type=_Info)
    except (msgspec.DecodeError, RecursionError):
        return _Info()


# -- the rest


def _firewall(lines: list[str]) -> tuple[tuple[Chain, ...], tuple[str, ...]]:
    chains: list[Chain] = []
    rules: list[list[str]] = []
    tools = []
    for line in lines:
        word, _, rest = line.partition(" ")
        parts = rest.split()
        if word == "by" and parts:
            tools.append(parts[0])
        elif word == "chain" and len(parts) == 4:
            family, table, name, policy = parts
            chains.append(Chain(family=family, table=table, name=name, policy=policy))
            rules.append([])
        elif word == "rule" and rules:
            rules[-1].append(rest)
    whole = (
        msgspec.structs.replace(chain, rules=tuple(own))
        for chain, own in zip(chains, rules, strict=True)
    )
    return tuple(whole), tuple(dict.fromkeys(tools))


def _ifup(text: str) -> Ifup:
    head, mark, rest = text.partition("text\n")
    if not mark:
        return Ifup()
    words = head.splitlines()
    mode = next((w.removeprefix("mode ") for w in words if w.startswith("mode ")), "")
    # The script ends the text with a line of its own: a file may lack its last line feed.
    content, _, _ = rest.rpartition(".\n")
    return Ifup(there=True, executable="executable" in words, mode=mode, text=content)
