"""The network files of a host as they are wanted, by style; what other text is there stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tashictl.errors import Problems, TashiError, raise_all
from tashictl.model.net import HostFile, Layout
from tashictl.planning import render
from tashictl.planning.net import render_interfaces, render_networkd

IFDOWN = "qemu-ifdown.j2"
TEMPLATES = (
    *(render_interfaces.IFUPDOWN, render_interfaces.LEGACY),
    *(render_networkd.NETDEV, render_networkd.NETWORK, render_networkd.DROPIN),
    *(render.IFUP, IFDOWN),
)
_IFUP_PATH = "/etc/qemu-ifup"
_IFDOWN_PATH = "/etc/qemu-ifdown"
_EXECUTABLE = 0o755


def files(
    layout: Layout,
    templates: Mapping[str, str],
    observed: Mapping[str, str] | None,
    mac: str = "",
    clients: Mapping[str, str] | None = None,
) -> tuple[HostFile, ...]:
    """The files as they are wanted on that host.

    `templates` are texts by name; `observed` are the network files that are there, by path, None
    for a fresh host. A file of ours that is not wanted any more has no text; the mode of one that
    is there already stays. For networkd, `mac` is the uplink's, which its bridges have, and
    `clients` the client identifiers of leases, by interface. Raises InvalidRequest or Problems.
    """
    there = observed or {}
    found: list[HostFile] = []
    problems: list[TashiError] = []
    makers: tuple[Callable[[], Iterable[HostFile]], ...] = (
        lambda: _network(layout, templates, there, mac, clients),
        lambda: _scripts(layout, templates, there),
    )
    for make in makers:
        try:
            found += make()
        except Problems as several:
            problems += several.problems
        except TashiError as error:
            problems.append(error)
    raise_all(problems)
    return tuple(found)


def owned(files: Mapping[str, str]) -> frozenset[str]:
    """The interfaces that files with our mark define."""
    return render_interfaces.owned(files) | render_networkd.owned(files)


def is_ours(text: str) -> bool:
    """Whether `files` wrote that text: it has our mark, or is what a fresh host begins with."""
    return render.IFUP_MARK in text or text == render_interfaces.FRESH


def _network(
    layout: Layout,
    templates: Mapping[str, str],
    there: Mapping[str, str],
    mac: str,
    clients: Mapping[str, str] | None,
) -> Iterable[HostFile]:
    """The files of the style; what another style of ours left behind goes."""
    if layout.style == "networkd":
        yield from render_networkd.files(layout, templates, there, mac, clients)
        yield from render_interfaces.without_ours(there)
        return
    make = render_interfaces.legacy if layout.style == "legacy" else render_interfaces.ifupdown
    yield from make(layout, templates, there)
    yield from render_networkd.without_ours(there)


def _scripts(
    layout: Layout, templates: Mapping[str, str], there: Mapping[str, str]
) -> Iterable[HostFile]:
    """What QEMU calls for a TAP; an operator's own script, which lacks our mark, is left alone."""
    wanted: dict[str, str] = {}
    problems: list[TashiError] = []
    for strand in layout.strands:
        network = strand.network
        try:
            wanted[f"{_IFUP_PATH}.{network.id}"] = render.ifup(
                templates[render.IFUP], network, style=layout.style, host=layout.host
            )
        except TashiError as error:
            problems.append(error)
    if wanted:
        values = {"style": layout.style}
        text = render.fill(
            IFDOWN, templates[IFDOWN], values, layout.host, host=layout.host, trim=True
        )
        wanted[_IFDOWN_PATH] = render.marked(text)
    raise_all(problems)
    for path, text in wanted.items():
        if render.IFUP_MARK in there.get(path, render.IFUP_MARK):
            yield HostFile(path=path, text=text, mode=_EXECUTABLE)
    for path, text in there.items():
        scripts = path == _IFDOWN_PATH or path.startswith(f"{_IFUP_PATH}.")
        if scripts and path not in wanted and render.IFUP_MARK in text:
            yield HostFile(path=path, text=None, mode=_EXECUTABLE)
