"""Layouts of one host and its files, for the tests of its network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tashictl
from tashictl.model.host import HostConfig
from tashictl.model.net import HostFile, Layout
from tashictl.model.network import Network
from tashictl.planning.net import layout as layouts

TEMPLATES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (Path(tashictl.__file__).parents[1] / "templates").glob("*.j2")
}
LAN = Network(id=1, name="lan", bridge="vmbr", host_address="dhcp")
SAME = Network(id=1, name="lan", bridge="vmbr")  # the host has there what the uplink had
CLUSTER = Network(id=999, name="cluster", vlan=999, bridge="vmbr.999", host_address="dhcp")
LAB = Network(id=1001, name="lab", vlan=1001, bridge="vmbr.1001", host_address="none")


def layout(*networks: Network, style: str = "ifupdown", **host: Any) -> Layout:
    """The layout of node1 with uplink eth0."""
    values: dict[str, Any] = {"name": "node1", "address": "192.0.2.1", "uplink": "eth0", **host}
    return layouts.layout(HostConfig(**values), networks, style)


def applied(there: Mapping[str, str], files: tuple[HostFile, ...]) -> dict[str, str]:
    """What lies on a host after these files were written."""
    after = dict(there)
    for file in files:
        if file.text is None:
            after.pop(file.path, None)
        else:
            after[file.path] = file.text
    return after


def stanzas(text: str) -> list[list[str]]:
    """A file stanza by stanza, white space aside, without comments."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        words = line.split()
        if not words:
            found.append([])
        elif not words[0].startswith("#"):
            found[-1].append(" ".join(words))
    return [stanza for stanza in found if stanza]
