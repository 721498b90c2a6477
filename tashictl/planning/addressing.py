"""Addresses as operators write them: MACs, IPs, and ``--nic NET[:IP[:MAC]]``."""

from __future__ import annotations

import ipaddress
import re

from tashictl.model.settings import Settings

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# A MAC at the end has six parts with colons; an IPv6 address stands in brackets.
_NIC = re.compile(
    r"([^:\[\]]*)"
    r"(?::(\[[^\]]*\]|[^:\[\]]*))?"
    r"(?::((?:[0-9A-Fa-f]{1,2}:){5}[0-9A-Fa-f]{1,2}))?"
)


def split_nic(text: str) -> tuple[str | None, str | None, str | None]:
    """Split ``NET[:IP[:MAC]]``; parts that are empty are None. Raises ValueError."""
    match = _NIC.fullmatch(text)
    if match is None:
        raise ValueError("not NET[:IP[:MAC]] (an IPv6 address in brackets)")
    network, ip, mac = match.groups()
    return network or None, address(ip) if ip else None, check_mac(mac) if mac else None


def address(text: str) -> str:
    """An IP address in its normal form, without a zone (``%eth0``); raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone: it would mean something on one machine only")
    return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))


def inside(ip: str, cidr: str) -> bool:
    """Whether a guest may have an address in a network: not the network's, nor its broadcast."""
    network = ipaddress.ip_network(cidr)
    found = ipaddress.ip_address(ip)
    if found not in network:
        return False
    ends = (network.network_address, network.broadcast_address)
    return found not in ends or network.num_addresses <= 2 or found.version == 6


def check_mac(text: str) -> str:
    """A unicast MAC address in lower case; raises ValueError."""
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{text!r} is no MAC address")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{text!r} is a multicast address")
    return mac


def own_mac(by_chance: str, settings: Settings) -> str:
    """A MAC of the cluster: macPrefix, then a byte of the cluster's id, the rest by chance.

    Two clusters on one wire so differ in a byte, most of the time; a prefix of four bytes leaves
    that byte out. `by_chance` is a whole random MAC, of which the end is used.
    """
    head = settings.tashictl.mac_prefix.split(":")
    if len(head) == 3 and settings.tashictl.cluster_id:
        head.append(settings.tashictl.cluster_id[:2])
    return ":".join((*head, *by_chance.split(":")[len(head) :]))
