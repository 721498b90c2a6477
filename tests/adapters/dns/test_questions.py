"""What a server's answers are taken to mean, where a well-behaved one does not show it."""

from collections.abc import Iterator, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from tashictl.adapters.dns import forms, questions
from tashictl.adapters.dns.keys import ALGORITHMS, Key
from tashictl.adapters.dns.link import Link
from tashictl.errors import OperationFailed
from tests.adapters.dns.memory import SERVER

SOA = "cloud.test. 60 IN SOA ns.cloud.test. hostmaster.cloud.test. 1 3600 900 604800 60"
KEY = Key(dns.name.from_text("tashi"), b"a secret", ALGORITHMS["hmac-sha256"])
WEB = forms.name_of("web.cloud.test")


class Told(Link):
    """A link to a server that gives the same records to each question."""

    def __init__(
        self,
        *lines: str,
        authority: Sequence[str] = (),
        rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
        owned: bool = True,
        key: Key | None = None,
    ) -> None:
        super().__init__(SERVER, key, 1.0)
        self.lines = lines
        self.authority = authority
        self.rcode = rcode
        self.owned = owned
        self.asked = 0

    def ask(self, questions: Sequence[dns.message.Message]) -> list[dns.message.Message]:
        self.asked += len(questions)
        return [self._answer(question) for question in questions]

    def stream(self, question: dns.message.Message) -> Iterator[dns.message.Message]:
        while True:
            yield self._answer(question)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.set_rcode(self.rcode)
        if self.owned:
            answer.flags |= dns.flags.AA
        answer.answer = [rrset(line) for line in self.lines]
        answer.authority = [rrset(line) for line in self.authority]
        return answer


def rrset(line: str) -> dns.rrset.RRset:
    name, ttl, kind_class, kind, data = line.split(maxsplit=4)
    return dns.rrset.from_text(name, int(ttl), kind_class, kind, data)


@pytest.mark.parametrize(
    ("link", "zone"),
    [
        (Told(SOA), "cloud.test"),
        (Told(authority=[SOA]), "cloud.test"),
        (Told(authority=[SOA], rcode=dns.rcode.NXDOMAIN), "cloud.test"),
        (Told(SOA, owned=False), None),  # it remembers what another server said
        (Told(authority=[SOA], rcode=dns.rcode.REFUSED), None),
        (Told(authority=[SOA.replace("cloud.test.", "other.test.")]), None),
        (Told(authority=["cloud.test. 60 IN NS ns.other.test."], owned=False), None),
    ],
)
def test_a_zone_is_the_servers_where_it_answers_with_authority(
    link: Told, zone: str | None
) -> None:
    zones = questions.Zones(())

    found = zones.of(WEB, link)
    zones.of(WEB, link)

    assert found == (None if zone is None else forms.name_of(zone))
    assert link.asked == 1


def test_names_of_one_place_are_one_question() -> None:
    link, zones = Told(authority=[SOA]), questions.Zones(())
    names = [forms.name_of(f"vm{n}.cloud.test") for n in range(100)]

    zones.of_each(names, link)
    zones.of_each(names, link)

    assert {zones.known(name) for name in names} == {forms.name_of("cloud.test")}
    assert link.asked == 1


def test_a_zone_that_the_server_cannot_serve_fails_its_names_only() -> None:
    zones = questions.Zones(())
    other = forms.name_of("web.other.test")
    zones.of_each([WEB], Told(rcode=dns.rcode.SERVFAIL))
    zones.of_each([other], Told(authority=[SOA.replace("cloud.test.", "other.test.", 1)]))

    assert zones.known(other) == other.parent()
    with pytest.raises(OperationFailed, match=r"E-DNS-ANSWER.*SERVFAIL"):
        zones.known(WEB)


def test_a_transfer_without_a_signature_or_a_beginning_is_not_believed() -> None:
    zone = forms.name_of("cloud.test")
    whole = (SOA, "web.cloud.test. 60 IN A 172.16.7.7", SOA)

    found = list(questions.transfer(zone, Told(*whole)))

    assert [record.kind for record in found] == ["SOA", "A"]
    with pytest.raises(OperationFailed, match="E-DNS-KEY"):
        list(questions.transfer(zone, Told(*whole, key=KEY)))
    for cut in ((), whole[1:]):
        with pytest.raises(OperationFailed, match="E-DNS-ANSWER"):
            list(questions.transfer(zone, Told(*cut)))


def test_a_question_that_is_refused_is_no_empty_answer() -> None:
    with pytest.raises(OperationFailed, match="E-DNS-REFUSED"):
        list(questions.standing([WEB], Told(rcode=dns.rcode.REFUSED)))
    (nothing,) = questions.standing([WEB], Told(rcode=dns.rcode.NXDOMAIN))
    assert nothing.rrsets == ()
