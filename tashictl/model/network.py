"""A network as the inventory describes it."""

from __future__ import annotations

from msgspec import Struct


class Network(Struct, frozen=True, kw_only=True):
    """A layer-2 network that TAPs are bridged to; addresses are text as in the inventory."""

    id: int
    name: str
    vlan: int | None = None
    bridge: str | None = None
    mode: str = "bridge"
    cidr: str | None = None
    cidr6: str | None = None
    range: str | None = None
    range6: str | None = None
    exclude: tuple[str, ...] = ()
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    domain: str | None = None
    mtu: int | None = None
    stp: bool | None = None
    forward_delay: int | None = None
    host_address: str | None = None
    host_address6: str | None = None
    gateway6: str | None = None
    vlan_aware: bool = False
    remotes: tuple[str, ...] = ()
    dhcp: str = ""  # empty: isc-omapi where a dhcpServer is set and it has a range, else none
    vxlan: int | None = None
    default: bool = False
