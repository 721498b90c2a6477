"""The connection to a DNS server: what was sent, what came back, and whether it can be believed."""

import socket
from collections.abc import Callable

import dns.message
import dns.name
import dns.rdatatype
import dns.update
import pytest

from tashictl.adapters.dns.keys import ALGORITHMS, Key
from tashictl.adapters.dns.link import IN_FLIGHT, Link
from tashictl.errors import OperationFailed, Uncertain, Unreachable
from tashictl.model.settings import Server

SERVER = Server(host="dns.test", port=5300)
KEY = Key(dns.name.from_text("tashi"), b"a secret", ALGORITHMS["hmac-sha256"])
Answering = Callable[[list[bytes]], bytes]


class Fake(Link):
    """A link whose connection answers what a test says, once it has all that was sent."""

    def __init__(self, answer: Answering, key: Key | None = None) -> None:
        super().__init__(SERVER, key, 5.0)
        self.connection = Connection(answer)

    def _open(self, until_s: float) -> socket.socket:
        self._socket = self.connection  # type: ignore[assignment]
        return self._socket  # type: ignore[return-value]


class Connection:
    """A socket."""

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.unanswered: list[bytes] = []
        self.most = 0
        self.closed = False
        self.left = b""

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        assert int.from_bytes(data[:2], "big") == len(data) - 2
        self.unanswered.append(data[2:])
        self.most = max(self.most, len(self.unanswered))

    def recv(self, count: int) -> bytes:
        if not self.left:
            wire = self.answer(self.unanswered)
            self.left = len(wire).to_bytes(2, "big") + wire if wire else b""
        # A byte less than asked for: a connection gives what it has.
        some, self.left = self.left[: max(1, count - 1)], self.left[max(1, count - 1) :]
        return some

    def close(self) -> None:
        self.closed = True


def question(name: str = "web.test") -> dns.message.Message:
    return dns.message.make_query(name, dns.rdatatype.A)


def response(wire: bytes, key: Key | None = None) -> bytes:
    asked = dns.message.from_wire(wire, keyring=key)
    answer = dns.message.make_response(asked)
    if key is not None:
        answer.use_tsig(key)
        answer.request_mac = asked.mac
    return answer.to_wire()


def last(sent: list[bytes]) -> bytes:
    return response(sent.pop())


def test_answers_come_in_the_order_of_the_questions_whatever_the_server_does() -> None:
    link = Fake(last)
    names = [f"vm{n}.test." for n in range(100)]

    answers = link.ask([question(name) for name in names])

    assert [answer.question[0].name.to_text() for answer in answers] == names
    assert link.connection.most == IN_FLIGHT


def test_a_signed_question_has_a_signed_answer() -> None:
    link = Fake(lambda sent: response(sent.pop(), KEY), KEY)

    assert link.ask([question(), question("mail.test")])[1].had_tsig


def another_id(sent: list[bytes]) -> bytes:
    return response(dns.message.make_query("web.test", dns.rdatatype.A, id=999).to_wire())


def rubbish(sent: list[bytes]) -> bytes:
    return b"rubbish"


def rubbish_with_the_id(sent: list[bytes]) -> bytes:
    return sent[0][:2] + b"\xff" * 40


def another_question(sent: list[bytes]) -> bytes:
    return sent[0][:2] + response(question("other.test").to_wire())[2:]


def unsigned(sent: list[bytes]) -> bytes:
    return response(plain(sent[0]))


def signed_otherwise(sent: list[bytes]) -> bytes:
    answer = dns.message.make_response(dns.message.from_wire(plain(sent[0])))
    answer.use_tsig(Key(KEY.name, b"another", KEY.algorithm))
    answer.request_mac = dns.message.from_wire(sent[0], keyring=KEY).mac
    return answer.to_wire()


def plain(wire: bytes) -> bytes:
    """A question without its signature."""
    asked = dns.message.from_wire(wire, keyring=False)
    return dns.message.make_query("web.test", dns.rdatatype.A, id=asked.id).to_wire()


def nothing(sent: list[bytes]) -> bytes:
    return b""


def silence(sent: list[bytes]) -> bytes:
    raise TimeoutError


@pytest.mark.parametrize(
    ("answer", "key", "code", "cause"),
    [
        (another_id, None, "E-DNS-ANSWER", "no question"),
        (rubbish, None, "E-DNS-ANSWER", "no question"),
        (rubbish_with_the_id, None, "E-DNS-ANSWER", ""),
        (another_question, None, "E-DNS-ANSWER", "another question"),
        (unsigned, KEY, "E-DNS-KEY", "does not sign"),
        (signed_otherwise, KEY, "E-DNS-KEY", "signed otherwise"),
    ],
)
def test_an_answer_that_is_none_is_told_and_ends_the_connection(
    answer: Answering, key: Key | None, code: str, cause: str
) -> None:
    link = Fake(answer, key)

    with pytest.raises(OperationFailed) as caught:
        link.ask([question()])

    assert caught.value.code == code
    assert cause in caught.value.cause
    assert "dns.test 5300" in caught.value.what
    assert "secret" not in str(caught.value)
    assert link.connection.closed


def test_an_update_without_an_answer_is_uncertain_and_a_question_is_not() -> None:
    update = dns.update.UpdateMessage("test")
    for answer in (nothing, silence):
        link = Fake(answer)
        with pytest.raises(Uncertain) as uncertain:
            link.update(update, "test")
        assert (uncertain.value.code, link.connection.closed) == ("E-DNS-TIMEOUT", True)
        with pytest.raises(Unreachable) as down:
            Fake(answer).ask([question()])
        assert not isinstance(down.value, Uncertain)
        assert down.value.code == "E-DNS-DOWN"


def test_an_update_that_was_not_sent_as_a_whole_is_not_uncertain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(self: Connection, data: bytes) -> None:
        raise TimeoutError

    monkeypatch.setattr(Connection, "sendall", cut)
    link = Fake(last)

    with pytest.raises(Unreachable) as caught:
        link.update(dns.update.UpdateMessage("test"), "test")

    assert not isinstance(caught.value, Uncertain)
    assert caught.value.cause == "no answer within 5 s"
    assert link.connection.closed


def test_a_connection_is_closed_at_its_end() -> None:
    link = Fake(last)
    with link:
        link.ask([question()])

    assert link.connection.closed
