"""The MTUs of a layout: one answer for the live state and for the files of every style."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.model.host import HostConfig
from tashictl.model.net import Address, HostNet, Link, Picture
from tashictl.model.network import Network
from tashictl.planning.net import sizes, stanzas, units
from tashictl.planning.net.propose import Proposal, Wanted, propose
from tests.planning.net.cases import TEMPLATES, applied, layout

MTUS = st.sampled_from([None, 1400, 1500, 4000, 9000])
ENDS = ("192.0.2.1", "192.0.2.2")
OWN = Address(cidr="192.0.2.1/24")
INTERFACES = "auto eth0\niface eth0 inet static\n    address 192.0.2.1/24\n    mtu {mtu}\n"
UNIT = "[Match]\nName=eth0\n\n[Link]\nMTUBytes={mtu}\n\n[Network]\nAddress=192.0.2.1/24\n"
FILES = {
    "ifupdown": ("/etc/network/interfaces", INTERFACES),
    "legacy": ("/etc/network/interfaces", INTERFACES),
    "networkd": ("/etc/systemd/network/10-eth0.network", UNIT),
}


@st.composite
def proposals(draw: st.DrawFn) -> tuple[Proposal, dict[str, str]]:
    """A fresh host whose uplink has an MTU of its own, what it is to become, and its files then."""
    style = draw(st.sampled_from(sorted(FILES)))
    aware = style != "legacy" and draw(st.booleans())
    networks = []
    for number in draw(st.lists(st.sampled_from([1, 7, 8]), unique=True, min_size=1)):
        tag = None if number == 1 else number
        bridge = "vmbr" if aware or tag is None else f"vmbr.{tag}"
        some = [f"10.0.{tag}.5/24", f"fd00:{tag}::5/64", "dhcp", "none"]
        address = None if tag is None else draw(st.sampled_from(some))
        networks.append(
            Network(
                id=number,
                name=f"n{number}",
                vlan=tag,
                bridge=bridge,
                vlan_aware=aware,
                host_address=address,
                mtu=draw(MTUS),
            )
        )
    if style != "legacy" and draw(st.booleans()):
        more = Network(
            id=5, name="n5", mode="vxlan", vxlan=5, bridge="vx", remotes=ENDS, mtu=draw(MTUS)
        )
        networks.append(more)
    own = draw(st.sampled_from([1500, 9000]))
    path, text = FILES[style]
    there = {path: text.format(mtu=own)}
    card = Link(name="eth0", mac="02:00:00:00:00:01", up=True, mtu=own, addresses=(OWN,))
    host = HostConfig(name="node1", address="192.0.2.1", uplink="eth0", style=style)
    wanted = Wanted(host=host, networks=tuple(networks), templates=TEMPLATES)
    one = propose(wanted, HostNet(picture=Picture(links=(card,)), files=there, manager=style))
    return one, applied(there, one.files)


@given(proposals())
def test_a_boot_by_the_files_gives_each_interface_the_mtu_that_it_has_live(
    case: tuple[Proposal, dict[str, str]],
) -> None:
    one, files = case
    said = written(files)

    def booted(link: Link) -> int:
        if link.name in said:
            return said[link.name]
        below = [x for x in one.picture.links if x.master == link.name or x.name == link.parent]
        return min((booted(x) for x in below), default=1500)  # what the kernel gives

    live = {link.name: link.mtu for link in one.picture.links}
    assert {link.name: booted(link) for link in one.picture.links} == live


def written(files: dict[str, str]) -> dict[str, int]:
    """Interface -> MTU, as files of any style say it."""
    found = units_say({p: t for p, t in files.items() if p.startswith("/etc/systemd/network/")})
    for path, text in sorted(files.items()):
        if not path.startswith("/etc/network/"):
            continue
        for one in stanzas.stanzas(text):
            for key, value in one.options:
                # ifupdown's word for it is heard there only (inet.defn, inet6.defn of Debian 12).
                if key == "mtu" and one.family == "inet" and one.method in ("static", "manual"):
                    found[one.name] = int(value)
                for device, mtu in re.findall(SETS, value):
                    name = one.name if device == "$IFACE" else device
                    raised = value.startswith("test ")  # only where it is smaller
                    found[name] = max(int(mtu), found.get(name, 0) if raised else 0)
    return found


SETS = r"(?:ip link set dev|ifconfig) (\S+) mtu (\d+)"


def units_say(files: dict[str, str]) -> dict[str, int]:
    """networkd: the first .network that matches, with its drop-ins, goes over the .netdev."""
    found = {}
    for path in sorted(files, reverse=True):
        if path.endswith(".netdev"):
            name = units.values(files[path], "NetDev", "Name")[0]
            for value in units.values(files[path], "NetDev", "MTUBytes"):
                found[name] = int(value)
    for name in {n for text in files.values() for n in units.values(text, "Match", "Name")}:
        path = units.chosen(files, name)
        for one in (path, *units.dropins(files, path)):
            for value in units.values(files[one], "Link", "MTUBytes"):
                found[name] = int(value)
    return found


@pytest.mark.parametrize(
    ("own", "said"),
    [("", 4000), ("1500", 4000), ("9000", None), ("9K", None), ("2K", 4000), ("odd", 4000)],
)
def test_an_uplink_whose_operator_gave_it_more_keeps_that(own: str, said: int | None) -> None:
    assert sizes.uplink(4000, own) == said
    assert sizes.uplink(None, own) is None


def test_networks_that_share_an_interface_have_the_largest_there() -> None:
    big = Network(id=7, name="big", vlan=7, bridge="vmbr.7", mtu=9000)
    same = Network(id=8, name="same", vlan=7, bridge="vmbr.7", mtu=4000)

    found = sizes.mtus(layout(big, same))

    assert found == {"eth0": 9000, "eth0.7": 9000, "vmbr.7": 9000}
