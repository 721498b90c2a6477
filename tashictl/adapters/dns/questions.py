"""What is asked of a DNS server: in which zone a name lies, what stands at it, all of a zone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from tashictl.adapters.dns import faults, forms
from tashictl.adapters.dns.link import Link
from tashictl.errors import NotPermitted, OperationFailed, TashiError
from tashictl.model.naming import DnsRecord

_REST = (dns.rdatatype.AAAA, dns.rdatatype.TXT, dns.rdatatype.PTR)
_ANSWERS = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Zones:
    """The zones of a server: those of the settings, else asked for by their SOA records, once."""

    def __init__(self, zones: Sequence[str]) -> None:
        self._set = tuple(forms.name_of(zone) for zone in zones)
        self._asked: dict[dns.name.Name, dns.name.Name | OperationFailed | None] = {}

    def of(self, name: dns.name.Name, link: Link) -> dns.name.Name | None:
        """The zone of a name, None where the server has none; raises as `Link.ask` does."""
        if not self._set:
            self._ask([name], link)
            return self._kept(name)
        return self._longest(name)

    def of_each(self, names: Iterable[dns.name.Name], link: Link) -> None:
        """Ask for the zones of many names, by the names above them; then `known` has them."""
        if not self._set:
            above = {name.parent() for name in names}
            self._ask(above, link)

    def known(self, name: dns.name.Name) -> dns.name.Name | None:
        """The zone of a name that was asked for by `of_each`, None for none.

        Raises OperationFailed where the server failed at the question.
        """
        return self._longest(name) if self._set else self._kept(name.parent())

    def _kept(self, name: dns.name.Name) -> dns.name.Name | None:
        found = self._asked.get(name)
        if isinstance(found, OperationFailed):
            raise found
        return found

    def _longest(self, name: dns.name.Name) -> dns.name.Name | None:
        fit = [zone for zone in self._set if name.is_subdomain(zone)]
        return max(fit, key=len, default=None)

    def _ask(self, names: Iterable[dns.name.Name], link: Link) -> None:
        asked = {name: name for name in names if name not in self._asked}
        while asked:
            questions = [_question(name, dns.rdatatype.SOA) for name in asked.values()]
            answers = link.ask(questions)
            again: dict[dns.name.Name, dns.name.Name] = {}
            for (name, at), answer in zip(asked.items(), answers, strict=True):
                if answer.rcode() == dns.rcode.SERVFAIL:
                    at_text = forms.text_of(at)
                    failed = faults.answered(link.server, at_text, answer.rcode(), link.key)
                    self._asked[name] = failed
                elif _is_alias(answer, at) and at != dns.name.root:
                    again[name] = at.parent()
                else:
                    self._asked[name] = _apex(answer, at)
            asked = again


def _question(name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
    question = dns.message.make_query(name, kind)
    question.flags &= ~dns.flags.RD
    return question


def _is_alias(answer: dns.message.Message, name: dns.name.Name) -> bool:
    return any(r.name == name and r.rdtype == dns.rdatatype.CNAME for r in answer.answer)


def _apex(answer: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """The zone that an answer with authority is from."""
    if answer.rcode() not in _ANSWERS or not answer.flags & dns.flags.AA:
        return None
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name):
            return rrset.name
    return None


class Standing(Struct, frozen=True, kw_only=True):
    """A name and what stands there."""

    name: dns.name.Name
    rrsets: tuple[dns.rrset.RRset, ...]


def standing(names: Sequence[dns.name.Name], link: Link) -> Iterator[Standing]:
    """What stands at names, of the kinds that matter; raises as `Link.ask` does.

    A CNAME comes with the answer to the first question, and where it is there is nothing else.
    """
    first = _ask_all([(name, dns.rdatatype.A) for name in names], link)
    there = [
        name
        for name, answer in zip(names, first, strict=True)
        if answer.rcode() == dns.rcode.NOERROR and not _is_alias(answer, name)
    ]
    rest = iter(_ask_all([(name, kind) for name in there for kind in _REST], link))
    more = {name: [next(rest) for _ in _REST] for name in there}
    for name, answer in zip(names, first, strict=True):
        found = [r for one in (answer, *more.get(name, ())) for r in one.answer if r.name == name]
        yield Standing(name=name, rrsets=tuple(found))


def texts(names: Sequence[dns.name.Name], link: Link) -> list[list[str]]:
    """The TXT records of names."""
    answers = _ask_all([(name, dns.rdatatype.TXT) for name in names], link)
    return [
        [forms.value_of(d) for r in answer.answer if r.name == name for d in r]
        for name, answer in zip(names, answers, strict=True)
    ]


def _ask_all(
    asked: Sequence[tuple[dns.name.Name, dns.rdatatype.RdataType]], link: Link
) -> list[dns.message.Message]:
    answers = link.ask([_question(name, kind) for name, kind in asked])
    for (name, _), answer in zip(asked, answers, strict=True):
        if answer.rcode() not in _ANSWERS:
            raise faults.answered(link.server, forms.text_of(name), answer.rcode(), link.key)
    return answers


def transfer(zone: dns.name.Name, link: Link) -> Iterator[DnsRecord]:
    """All records of a zone; raises NotPermitted E-DNS-TRANSFER, and as `Link.ask` does."""
    text = forms.text_of(zone)
    starts = 0
    for answer in link.stream(dns.message.make_query(zone, dns.rdatatype.AXFR)):
        if answer.rcode() != dns.rcode.NOERROR:
            raise _not_transferred(link, text, answer)
        if not answer.answer or (starts == 0 and answer.answer[0].rdtype != dns.rdatatype.SOA):
            raise faults.odd(link.server, text, "a transfer without a beginning")
        for rrset in answer.answer:
            # The SOA record is its first and its last.
            starts += rrset.rdtype == dns.rdatatype.SOA
            if starts < 2:
                yield from forms.records_of(text, rrset)
        if starts == 2:
            if link.key is not None and not answer.had_tsig:
                raise faults.unsigned(link.server, link.key)
            return


def _not_transferred(link: Link, zone: str, answer: dns.message.Message) -> TashiError:
    rcode = answer.rcode()
    error: OperationFailed = faults.answered(link.server, zone, rcode, link.key)
    if rcode != dns.rcode.REFUSED:
        return error
    return NotPermitted(
        "E-DNS-TRANSFER",
        f"the DNS server {link.server} does not let the zone {zone} be read as a whole",
        cause=error.cause,
        hint=f"allow-transfer of {zone} on the server, for the key",
    )
