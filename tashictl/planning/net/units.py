"""The language of systemd-networkd's files, systemd.network(5): read, and chosen as it chooses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tashictl.planning.net import globs

FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network")
Options = tuple[tuple[str, str], ...]


class Section(NamedTuple):
    """A section with its options in their order; a key may be there several times."""

    name: str
    options: Options


def sections(text: str) -> tuple[Section, ...]:
    """The sections of a file, also those that are there several times."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = line.strip()
        if words.startswith("[") and words.endswith("]"):
            found.append((words[1:-1], []))
        elif found and "=" in words and words[0] not in "#;":
            key, _, value = words.partition("=")
            found[-1][1].append((key.strip(), value.strip()))
    return tuple(Section(name, tuple(options)) for name, options in found)


def values(text: str, section: str, key: str) -> tuple[str, ...]:
    """All words of a key; an empty value empties what stands before it."""
    words: list[str] = []
    for name, options in sections(text):
        for each, value in options:
            if (name, each) == (section, key):
                words = [*words, *value.split()] if value else []
    return tuple(words)


def chosen(files: Mapping[str, str], interface: str) -> str:
    """The path of the .network file that networkd takes for an interface of the hardware, or ""."""
    return next((p for p in in_order(files) if _matches(files[p], interface)), "")


def in_order(files: Mapping[str, str]) -> Iterator[str]:
    """The .network files by name, as networkd reads them; one in /etc hides its namesakes."""
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        for path in files:
            where, _, name = path.rpartition("/")
            if where == folder and name.endswith(".network"):
                by_name.setdefault(name, path)
    return (by_name[name] for name in sorted(by_name))


def dropins(files: Mapping[str, str], path: str) -> tuple[str, ...]:
    """The paths of the drop-ins of a file, by name."""
    name = path.rpartition("/")[2]
    folders = tuple(f"{folder}/{name}.d/" for folder in FOLDERS)
    found = [p for p in files if p.startswith(folders) and p.endswith(".conf")]
    return tuple(sorted(found, key=lambda p: p.rpartition("/")[2]))


def is_for_one(text: str, interface: str) -> bool:
    """Whether its [Match] names this interface and no other."""
    keys = {k for s in sections(text) if s.name == "Match" for k, _ in s.options}
    return keys == {"Name"} and values(text, "Match", "Name") == (interface,)


def names(text: str, interface: str) -> bool:
    """Whether its [Match] names this interface in full."""
    return interface in values(text, "Match", "Name")


def asks(text: str) -> bool:
    """Whether a file has DHCP give an address of IPv4."""
    return values(text, "Network", "DHCP")[-1:] in (("yes",), ("true",), ("ipv4",))


def identity(client: str) -> Options:
    """What [DHCPv4] says of a client identifier in hex (RFC 4361, RFC 2132), as far as it can."""
    if client.startswith("ff") and len(client) > len("ff") + 8:
        return (("IAID", str(int(client[2:10], 16))),)
    return (("ClientIdentifier", "mac"),) if client.startswith("01") else ()


def identity_in(text: str) -> Options:
    """What a file says of it."""
    found = (p for s in sections(text) if s.name == "DHCPv4" for p in s.options)
    return tuple(p for p in found if p[0] in ("IAID", "ClientIdentifier"))


def _matches(text: str, interface: str) -> bool:
    match = [s for s in sections(text) if s.name == "Match"]
    keys = {k for s in match for k, _ in s.options}
    patterns = values(text, "Match", "Name")
    if "Name" not in keys:
        # By MAC, driver or kind: what it means for this one is not known here, except for these.
        return values(text, "Match", "Type") == ("ether",) or not keys
    if patterns and patterns[0].startswith("!"):
        patterns = (patterns[0][1:], *patterns[1:])
        return not any(globs.of_name(p).fullmatch(interface) for p in patterns)
    return any(globs.of_name(p).fullmatch(interface) for p in patterns)
