"""One change of a host's live network each, as data; a list of them has an exact reverse."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.net import DhcpClient, Link, PortVlan, Route


class Change(Struct, frozen=True, kw_only=True, tag=True):
    """What all changes are."""


class MakeLink(Change, frozen=True, kw_only=True, tag=True):
    """Make a bridge, a VLAN or a VXLAN; it stays down and in no bridge."""

    link: Link


class DropLink(Change, frozen=True, kw_only=True, tag=True):
    """Remove an interface that is no hardware."""

    name: str


class SetMtu(Change, frozen=True, kw_only=True, tag=True):
    """Set the MTU, in bytes."""

    name: str
    mtu: int


class SetMaster(Change, frozen=True, kw_only=True, tag=True):
    """Join a bridge, or leave it (None)."""

    name: str
    master: str | None


class SetUp(Change, frozen=True, kw_only=True, tag=True):
    """Take an interface up or down."""

    name: str
    up: bool


class SetPromisc(Change, frozen=True, kw_only=True, tag=True):
    """Take all frames in, whatever a card's own filters say, or no more."""

    name: str
    on: bool


class SetBridge(Change, frozen=True, kw_only=True, tag=True):
    """Set what a bridge does; `aware` is vlan_filtering, None: as it is (kernels may lack it)."""

    name: str
    stp: bool
    forward_delay_s: float
    aware: bool | None = None


class AddAddress(Change, frozen=True, kw_only=True, tag=True):
    """Give an interface an address/length."""

    device: str
    cidr: str


class DropAddress(Change, frozen=True, kw_only=True, tag=True):
    """Take an address/length from an interface."""

    device: str
    cidr: str


class SetRoute(Change, frozen=True, kw_only=True, tag=True):
    """Have a route, in place of another to the same destination with its metric."""

    route: Route


class DropRoute(Change, frozen=True, kw_only=True, tag=True):
    """Have a route no more."""

    route: Route


class AddPortVlan(Change, frozen=True, kw_only=True, tag=True):
    """Let a port of a VLAN-aware bridge carry a VLAN."""

    vlan: PortVlan
    itself: bool = False


class DropPortVlan(Change, frozen=True, kw_only=True, tag=True):
    """Let a port of a VLAN-aware bridge carry a VLAN no more."""

    vlan: PortVlan
    itself: bool = False


class StopDhcp(Change, frozen=True, kw_only=True, tag=True):
    """End the DHCP client of an interface without giving the lease back."""

    device: str


class StartDhcp(Change, frozen=True, kw_only=True, tag=True):
    """Start a DHCP client for an interface, if none is there; `argv` empty: what the host has.

    `wait_s` is how long a lease is waited for; without one it has failed.
    """

    client: DhcpClient
    wait_s: int = 30


AnyChange = (
    MakeLink
    | DropLink
    | SetMtu
    | SetMaster
    | SetUp
    | SetPromisc
    | SetBridge
    | AddAddress
    | DropAddress
    | SetRoute
    | DropRoute
    | AddPortVlan
    | DropPortVlan
    | StopDhcp
    | StartDhcp
)
