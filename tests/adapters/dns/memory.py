"""A DNS server in memory: it does an update as RFC 2136 says, and may be silent at a message."""

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update

from tashictl.adapters.dns import faults
from tashictl.adapters.dns.link import Link
from tashictl.model.settings import Server

Records = dict[tuple[dns.name.Name, dns.rdatatype.RdataType], frozenset[dns.rdata.Rdata]]
SERVER = Server(host="127.0.0.1", port=53)
_ANY, _NONE = dns.rdataclass.ANY, dns.rdataclass.NONE


class Memory(Link):
    """A link to it; at update number `silent` it stops to answer, having `done` it or not.

    `reached` says whether that update arrives at all; `no` are answers by number.
    """

    def __init__(self, records: Records | None = None) -> None:
        super().__init__(SERVER, None, 1.0)
        self.records: Records = dict(records or {})
        self.sent: list[dns.update.UpdateMessage] = []
        self.silent = 0
        self.done = False
        self.reached = True
        self.no: dict[int, dns.rcode.Rcode] = {}

    def update(self, message: dns.message.Message, zone: str) -> dns.message.Message:
        """Does it, or not."""
        assert isinstance(message, dns.update.UpdateMessage)
        message.to_wire()  # raises TooBig
        number = len(self.sent) + 1
        if number == self.silent and not self.reached:
            raise faults.down(SERVER, "Connection refused")
        self.sent.append(message)
        assert self.silent == 0 or number <= self.silent
        if number == self.silent:
            if self.done:
                self._do(message)
            raise faults.unanswered(SERVER, zone, "no answer")
        answer = dns.message.make_response(message)
        answer.set_rcode(self.no[number] if number in self.no else self._do(message))
        return answer

    def _do(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        failed = self._failed(message)
        if failed is not None:
            return failed
        for rrset in message.update:
            at = (rrset.name, rrset.rdtype)
            if rrset.deleting == _ANY:
                self.records.pop(at, None)
                continue
            there = self.records.get(at, frozenset())
            if rrset.deleting == _NONE:
                there -= set(rrset)
            elif (rrset.name, dns.rdatatype.CNAME) not in self.records:
                there |= set(rrset)
            if there:
                self.records[at] = there
            else:
                self.records.pop(at, None)
        return dns.rcode.NOERROR

    def _failed(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode | None:
        names = {name for name, _ in self.records}
        for rrset in message.prerequisite:
            at = (rrset.name, rrset.rdtype)
            if rrset.rdclass == _NONE and rrset.rdtype == dns.rdatatype.ANY:
                if rrset.name in names:
                    return dns.rcode.YXDOMAIN
            elif rrset.rdclass == _NONE:
                if at in self.records:
                    return dns.rcode.YXRRSET
            elif rrset.rdclass != _ANY and self.records.get(at) != frozenset(rrset):
                return dns.rcode.NXRRSET
        return None
