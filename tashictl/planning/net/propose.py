"""What an apply would do to one host: the files and the live changes, with their exact reverse."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from tashictl.model.host import HostConfig
from tashictl.model.net import HostFile, HostNet, Layout, Picture
from tashictl.model.net_change import AnyChange, StartDhcp, StopDhcp
from tashictl.model.network import Network
from tashictl.model.vm import Vm
from tashictl.planning import paths
from tashictl.planning.net import files as net_files
from tashictl.planning.net import layout as layouts
from tashictl.planning.net import obstacles, target
from tashictl.planning.net.change import back, changes


class Proposal(Struct, frozen=True, kw_only=True):
    """What a host is to become.

    `files` are only those that differ; `owned` are the interfaces that our files define, `unowned`
    those that they did and do no more.
    """

    host: str
    layout: Layout
    net: HostNet
    picture: Picture
    files: tuple[HostFile, ...]
    forward: tuple[AnyChange, ...]
    reverse: tuple[AnyChange, ...]
    owned: tuple[str, ...] = ()
    unowned: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing differs."""
        return not self.files and not self.forward


class Wanted(Struct, frozen=True, kw_only=True):
    """What a host is held against: itself, the networks, its templates, and its VMs' TAPs."""

    host: HostConfig
    networks: tuple[Network, ...]
    templates: Mapping[str, str]
    taps: Mapping[str, int] = {}
    style: str | None = None


def propose(wanted: Wanted, net: HostNet) -> Proposal:
    """Hold a host against what is wanted of it; raises InvalidRequest or Problems."""
    layout = fitted(layouts.layout(wanted.host, wanted.networks, wanted.style), net)
    before = net_files.owned(net.files)
    uplink = net.picture.link(layout.uplink)
    mac = uplink.mac if uplink is not None else ""
    want = net_files.files(layout, wanted.templates, net.files, mac)
    picture = target.target(layout, net, before, wanted.taps)
    forward = changes(net.picture, picture)
    after = net_files.owned({f.path: f.text for f in want if f.text is not None})
    return Proposal(
        host=wanted.host.name,
        layout=layout,
        net=net,
        picture=picture,
        files=tuple(f for f in want if _differs(f, net)),
        forward=(*forward, *renewals(forward, net.picture, picture)),
        reverse=back(net.picture, picture),
        owned=tuple(sorted(after)),
        unowned=tuple(sorted(before - after)),
    )


def fitted(layout: Layout, net: HostNet) -> Layout:
    """The layout without default routes where the host has them elsewhere, and keeps them."""
    asked = {n for s in layout.strands if s.address for n in (s.source, s.holder)}
    asked6 = {n for s in layout.strands if s.address6 for n in (s.source, s.holder)}
    gone = obstacles.gone(layout, net.picture, net_files.owned(net.files))
    elsewhere = set()
    for route in net.picture.routes:
        device = target.heir(layout, net.picture, route.device, gone)
        if route.to == "default" and device and device not in (asked6 if route.v6 else asked):
            elsewhere.add(route.v6)
    return layouts.without_gateways(layout, v4=False in elsewhere, v6=True in elsewhere)


def _differs(file: HostFile, net: HostNet) -> bool:
    there = net.files.get(file.path)
    if file.text is None:
        return there is not None
    return there != file.text or net.modes.get(file.path, file.mode) != file.mode


def renewals(
    forward: Iterable[AnyChange], before: Picture, after: Picture
) -> tuple[AnyChange, ...]:
    """DHCP clients that stay on an interface whose way out changes ask for their lease again."""
    touched = {getattr(c, "name", None) or getattr(getattr(c, "link", None), "name", None)
               for c in forward}  # fmt: skip
    had = {c.device for c in before.clients}
    found: list[AnyChange] = []
    for client in after.clients:
        way = {client.device, *(p.name for p in after.ports(client.device))}
        if client.device in had and way & touched:
            found += [StopDhcp(device=client.device), StartDhcp(client=client)]
    return tuple(found)


def file_diff(file: HostFile, net: HostNet) -> str:
    """The unified diff of a file against what is there; a mode alone is said in words."""
    old = net.files.get(file.path)
    new = file.text
    if old == new:
        return f"{file.path}: mode {net.modes.get(file.path, 0):o} -> {file.mode:o}\n"
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        file.path if old is not None else "/dev/null",
        file.path if new is not None else "/dev/null",
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def taps_of(vms: Iterable[Vm], host: str) -> dict[str, int]:
    """The TAPs of the VMs on a host, each with the id of its network."""
    return {
        paths.tap(vm, nic.index): nic.network
        for vm in vms
        if vm.host == host
        for nic in vm.spec.nics
        if nic.ssh_port is None
    }
