"""What is refused before anything is sent; leases of networkd: see test_lease.py."""

from msgspec.structs import replace

from tashictl.model.host import HostConfig
from tashictl.model.net import Address, HostNet, Link, Picture
from tashictl.model.network import Network
from tashictl.planning.net import fit
from tashictl.planning.net.propose import Proposal, Wanted, propose
from tests.planning.net.cases import TEMPLATES

DHCP = Network(id=1, name="lan", bridge="vmbr", host_address="dhcp")
ANY = Network(id=1, name="lan", bridge="vmbr")
LEASE = (Address(cidr="192.0.2.7/24", dynamic=True),)
FIXED = (Address(cidr="192.0.2.7/24"),)


def proposed(network: Network, style: str, *links: Link) -> Proposal:
    host = HostConfig(name="node1", address="192.0.2.7", uplink="eth0", style=style)
    net = HostNet(picture=Picture(links=links), manager=style)
    return propose(Wanted(host=host, networks=(network,), templates=TEMPLATES), net)


def refused(one: Proposal) -> list[str]:
    return [error.code for error in fit.refusals(one)]


UPLINK = Link(name="eth0", mac="02:00:00:00:00:01", up=True)


def test_ifupdown_moves_a_lease_and_networkd_a_fixed_address() -> None:
    assert refused(proposed(ANY, "ifupdown", replace(UPLINK, addresses=LEASE))) == []
    assert refused(proposed(ANY, "networkd", replace(UPLINK, addresses=FIXED))) == []


def test_a_lease_that_networkd_has_on_the_bridge_stays_without_a_client() -> None:
    bridge = Link(name="vmbr", kind="bridge", mac=UPLINK.mac, up=True, addresses=LEASE)
    one = proposed(DHCP, "networkd", replace(UPLINK, master="vmbr"), bridge)

    assert refused(one) == []
    assert not [c for c in one.forward if type(c).__name__ == "StartDhcp"]
    link = one.picture.link("vmbr")
    assert link is not None
    assert link.addresses == LEASE
