"""What goes wrong with a DNS server, as errors that name the server, the fact and the next step."""

from __future__ import annotations

import time
from collections.abc import Sequence

import dns.exception
import dns.message
import dns.rcode
import dns.rdtypes.ANY.TSIG
import dns.tsig

from tashictl.adapters.dns.keys import Key
from tashictl.errors import Conflict, OperationFailed, TashiError, Uncertain, Unreachable
from tashictl.model.settings import Server

_BADTIME_BYTES = 6
_FUDGE_S = 300


def down(server: Server, cause: str) -> Unreachable:
    """Nothing was done: the server is not reached, or did not answer a question."""
    return Unreachable(
        "E-DNS-DOWN",
        f"the DNS server {server} cannot be had",
        cause=cause,
        hint="is it up, and is [DhcpDns] dnsServer right? It must take TCP",
    )


def unanswered(server: Server, zone: str, cause: str) -> Uncertain:
    """An update was sent and not answered: it may have been done, or will be."""
    return Uncertain(
        "E-DNS-TIMEOUT",
        f"the DNS server {server} did not answer an update of {zone}",
        cause=f"{cause}; it may have been done, or will be",
        hint="repeat it: what is done already is left as it is",
    )


def partly(error: TashiError, name: str) -> Uncertain:
    """The rest of an entry was not sent after a part of it was done."""
    return Uncertain(
        "E-DNS-TIMEOUT",
        f"{name} is done in part: {error.what}",
        cause=error.cause,
        hint="repeat it: what is done already is left as it is",
    )


def refused_zone(server: Server, name: str, *, reverse: bool = False) -> OperationFailed:
    """A name lies in no zone of the server's."""
    hint = "a zone on the server, another dnsServer, or [DhcpDns] dnsZones"
    if reverse:
        hint = "a reverse zone on the server, or [DhcpDns] reverseDns = False"
    return OperationFailed(
        "E-DNS-ZONE",
        f"the DNS server {server} has no zone for {name}",
        cause="its PTR record would stand there (reverseDns)" if reverse else "",
        hint=hint,
    )


def answered(server: Server, zone: str, rcode: dns.rcode.Rcode, key: Key | None) -> OperationFailed:
    """The server answered with an error."""
    said = dns.rcode.to_text(rcode)
    who = f"the key {key.text}" if key else "updates without a key (dnsKeyFile is not set)"
    if rcode == dns.rcode.REFUSED:
        return OperationFailed(
            "E-DNS-REFUSED",
            f"the DNS server {server} refused for the zone {zone}",
            cause=f"{said}: it does not let {who} do that",
            hint=f"allow-update or update-policy of {zone} on the server; its log says more",
        )
    if rcode in (dns.rcode.NOTAUTH, dns.rcode.NOTZONE):
        return OperationFailed(
            "E-DNS-ZONE",
            f"{zone} is no zone of the DNS server {server}",
            cause=said,
            hint="another dnsServer, or the server's zones in [DhcpDns] dnsZones",
        )
    return odd(server, zone, said)


def odd(server: Server, zone: str, cause: str) -> OperationFailed:
    """An answer that is no answer."""
    return OperationFailed(
        "E-DNS-ANSWER",
        f"the DNS server {server} failed" + (f" for the zone {zone}" if zone else ""),
        cause=cause,
        hint="its log says more",
    )


def unsigned(server: Server, key: Key) -> OperationFailed:
    """An answer without the signature that was asked for."""
    return _key_fault(server, key, "it does not sign its answers with it")


def unread(server: Server, key: Key | None, error: Exception, wire: bytes) -> OperationFailed:
    """An answer that was not accepted: its signature, its time or its form."""
    if key is None:
        return odd(server, "", _words(error))
    match error:
        case dns.tsig.PeerBadTime() | dns.tsig.BadTime():
            return _clock(server, wire)
        case dns.tsig.PeerBadKey():
            return _key_fault(server, key, "it does not know it by this name and algorithm")
        case dns.tsig.PeerBadSignature():
            return _key_fault(server, key, "it has another secret")
        case dns.tsig.PeerError():
            return _key_fault(server, key, _words(error))
        case dns.tsig.BadSignature() | dns.tsig.BadKey() | dns.tsig.BadAlgorithm():
            return _key_fault(server, key, "its answer is signed otherwise")
        case dns.message.UnknownTSIGKey():
            return _key_fault(server, key, "its answer is signed with another one")
        case _:
            return odd(server, "", _words(error))


def _key_fault(server: Server, key: Key, cause: str) -> OperationFailed:
    return OperationFailed(
        "E-DNS-KEY",
        f"the DNS server {server} does not take the key {key.text}",
        cause=cause,
        hint="the same name, algorithm and secret at both ends: [DhcpDns] dnsKeyFile, or"
        " dnsKeyName, dnsSecretKey and dnsKeyAlgorithm",
    )


def _clock(server: Server, wire: bytes) -> OperationFailed:
    theirs = _their_time(wire)
    said = ""
    if theirs is not None:
        off_s = theirs - int(time.time())
        said = f"its clock is {abs(off_s)} s {'ahead of' if off_s > 0 else 'behind'} this one; "
    return OperationFailed(
        "E-DNS-CLOCK",
        f"the clocks of the DNS server {server} and of this machine differ",
        cause=f"{said}signatures hold for {_FUDGE_S} s",
        hint="set both by NTP (timedatectl)",
    )


def _their_time(wire: bytes) -> int | None:
    """The time that a server tells with BADTIME (RFC 8945, 5.2.3), or that it signed at."""
    try:
        message = dns.message.from_wire(wire, keyring=False)
    except (dns.exception.DNSException, ValueError):
        return None
    if message.tsig is None:
        return None
    signature = message.tsig[0]
    if not isinstance(signature, dns.rdtypes.ANY.TSIG.TSIG):
        return None
    if len(signature.other) == _BADTIME_BYTES:
        return int.from_bytes(signature.other, "big")
    return None if signature.error else int(signature.time_signed)


def foreign(server: Server, name: str, there: Sequence[str] | None, owner: str) -> Conflict:
    """Somebody else's records stand where ours should; None where that could not be looked at."""
    cause, hint = "; ".join(there or ()), "another name or address, or remove them there by hand"
    if not there:
        cause = "which, could not be found out" if there is None else "they have just gone"
        hint = "repeat it"
    return Conflict(
        "E-DNS-FOREIGN",
        f"{name} has records on the DNS server {server} that are not ours",
        cause=f"{cause}; ours would have the mark {owner}",
        hint=hint,
    )


def not_alone(server: Server, mark: str, marks: Sequence[str]) -> Conflict:
    """Beside our mark stands something else, so that it is not surely ours."""
    return Conflict(
        "E-DNS-FOREIGN",
        f"{mark} on the DNS server {server} has more than our mark",
        cause="; ".join(marks),
        hint="remove what is not ours there by hand, and repeat it",
    )


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
