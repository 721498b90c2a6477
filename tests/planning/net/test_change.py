"""The least changes from one network to another, and back from wherever it stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.net import Address, DhcpClient, Link, Picture, PortVlan, Route
from tashictl.model.net_change import AddAddress, DropAddress, MakeLink, SetMaster
from tashictl.planning.net.change import back, changes, tagging
from tests.planning.net.kernel import Kernel, RefusedError

CARDS = ("eth0", "eth1")
TAPS = ("tashi1.0", "tashi2.0")
BRIDGES = ("vmbr", "vmbr.999")
ADDRESSES = tuple(
    Address(cidr=c) for c in ("10.0.0.5/24", "10.0.0.9/24", "10.1.0.5/16", "fd00::5/64")
)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """A network as Linux could have it: of two cards, two TAPs, VLANs and bridges."""
    cards = [Link(name=n, mac=f"52:54:00:00:00:0{i}") for i, n in enumerate(CARDS)]
    vlans = [
        Link(name=f"eth0.{tag}", kind="vlan", parent="eth0", vlan=tag)
        for tag in draw(st.sets(st.sampled_from([999, 1001])))
    ]
    over = [
        Link(name=f"{bridge}.7", kind="vlan", parent=bridge, vlan=7)
        for bridge in draw(st.sets(st.sampled_from(BRIDGES)))
    ]
    bridges = [
        Link(
            name=name,
            kind="bridge",
            stp=draw(st.booleans()),
            forward_delay_s=draw(st.sampled_from([2.0, 15.0])),
            aware=draw(st.booleans()),
        )
        for name in draw(st.sets(st.sampled_from(BRIDGES)))
    ]
    taps = [Link(name=n, kind="tun") for n in TAPS]
    masters = st.sampled_from([None, *(b.name for b in bridges)])
    found = []
    for link in (*cards, *vlans, *taps, *bridges, *over):
        if link in over and link.parent not in {b.name for b in bridges}:
            continue
        master = draw(masters) if link.kind != "bridge" and link not in over else None
        parent = next((x for x in found if x.name == link.parent), None)
        mine = draw(st.sets(st.sampled_from(ADDRESSES))) if link.kind != "tun" else set()
        found.append(
            replace(
                link,
                master=master,
                up=draw(st.booleans()) and (parent is None or parent.up),
                promisc=link.kind == "" and draw(st.booleans()),
                mtu=min(draw(st.sampled_from([1400, 1500, 9000])), parent.mtu if parent else 9000),
                addresses=tuple(sorted(mine)),
            )
        )
    return _dressed(draw, found)


def _dressed(draw: st.DrawFn, links: list[Link]) -> Picture:
    up = [link for link in links if link.up and link.addresses]
    routes = {}
    for device in draw(st.lists(st.sampled_from(up), max_size=2)) if up else ():
        to = draw(st.sampled_from(["default", "192.168.0.0/16"]))
        routes[to] = Route(to=to, via="10.0.0.1", device=device.name)
    vlans = set()
    for link in links:
        if link.kind == "bridge" or link.master is not None:
            vlans |= {
                PortVlan(device=link.name, vlan=tag, pvid=tag == 1, untagged=tag == 1)
                for tag in draw(st.sets(st.sampled_from([1, 999])))
            }
    cards = draw(st.sets(st.sampled_from([link.name for link in links if link.kind != "tun"])))
    return Picture(
        links=tuple(sorted(links, key=lambda link: link.name)),
        routes=tuple(sorted(routes.values())),
        vlans=tuple(sorted(_seen(Picture(links=tuple(links)), vlans))),
        clients=tuple(DhcpClient(device=d, argv=("dhclient", d)) for d in sorted(cards)),
    )


def _seen(picture: Picture, vlans: set[PortVlan]) -> set[PortVlan]:
    """The table says nothing of bridges that are not VLAN-aware, nor does a look."""
    return {v for v in vlans if v.device in tagging(picture)}


def shown(kernel: Kernel) -> Picture:
    """What a look would see, in an order of its own."""
    picture = kernel.picture()
    return replace(
        picture,
        links=tuple(replace(x, addresses=tuple(sorted(x.addresses))) for x in picture.links),
        vlans=tuple(sorted(_seen(picture, set(picture.vlans)))),
    )


@given(pictures(), pictures(), st.booleans())
def test_the_changes_lead_from_any_network_to_any_other(a: Picture, b: Picture, told: bool) -> None:
    kernel = Kernel(a, told=told)
    for change in changes(a, b):
        kernel.do(change)

    assert shown(kernel) == b


@given(pictures())
def test_nothing_is_done_where_nothing_differs(a: Picture) -> None:
    assert changes(a, a) == ()


@given(pictures(), pictures(), st.data())
def test_the_reverse_leads_back_from_wherever_it_stopped(
    a: Picture, b: Picture, data: st.DataObject
) -> None:
    forward, reverse = changes(a, b), back(a, b)
    kernel = Kernel(a, told=data.draw(st.booleans()))
    for change in forward[: data.draw(st.integers(0, len(forward)))]:
        kernel.do(change)

    for _ in range(2):  # as the timer does: what is refused is tried once more
        for change in reverse:
            try:
                kernel.do(change)
            except (RefusedError, KeyError):  # a half-done change lacks what this would undo
                continue

    assert shown(kernel) == a


def test_an_address_is_on_the_bridge_before_it_leaves_the_card() -> None:
    card = Link(name="eth0", up=True, addresses=ADDRESSES[:1])
    bridge = Link(name="vmbr", kind="bridge", up=True, addresses=ADDRESSES[:1])
    after = Picture(links=(replace(card, master="vmbr", addresses=()), bridge))

    found = changes(Picture(links=(card,)), after)

    kinds = [type(c) for c in found]
    assert kinds.index(MakeLink) < kinds.index(SetMaster) < kinds.index(AddAddress)
    assert kinds.index(AddAddress) < kinds.index(DropAddress)
