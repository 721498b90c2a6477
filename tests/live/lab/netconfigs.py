"""Network configurations that a host of nethosts can be booted with: seat -> its files.

What is under test comes from elsewhere; these are written by hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.live.lab.station import Link

INTERFACES = "etc/network/interfaces"
_LO = "auto lo\niface lo inet loopback\n"
_UNITS = "/lib/systemd/system"
_WANTED = "etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a host sits in the management network; its cards are eth0 (there) and eth1 (trunk)."""

    name: str
    number: int
    address: str
    gateway: str
    length: int = 24

    @property
    def cidr(self) -> str:
        """Address and length."""
        return f"{self.address}/{self.length}"


Files = Mapping[str, str]
Config = Callable[[Seat], Files]


def interfaces(text: str) -> Config:
    """A text of /etc/network/interfaces; see `fill`."""
    return lambda seat: {INTERFACES: fill(text, seat)}


def fill(text: str, seat: Seat) -> str:
    """{cidr}, {address}, {gateway} and {n} (1 for the first host) of a text."""
    for name, value in {
        "{cidr}": seat.cidr,
        "{address}": seat.address,
        "{gateway}": seat.gateway,
        "{n}": str(seat.number),
    }.items():
        text = text.replace(name, value)
    return text


FLAT_TEXT = f"""{_LO}
auto eth0
iface eth0 inet static
  address {{cidr}}
  gateway {{gateway}}
"""
# ifupdown, management without a tag on eth0, nothing on eth1.
flat = interfaces(FLAT_TEXT)

# The same by DHCP: for NetHosts(dhcp=True).
leased = interfaces(f"{_LO}\nauto eth0\niface eth0 inet dhcp\n")


def tagged(vlan: int) -> Config:
    """ifupdown, management in a VLAN of eth0: for NetHosts(vlan=…)."""
    return interfaces(f"""{_LO}
auto eth0
iface eth0 inet manual

auto eth0.{vlan}
iface eth0.{vlan} inet static
  vlan-raw-device eth0
  address {{cidr}}
  gateway {{gateway}}
""")


def networkd(files: Files) -> Files:
    """The files of a host that uses networkd, with those under /etc/systemd/network given."""
    return {
        INTERFACES: _LO,
        f"{_WANTED}/multi-user.target.wants/systemd-networkd.service": Link(
            f"{_UNITS}/systemd-networkd.service"
        ),
        f"{_WANTED}/sockets.target.wants/systemd-networkd.socket": Link(
            f"{_UNITS}/systemd-networkd.socket"
        ),
        f"{_WANTED}/dbus-org.freedesktop.network1.service": Link(
            f"{_UNITS}/systemd-networkd.service"
        ),
        **{f"etc/systemd/network/{name}": text for name, text in files.items()},
    }


def flat_networkd(seat: Seat) -> Files:
    """networkd, management without a tag on eth0, nothing on eth1."""
    text = "[Match]\nName=eth0\n\n[Network]\nAddress={cidr}\nGateway={gateway}\n"
    return networkd({"10-eth0.network": fill(text, seat)})
