"""Names and records of DNS from our texts, and back."""

from __future__ import annotations

import contextlib
import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.rrset

from tashictl.errors import InvalidRequest
from tashictl.model.naming import DnsRecord

MARK_LABEL = "_tashictl"
ADDRESS_KINDS = (dns.rdatatype.A, dns.rdatatype.AAAA)
PTR_KINDS = (dns.rdatatype.PTR,)

_STRING = 255  # bytes of one string of a TXT record
# Without escapes, wildcards and other alphabets: a name is what it looks like.
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")


def name_of(text: str) -> dns.name.Name:
    """A name in DNS, in small letters; raises InvalidRequest E-DNS-NAME."""
    plain = text.removesuffix(".")
    cause = "letters, digits, - and _ in labels of at most 63, with dots between"
    if all(_LABEL.fullmatch(label) for label in plain.split(".")):
        try:
            return dns.name.from_text(plain.lower())
        except dns.exception.DNSException as error:
            cause = str(error)
    raise InvalidRequest("E-DNS-NAME", f"{text!r} is no name for DNS", cause=cause)


def mark_name(name: dns.name.Name) -> dns.name.Name:
    """Where the mark of a name stands; raises InvalidRequest E-DNS-NAME where it is too long."""
    try:
        return dns.name.Name((MARK_LABEL.encode(), *name.labels))
    except dns.exception.DNSException as error:
        raise InvalidRequest(
            "E-DNS-NAME",
            f"{text_of(name)} is too long a name",
            cause=f"its mark stands at {MARK_LABEL}.<name>, of at most 255 bytes",
        ) from error


def reverse_name(address: str) -> dns.name.Name:
    """The name of an address; raises InvalidRequest E-DNS-ADDRESS."""
    return dns.name.from_text(_address(address).reverse_pointer)


def address_data(address: str) -> dns.rdata.Rdata:
    """The A or AAAA record of an address; raises InvalidRequest E-DNS-ADDRESS."""
    parsed = _address(address)
    return _data(ADDRESS_KINDS[parsed.version == 6], parsed.packed)


def _address(text: str) -> IPv4Address | IPv6Address:
    with contextlib.suppress(ValueError):
        if "%" not in text:  # the zone of a link is of one machine only
            return ip_address(text)
    raise InvalidRequest("E-DNS-ADDRESS", f"{text!r} is no IP address")


def pointer_data(name: dns.name.Name) -> dns.rdata.Rdata:
    """The PTR record that leads to a name."""
    return _data(dns.rdatatype.PTR, name.to_wire() or b"")


def text_data(text: str) -> dns.rdata.Rdata:
    """The TXT record of a text, in as many strings as it needs."""
    raw = text.encode()
    strings = [raw[at : at + _STRING] for at in range(0, len(raw), _STRING)] or [b""]
    wire = b"".join(bytes((len(string),)) + string for string in strings)
    return _data(dns.rdatatype.TXT, wire)


def _data(kind: dns.rdatatype.RdataType, wire: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(dns.rdataclass.IN, kind, wire, 0, len(wire))


def text_of(name: dns.name.Name) -> str:
    """A name as our texts have it: small letters, no dot at its end."""
    return name.to_text(omit_final_dot=True).lower()


def records_of(zone: str, rrset: dns.rrset.RRset) -> list[DnsRecord]:
    """The records of one name and kind; where a value is a name, it has no dot at its end."""
    name, kind = text_of(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
    return [
        DnsRecord(zone=zone, name=name, kind=kind, value=value_of(data), ttl_s=rrset.ttl)
        for data in rrset
    ]


def value_of(data: dns.rdata.Rdata) -> str:
    """A value as it is shown: of TXT the text, of what leads to a name the name."""
    match data:
        case dns.rdtypes.ANY.TXT.TXT(strings=strings):
            return b"".join(strings).decode(errors="backslashreplace")
        case dns.rdtypes.ANY.PTR.PTR(target=target) | dns.rdtypes.ANY.CNAME.CNAME(target=target):
            return text_of(target)
        case _:
            return data.to_text()
