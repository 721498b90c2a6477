"""Networks come, change their bridges and go: what is live is what the files say, all the time."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.net import Address, DhcpClient, HostNet, Link, Picture, Route
from tashictl.model.network import Network
from tashictl.planning.net import carry, propose
from tashictl.planning.net.propose import Proposal, Wanted
from tashictl.planning.net.stanzas import INTERFACES
from tests.planning.net.cases import SAME, TEMPLATES, applied
from tests.planning.net.kernel import Kernel, RefusedError

LEASE = Address(cidr="192.0.2.50/24", dynamic=True)
OWN = Address(cidr="192.0.2.7/24")
DEFAULT = Route(to="default", via="192.0.2.1", device="eth0")
STATIC_FILE = "auto eth0\niface eth0 inet static\n  address 192.0.2.7/24\n  gateway 192.0.2.1\n"
VLAN = Network(id=9, name="nine", vlan=9, bridge="vmbr.9", host_address="none")
LANS = (
    SAME,
    replace(SAME, bridge="br0"),
    replace(SAME, host_address="dhcp"),
    replace(SAME, host_address="dhcp", bridge="br0"),
    replace(SAME, host_address="192.0.2.8/24", gateway="192.0.2.1"),
    replace(SAME, host_address="192.0.2.8/24", gateway="192.0.2.1", bridge="br0"),
    replace(SAME, host_address="none"),
    replace(SAME, vlan=5),
)
VLANS = (
    VLAN,
    replace(VLAN, host_address="172.16.0.9/16", gateway="172.16.0.1"),
    replace(VLAN, host_address="172.16.0.9/16", bridge="nine"),
    replace(VLAN, host_address=None, bridge="nine"),
    replace(VLAN, host_address="192.0.2.7/24"),
    replace(VLAN, vlan=10, bridge="vmbr.10", host_address="172.16.0.9/16"),
)
INVENTORIES = st.tuples(st.sampled_from([None, *LANS]), st.sampled_from([None, *VLANS])).map(
    lambda both: tuple(n for n in both if n is not None)
)


class Host:
    """A host of style ifupdown, its kernel and its files."""

    def __init__(self, *, leased: bool = False, style: str = "ifupdown") -> None:
        card = Link(name="eth0", mac="52:54:00:00:00:01", up=True)
        client = DhcpClient(device="eth0", argv=("dhclient", "eth0"))
        self.kernel = Kernel(
            Picture(
                links=(replace(card, addresses=(LEASE if leased else OWN,)),),
                routes=(DEFAULT,),
                clients=(client,) if leased else (),
            )
        )
        self.files = {INTERFACES: "iface eth0 inet dhcp\n" if leased else STATIC_FILE}
        self.config = HostConfig(name="node1", address="192.0.2.7", uplink="eth0", style=style)

    def look(self, reached: str = "") -> HostNet:
        return HostNet(picture=self.kernel.picture(), files=self.files, reached=reached)

    def want(self, *networks: Network, reached: str = "") -> Proposal:
        """What an apply would do."""
        wanted = Wanted(host=self.config, networks=networks, templates=TEMPLATES)
        return propose.propose(wanted, self.look(reached))

    def apply(self, *networks: Network, reached: str = "") -> Proposal:
        """It is done and confirmed."""
        proposal = self.want(*networks, reached=reached)
        for change in proposal.forward:
            self.kernel.do(change)
        self.files = applied(self.files, proposal.files)
        self._lease()
        return proposal

    def _lease(self) -> None:
        """What DHCP makes of it: a client has its lease."""
        for link in tuple(self.kernel.links.values()):
            leased = link.name in self.kernel.clients
            rest = tuple(a for a in link.addresses if a.cidr != LEASE.cidr)
            now = (*rest, LEASE) if leased else link.addresses
            self.kernel.links[link.name] = replace(link, addresses=now)

    def live(self) -> dict[str, tuple[set[str], bool]]:
        """The fixed addresses of each interface, and whether a client runs there."""
        return {
            link.name: (
                {a.cidr for a in link.addresses if not a.dynamic},
                link.name in self.kernel.clients,
            )
            for link in self.kernel.links.values()
        }

    def said(self) -> dict[str, tuple[set[str], bool]]:
        """The same, as the files say it."""
        found = carry.find(self.files)
        every = (*found.theirs, *found.ours)
        return {
            name: (
                {v for s in every if s.name == name for k, v in s.options if k == "address"},
                any(s.method == "dhcp" for s in every if s.name == name),
            )
            for name in {s.name for s in every} - {"lo"}
        }

    def ports(self) -> dict[str, set[str]]:
        """What is in each bridge."""
        picture = self.kernel.picture()
        return {
            link.name: {p.name for p in picture.ports(link.name)}
            for link in picture.links
            if link.kind == "bridge"
        }

    def ports_said(self) -> dict[str, set[str]]:
        """The same, as the files say it."""
        found = [(s, s.option("bridge_ports").split()) for s in carry.find(self.files).ours]
        return {s.name: set(ports) for s, ports in found if ports}

    def gateways(self) -> set[tuple[str, str]]:
        """The default routes that the files give."""
        found = carry.find(self.files)
        return {
            (s.name, v) for s in (*found.theirs, *found.ours) for k, v in s.options
            if k == "gateway"
        }  # fmt: skip


@given(st.booleans(), st.lists(INVENTORIES, min_size=1, max_size=3), st.data())
def test_what_is_live_is_what_the_files_say(
    leased: bool, inventories: list[tuple[Network, ...]], data: st.DataObject
) -> None:
    host = Host(leased=leased)
    for networks in inventories:
        have = [a.cidr for link in host.kernel.links.values() for a in link.addresses]
        reached = data.draw(st.sampled_from(have or [""])).partition("/")[0]
        before = host.kernel.picture()
        try:
            done = host.apply(*networks, reached=reached)
        except TashiError as error:
            event(str(error).partition(":")[0])
            continue
        assert host.said() == host.live()
        assert host.ports_said() == host.ports()
        routes = host.kernel.picture().routes
        fixed = {(r.device, r.via) for r in routes if r.device not in host.kernel.clients}
        assert host.gateways() == fixed
        again = host.want(*networks)
        assert again.clean, (again.files, again.forward)
        there = {a.cidr.partition("/")[0] for x in host.kernel.links.values() for a in x.addresses}
        given_by = any(n.host_address not in (None, "none") for n in networks)
        assert not reached or reached in there or given_by
        back = Kernel(done.net.picture)
        _undo(back, done)
        assert _shown(back.picture()) == _shown(before)


def _undo(kernel: Kernel, done: Proposal) -> None:
    for change in done.forward:
        kernel.do(change)
    for _ in range(2):
        for change in done.reverse:
            try:
                kernel.do(change)
            except (RefusedError, KeyError):
                continue


def _shown(picture: Picture) -> Picture:
    """Without what a lease has besides, and in an order of its own."""
    return replace(
        picture,
        links=tuple(
            replace(x, addresses=tuple(sorted(Address(cidr=a.cidr) for a in x.addresses)))
            for x in picture.links
        ),
        clients=tuple(replace(c, argv=()) for c in picture.clients),
        vlans=(),
    )


def test_an_uplink_has_again_what_its_bridge_had() -> None:
    host = Host(leased=True)
    host.apply(SAME)

    done = host.apply()

    assert [(c.device, c.argv) for c in done.picture.clients] == [("eth0", ("dhclient", "eth0"))]
    assert done.picture.routes == (DEFAULT,)
    assert host.live() == {"eth0": (set(), True)}


def test_a_bridge_of_another_name_takes_it_over() -> None:
    host = Host()
    host.apply(LANS[4])

    done = host.apply(LANS[5])

    assert host.live() == {"eth0": (set(), False), "br0": ({"192.0.2.8/24"}, False)}
    assert done.picture.routes == (replace(DEFAULT, device="br0"),)


def test_an_address_by_which_we_come_does_not_go_with_its_vlan() -> None:
    host = Host()
    host.apply(VLANS[1])

    with pytest.raises(TashiError, match="E-LOCKOUT") as caught:
        host.want(VLANS[0], reached="172.16.0.9")
    assert "nine=172.16.0.9/16" in caught.value.hint
    with pytest.raises(TashiError, match="E-LOCKOUT") as caught:
        host.want(reached="172.16.0.9")
    assert "vmbr.9 goes with its network" in caught.value.cause
    assert [type(c).__name__ for c in host.want(reached="192.0.2.7").forward] == ["DropLink"] * 2


def test_an_address_that_goes_back_to_the_uplink_is_not_given_to_a_vlan_too() -> None:
    host = Host()
    host.apply(SAME)

    with pytest.raises(TashiError, match="E-ADDRESS") as caught:
        host.want(replace(VLAN, host_address="192.0.2.7/24"))

    assert "is on eth0, not for vmbr.9 too" in caught.value.what


def test_a_route_of_a_vlan_that_goes_is_no_reason_to_have_none() -> None:
    host = Host()
    host.apply(replace(SAME, host_address="none"), VLANS[1])
    other = replace(VLAN, id=10, name="ten", vlan=10, bridge="vmbr.10")

    host.apply(
        replace(SAME, host_address="none"),
        replace(other, host_address="172.17.0.9/16", gateway="172.17.0.1"),
    )

    assert host.gateways() == {("vmbr.10", "172.17.0.1")}


def _networkd(own: str) -> Host:
    """A host of networkd whose file of the uplink is this."""
    host = Host(style="networkd")
    match = "[Match]\nName=eth0\n[Network]\n"
    host.files = {"/etc/systemd/network/10-eth0.network": match + own}
    return host


def test_under_networkd_the_operators_file_counts_again() -> None:
    host = _networkd("Address=192.0.2.7/24\nGateway=192.0.2.1\nGateway=2001:db8::1\n")
    host.apply(LANS[4])

    assert host.live()["vmbr"] == ({"192.0.2.8/24"}, False)
    with pytest.raises(TashiError, match="E-LOCKOUT"):
        host.want(reached="192.0.2.8")
    done = host.apply()

    assert host.live() == {"eth0": ({"192.0.2.7/24"}, False)}
    assert {(r.via, r.v6) for r in done.picture.routes} == {
        ("192.0.2.1", False),
        ("2001:db8::1", True),
    }


def test_a_lease_of_networkd_does_not_go_back_to_the_uplink() -> None:
    host = _networkd("DHCP=yes\n")
    host.apply(SAME)
    bridge = host.kernel.links["vmbr"]
    host.kernel.links["vmbr"] = replace(bridge, addresses=(LEASE,))

    with pytest.raises(TashiError, match="E-DHCP"):
        host.want()
