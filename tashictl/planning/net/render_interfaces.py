"""The files of ifupdown: ours, and the operator's with nothing taken out but what is ours now."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_interface

from msgspec.structs import replace

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.net import HostFile, Layout
from tashictl.planning import render
from tashictl.planning.net import carry, interfaces, stanzas
from tashictl.planning.net.carry import TASHI, Found
from tashictl.planning.net.interfaces import Interface, Part
from tashictl.planning.net.stanzas import INTERFACES

IFUPDOWN = "interfaces.ifupdown.j2"
LEGACY = "interfaces.legacy.j2"
FRESH = """\
auto lo
iface lo inet loopback

source /etc/network/interfaces.d/*
"""
_SOURCE = f"\n# the networks of tashictl\nsource {TASHI}\n"


def ifupdown(
    layout: Layout, templates: Mapping[str, str], observed: Mapping[str, str]
) -> tuple[HostFile, ...]:
    """``interfaces.d/tashi`` and what else of ifupdown's files has to differ."""
    wanted, kept = _wanted(layout, observed)
    files = [HostFile(path=p, text=t) for p, t in kept.items() if t != observed.get(p)]
    main = kept.get(INTERFACES, "").replace(_SOURCE, "") or FRESH
    if wanted:
        text = render.marked(_text(layout, templates, IFUPDOWN, wanted))
        if not stanzas.reads({**kept, INTERFACES: main}, TASHI):
            main += ("" if main.endswith("\n") else "\n") + _SOURCE
        files.append(HostFile(path=TASHI, text=text))
    elif TASHI in observed:
        files.append(HostFile(path=TASHI, text=None))
    others = [f for f in files if f.path != INTERFACES]
    if not wanted and INTERFACES not in observed:
        return tuple(others)
    return (HostFile(path=INTERFACES, text=main), *others)


def legacy(
    layout: Layout, templates: Mapping[str, str], observed: Mapping[str, str]
) -> tuple[HostFile, ...]:
    """The whole of ``/etc/network/interfaces``: the operator's stanzas first, then ours."""
    raise_all(_not_legacy(layout))
    wanted, kept = _wanted(layout, observed)
    wanted = tuple(replace(i, parts=tuple(_with_netmask(p) for p in i.parts)) for i in wanted)
    own = kept.get(INTERFACES, "").replace(_SOURCE, "")
    looped = any(s.name == "lo" for s in carry.find({**kept, INTERFACES: own}).theirs)
    text = _text(layout, templates, LEGACY, wanted, loopback=not looped)
    text = text if text.startswith(render.IFUP_MARK) else f"{render.IFUP_MARK}\n{text}"
    whole = carry.joined(own, text) if wanted else own or FRESH
    files = [HostFile(path=p, text=t) for p, t in kept.items() if t != observed.get(p)]
    if TASHI in observed:
        files.append(HostFile(path=TASHI, text=None))
    return (HostFile(path=INTERFACES, text=whole), *(f for f in files if f.path != INTERFACES))


def without_ours(observed: Mapping[str, str]) -> tuple[HostFile, ...]:
    """What takes our part out of ifupdown's files, where another style is wanted."""
    files = []
    if TASHI in observed and _is_ours(observed[TASHI]):
        files.append(HostFile(path=TASHI, text=None))
    before = observed.get(INTERFACES, "")
    after = carry.parted(before)[0].replace(_SOURCE, "")
    if after != before:
        files.append(HostFile(path=INTERFACES, text=after))
    return tuple(files)


def owned(files: Mapping[str, str]) -> frozenset[str]:
    """The interfaces that have a stanza below our mark."""
    return frozenset(
        one.name
        for path, text in files.items()
        if path == INTERFACES or path.startswith("/etc/network/interfaces.d/")
        for one in stanzas.stanzas(carry.parted(text)[1])
        if one.name != "lo"
    )


def _wanted(
    layout: Layout, observed: Mapping[str, str]
) -> tuple[tuple[Interface, ...], dict[str, str]]:
    """The interfaces that we write, and the operator's files without them."""
    own = {path: carry.parted(observed[path])[0] for path in stanzas.sourced(observed)}
    own.pop(TASHI, None)
    found = carry.find(observed)
    wanted = interfaces.of(layout, found)
    names = {i.name for i in wanted}
    raise_all(_conflicts(layout, found, wanted, names, observed))
    return wanted, {path: stanzas.without(text, names) for path, text in own.items()}


def _text(
    layout: Layout,
    templates: Mapping[str, str],
    name: str,
    wanted: Sequence[Interface],
    **more: object,
) -> str:
    values = {"host": layout.host, "layout": layout, "interfaces": wanted, **more}
    return render.fill(name, templates[name], values, layout.host, host=layout.host, trim=True)


def _with_netmask(part: Part) -> Part:
    """Old tools read address and netmask apart."""
    pairs = []
    for key, value in part.options:
        pairs.append((key, value.partition("/")[0] if key == "address" else value))
        if key == "address" and "/" in value:
            inside = ip_interface(value).network
            mask = str(inside.netmask) if inside.version == 4 else str(inside.prefixlen)
            pairs.append(("netmask", mask))
    return replace(part, options=tuple(pairs))


def _is_ours(text: str) -> bool:
    return render.IFUP_MARK in text


def _not_legacy(layout: Layout) -> Iterator[InvalidRequest]:
    for strand in layout.strands:
        network = strand.network
        if network.vlan_aware or network.vxlan is not None:
            what = "VLAN-aware bridge" if network.vlan_aware else "VXLAN"
            yield InvalidRequest(
                "E-STYLE",
                f"{layout.host}: the style legacy has no {what}, which network {network.name} is",
                cause="brctl and vconfig know none",
                hint="style: ifupdown",
                host=layout.host,
            )


def _conflicts(
    layout: Layout,
    found: Found,
    wanted: Sequence[Interface],
    names: Collection[str],
    observed: Mapping[str, str],
) -> Iterator[InvalidRequest]:
    """What of the operator's files cannot stand beside ours."""
    if observed.get(TASHI, "").strip() and not _is_ours(observed[TASHI]):
        yield _conflict(layout, f"{TASHI} is not ours", "it lacks our mark", "move it away")
    bridge_of = {i.port: i.name for i in wanted if i.kind == "bridge"}
    tags = {i.vlan: i.name for i in wanted if i.kind == "vlan"}
    for other in found.theirs:
        if other.name in names:
            continue
        for port in _ports(other) & set(bridge_of):
            yield _conflict(
                layout,
                f"{port} is in the bridge {other.name} already",
                f"and would be in {bridge_of[port]}: an interface can be in one only",
                f"`bridge: {other.name}` for that network in the inventory, which takes it over",
            )
        if (tag := _vlan(other, layout.uplink)) in tags:
            yield _conflict(
                layout,
                f"{other.name} is VLAN {tag} of {layout.uplink} already",
                f"Linux has each VLAN of an interface once, and ours is {tags[tag]}",
                f"call it {tags[tag]} in the host's files: then it is taken over",
            )
    for heir, base in _heirs(observed, names):
        yield _conflict(
            layout,
            f"{heir} inherits from {base}, whose stanza goes",
            "a network of the inventory takes it over",
            f"write out in {heir} what it inherits",
        )


def _vlan(one: stanzas.Stanza, uplink: str) -> int | None:
    """The VLAN of the uplink that a stanza is of, by its options or its name."""
    on = one.option("vlan-raw-device", "vlan_raw_device") or one.name.rpartition(".")[0]
    number = re.search(r"(\d+)$", one.option("vlan-id", "vlan_id") or one.name)
    return int(number[1]) if on == uplink and number else None


def _ports(one: stanzas.Stanza) -> set[str]:
    return set(re.split(r"\s+", one.option("bridge_ports", "bridge-ports")))


def _heirs(observed: Mapping[str, str], names: Collection[str]) -> Iterable[tuple[str, str]]:
    for path in stanzas.sourced(observed):
        for one in stanzas.stanzas(carry.parted(observed[path])[0]):
            if one.name not in names and one.inherits in names:
                yield one.name, one.inherits


def _conflict(layout: Layout, what: str, cause: str, hint: str) -> InvalidRequest:
    return InvalidRequest(
        "E-HOST-FILES", f"{layout.host}: {what}", cause=cause, hint=hint, host=layout.host
    )
