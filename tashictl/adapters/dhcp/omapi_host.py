"""A host as it is asked of dhcpd: checked, with its options as statements, and with its mark.

dhcpd writes names of hosts and groups into its leases file as they are, without quotes, and at its
next start loses every host behind one that it cannot read back. So nothing gets there that was not
looked at here, character by character.

OMAPI does not tell a host's group or statements, nor whether it stands in dhcpd.conf, and deletes
what stands there as well. What it tells is name, MAC, address and client identifier. So the mark
is the client identifier: ``tashictl:<cluster>:<uuid>/<digest>``, kept in the leases file as `uid`.
No client sends it, and dhcpd finds a host by its MAC all the same. The digest is one of all that
was asked, so that a host is known to have the wanted statements although they cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import IPv4Address, ip_address

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import InvalidRequest
from tashictl.model.names import is_domain
from tashictl.model.naming import DhcpEntry, Owner, owner_of

# dhcpd reads a name that is a number, or looks like one, back as it was (tried).
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_CLUSTER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_UUID = re.compile(r"[0-9a-zA-Z-]{1,64}")
_MTU = range(68, 65536)
_DIGEST = 16


class WantedHost(Struct, frozen=True, kw_only=True):
    """What is to stand in dhcpd of one entry; `address` is its first IPv4 address.

    `statements` is empty where only the host's identity is asked for.
    """

    name: str
    mac: str
    address: str
    owner: Owner
    statements: str = ""

    @property
    def group(self) -> str:
        """The group of OMAPI that the hosts of a cluster are in."""
        return f"tashictl-{self.owner.cluster}"

    @property
    def mark(self) -> str:
        """The client identifier: the owner's mark and a digest of the rest."""
        asked = "\n".join((self.name, self.mac, self.address, self.group, self.statements))
        return f"{self.owner}/{sha256(asked.encode()).hexdigest()[:_DIGEST]}"


def wanted(entry: DhcpEntry) -> WantedHost:
    """The host of an entry; its IPv6 addresses are left out, since OMAPI is for DHCPv4 here.

    Raises InvalidRequest for what dhcpd could not carry.
    """
    return replace(identity(entry), statements=" ".join(_statements(entry)))


def identity(entry: DhcpEntry) -> WantedHost:
    """The same without its options: enough to know it by; raises InvalidRequest."""
    name, mac = entry.name, entry.mac.lower()
    owner = owner_of(entry.owner)
    if not _NAME.fullmatch(name):
        raise _refused(name, "a name for dhcpd is a-z 0-9 and -, 1 to 63, no - at an end")
    if not _MAC.fullmatch(mac):
        raise _refused(name, f"{entry.mac!r} is no MAC: six bytes in hex, with colons")
    if owner is None or not (_CLUSTER.fullmatch(owner.cluster) and _UUID.fullmatch(owner.uuid)):
        raise _refused(name, f"{entry.owner!r} is no mark: tashictl:<cluster>:<uuid>")
    addresses = _ipv4(name, entry.addresses)
    if not addresses:
        raise _refused(
            name,
            "it has no IPv4 address, and this server gives out IPv4 by OMAPI",
            hint="dhcp: none for that network in the inventory, or a range of IPv4",
        )
    return WantedHost(name=name, mac=mac, address=addresses[0], owner=owner)


def _statements(entry: DhcpEntry) -> Iterator[str]:
    """The options, in a fixed order: their text is part of the digest."""
    yield f'option host-name "{entry.name}";'
    if entry.domain:
        if not is_domain(entry.domain):
            raise _refused(entry.name, f"{entry.domain!r} is no domain name (RFC 1035)")
        yield f'option domain-name "{entry.domain}";'
    for option, values in (("routers", entry.routers), ("domain-name-servers", entry.dns)):
        if addresses := _ipv4(entry.name, values):
            yield f"option {option} {', '.join(addresses)};"
    if entry.mtu is not None:
        if entry.mtu not in _MTU:
            raise _refused(entry.name, f"an MTU of {entry.mtu} is none of 68 to 65535")
        yield f"option interface-mtu {entry.mtu};"


def _ipv4(name: str, values: tuple[str, ...]) -> list[str]:
    """The IPv4 addresses of some, in normal form; raises InvalidRequest for what is no address."""
    found = []
    for value in values:
        try:
            address = ip_address(value)
        except ValueError as error:
            raise _refused(name, f"{value!r} is no IP address") from error
        if isinstance(address, IPv4Address):
            found.append(str(address))
    return found


def _refused(name: str, cause: str, hint: str = "") -> InvalidRequest:
    return InvalidRequest(
        "E-DHCP-NAME",
        f"DHCP host {name!r}: nothing was sent to the server",
        cause=cause,
        hint=hint or "tashictl vm show NAME; what it has must be what a DHCP server can carry",
    )


class FoundHost(Struct, frozen=True, kw_only=True):
    """A host as dhcpd tells of it; `handle` is good for this connection, `mark` may be another's.

    What a host does not have is "".
    """

    handle: int
    name: str
    mac: str
    address: str
    mark: str

    @property
    def owner(self) -> str:
        """The mark of its owner, "" where it has none of ours."""
        text = self.mark.partition("/")[0]
        return text if owner_of(text) is not None else ""

    def __str__(self) -> str:
        whose = self.owner or "no mark of ours: of dhcpd.conf, or made by hand"
        return f"{self.name}, {self.mac or 'no MAC'}, {self.address or 'no address'} ({whose})"


def found(handle: int, attributes: dict[bytes, bytes]) -> FoundHost:
    """What an answer says of a host; `attributes` are its object."""
    raw_mac = attributes.get(b"hardware-address", b"")
    raw_ip = attributes.get(b"ip-address", b"")
    return FoundHost(
        handle=handle,
        name=_text(attributes.get(b"name", b"")),
        mac=raw_mac.hex(":"),
        address=str(ip_address(raw_ip)) if len(raw_ip) in (4, 16) else raw_ip.hex(":"),
        mark=_text(attributes.get(b"dhcp-client-identifier", b"")),
    )


def _text(raw: bytes) -> str:
    """Printable text, whatever it was: it is shown to people."""
    text = raw.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)
