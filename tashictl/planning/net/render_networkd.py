"""The files of systemd-networkd: ours go first by name, the operator's stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.net import HostFile, Layout
from tashictl.planning import render
from tashictl.planning.net import networkd, units
from tashictl.planning.net.networkd import Net, Netdev

NETDEV = "networkd.netdev.j2"
NETWORK = "networkd.network.j2"
DROPIN = "networkd.conf.j2"
FOLDER = units.FOLDERS[0]
_PREFIX = "05-tashi-"  # before what an operator's own files are usually called


class _Wanted(Struct, frozen=True, kw_only=True):
    """A file: the template, where it goes and what the template is given."""

    template: str
    path: str
    values: dict[str, object]


def files(
    layout: Layout, templates: Mapping[str, str], observed: Mapping[str, str], mac: str = ""
) -> tuple[HostFile, ...]:
    """Our .netdev and .network files; `mac` is the uplink's, which its bridges then have."""
    own = theirs(observed)
    maker = networkd.Maker(layout, own, mac or _mac_before(observed))
    raise_all(_conflicts(layout, own, maker))
    found = []
    for wanted in _wanted(maker):
        values = {"host": layout.host, "layout": layout, **wanted.values}
        text = render.fill(
            wanted.template,
            templates[wanted.template],
            values,
            layout.host,
            host=layout.host,
            trim=True,
        )
        found.append(HostFile(path=wanted.path, text=render.marked(text)))
    paths = {f.path for f in found}
    return (*found, *(g for g in without_ours(observed) if g.path not in paths))


def without_ours(observed: Mapping[str, str]) -> tuple[HostFile, ...]:
    """Take away all files that we wrote for networkd."""
    return tuple(HostFile(path=p, text=None) for p, t in observed.items() if _is_ours(p, t))


def owned(observed: Mapping[str, str]) -> frozenset[str]:
    """The interfaces that our files define or match."""
    found = set()
    for path, text in observed.items():
        if _is_ours(path, text) and not path.endswith(".conf"):
            found |= {*units.values(text, "NetDev", "Name"), *units.values(text, "Match", "Name")}
    return frozenset(found)


def theirs(observed: Mapping[str, str]) -> dict[str, str]:
    """The files that we did not write."""
    return {p: t for p, t in observed.items() if not _is_ours(p, t)}


def _is_ours(path: str, text: str) -> bool:
    in_folder = path.startswith(f"{FOLDER}/{_PREFIX}") or path.endswith(".network.d/tashi.conf")
    return in_folder and render.IFUP_MARK in text


def _mac_before(observed: Mapping[str, str]) -> str:
    """The MAC that our bridges have already."""
    for path, text in observed.items():
        if _is_ours(path, text) and (found := units.values(text, "NetDev", "MACAddress")):
            return found[0]
    return ""


def _wanted(maker: networkd.Maker) -> Iterator[_Wanted]:
    for dev in maker.netdevs():
        path = f"{FOLDER}/{_PREFIX}{dev.name}.netdev"
        yield _Wanted(template=NETDEV, path=path, values={"dev": dev})
    for net in maker.networks():
        if net.dropin_of:
            path = f"{FOLDER}/{net.dropin_of}.d/tashi.conf"
            yield _Wanted(template=DROPIN, path=path, values={"net": net})
        else:
            path = f"{FOLDER}/{_PREFIX}{net.name}.network"
            yield _Wanted(template=NETWORK, path=path, values={"net": net})


def _conflicts(
    layout: Layout, theirs: Mapping[str, str], maker: networkd.Maker
) -> Iterable[InvalidRequest]:
    nets: tuple[Net, ...] = tuple(maker.networks())
    devs: tuple[Netdev, ...] = tuple(maker.netdevs())
    for net in nets:
        before = units.chosen(theirs, net.name)
        name = before.rpartition("/")[2]
        if before and not net.dropin_of and name < f"{_PREFIX}{net.name}.network":
            yield InvalidRequest(
                "E-HOST-FILES",
                f"{layout.host}: {before} comes before ours and takes {net.name}",
                cause="networkd takes the first file that matches, by name",
                hint=f"call it 50-{name.lstrip('0123456789-')}",
                host=layout.host,
            )
    ours = {d.name for d in devs if d.kind == "bridge"}
    for path, text in theirs.items():
        port = layout.uplink
        inside = set(units.values(text, "Network", "Bridge")) - ours
        if maker.bridged and inside and path == units.chosen(theirs, port):
            bridge = sorted(inside)[0]
            yield InvalidRequest(
                "E-HOST-FILES",
                f"{layout.host}: {port} is in the bridge {bridge} already",
                cause=f"{path} says so; an interface can be in one bridge only",
                hint=f"`bridge: {bridge}` for that network in the inventory, which takes it over",
                host=layout.host,
            )
