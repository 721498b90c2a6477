from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from pypureomapi import OmapiMessage

from tashictl.adapters.dhcp import omapi_host, omapi_wire
from tashictl.adapters.dhcp.omapi import OmapiServer
from tashictl.errors import (
    InvalidRequest,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.naming import OmapiHost
from tashictl.model.settings import DhcpSettings, Secret, Server
from tests.adapters.dhcp.server import FakeServer, host, status
from tests.adapters.dhcp.test_omapi_host import OWNER, VM

SECRET = "c2VjcmV0IHNlY3JldA=="
SETTINGS = DhcpSettings(
    server=Server(host="127.0.0.1", port=1),
    key_name="k",
    secret_key=Secret(SECRET),
    key_algorithm="hmac-sha256",
    timeout_s=0.2,
)
OPEN, DELETE = 1, 6
NOT_FOUND = 23
STANDING = {
    "name": b"vm1",
    "hardware_address": bytes.fromhex("525400ab0001"),
    "ip_address": bytes([172, 16, 7, 7]),
    "dhcp_client_identifier": omapi_host.wanted(VM).mark.encode(),
}


def creates(message: OmapiMessage) -> bool:
    return b"create" in dict(message.message)


def failure(act: Callable[[], object]) -> TashiError:
    with pytest.raises(TashiError) as caught:
        act()
    text = f"{caught.value} {caught.value.hint}"
    assert SECRET not in text
    assert caught.value.hint
    assert "127.0.0.1 1" in caught.value.what
    return caught.value


def nothing_there(message: OmapiMessage) -> OmapiMessage:
    return host() if creates(message) else status(NOT_FOUND, "no object")


def test_a_host_is_asked_for_as_one_exclusive_object_with_its_mark_and_group() -> None:
    fake = FakeServer(nothing_there)
    OmapiServer(SETTINGS, fake).add(VM)

    (create,) = [message for message in fake.asked if creates(message)]
    wanted = omapi_host.wanted(VM)
    assert dict(create.message) == {
        b"type": b"host",
        b"create": b"\0\0\0\1",
        b"exclusive": b"\0\0\0\1",
    }
    assert dict(create.obj) == {
        b"name": b"vm1",
        b"hardware-address": bytes.fromhex("525400ab0001"),
        b"hardware-type": b"\0\0\0\1",
        b"ip-address": bytes([172, 16, 7, 7]),
        b"dhcp-client-identifier": wanted.mark.encode(),
        b"group": wanted.group.encode(),
        b"statements": wanted.statements.encode(),
    }
    # An empty text of statements kills dhcpd.
    assert all(dict(m.obj).get(b"statements") != b"" for m in fake.asked)


def test_a_missing_group_is_made_once_and_the_host_asked_for_again() -> None:
    groups: list[bytes] = []

    def answers(message: OmapiMessage) -> OmapiMessage:
        if creates(message) and dict(message.message)[b"type"] == b"group":
            groups.append(dict(message.obj)[b"name"])
            return host()
        return nothing_there(message) if groups else status(NOT_FOUND)

    OmapiServer(SETTINGS, FakeServer(answers)).add(VM)

    assert groups == [b"tashictl-0a1b2c3d4e5f"]


@pytest.mark.parametrize("times", [1, 2])
def test_an_old_host_of_the_vm_by_that_name_goes_however_often_it_comes(times: int) -> None:
    taken = [True] * times
    old = {**STANDING, "dhcp_client_identifier": f"{OWNER}/old".encode()}

    def answers(message: OmapiMessage) -> OmapiMessage:
        if creates(message):
            return status(18) if taken else host()
        if message.opcode == DELETE:
            taken.pop()
            return status(0)
        by_name = b"name" in dict(message.obj)
        return host(9, **old) if by_name and taken else status(NOT_FOUND)

    fake = FakeServer(answers)
    OmapiServer(SETTINGS, fake).add(VM)

    assert [m.handle for m in fake.asked if m.opcode == DELETE] == [9] * times
    assert not taken


def test_a_new_host_costs_two_requests_and_one_that_stands_one() -> None:
    fake = FakeServer(nothing_there)
    OmapiServer(SETTINGS, fake).add(VM)
    assert len(fake.asked) == 2

    fake = FakeServer(lambda _: host(**STANDING))
    OmapiServer(SETTINGS, fake).add(VM)
    assert len(fake.asked) == 1


def test_a_server_that_refuses_without_a_reason_that_we_see_is_told_of() -> None:
    def answers(message: OmapiMessage) -> OmapiMessage:
        return status(18, "can't update object") if creates(message) else status(NOT_FOUND)

    error = failure(lambda: OmapiServer(SETTINGS, FakeServer(answers)).add(VM))

    assert (type(error), error.code) == (OperationFailed, "E-DHCP-ANSWER")
    assert error.cause == "can't update object (status 18)"


@pytest.mark.parametrize("kind", ["name", "group"])
def test_any_other_status_is_told_of_and_not_tried_again(kind: str) -> None:
    def answers(message: OmapiMessage) -> OmapiMessage:
        if not creates(message):
            return status(NOT_FOUND)
        is_group = dict(message.message)[b"type"] == b"group"
        return status(26) if is_group or kind == "name" else status(NOT_FOUND)

    fake = FakeServer(answers)
    error = failure(lambda: OmapiServer(SETTINGS, fake).add(VM))

    assert error.code == "E-DHCP-ANSWER"
    assert len([m for m in fake.asked if creates(m)]) == (1 if kind == "name" else 2)


def test_a_lookup_tells_what_stands_there() -> None:
    def answers(message: OmapiMessage) -> OmapiMessage:
        named = dict(message.obj)[b"name"]
        return host(**STANDING) if named == b"vm1" else status(NOT_FOUND)

    server = OmapiServer(SETTINGS, FakeServer(answers))

    assert server.lookup("vm1") == OmapiHost(
        name="vm1", mac="52:54:00:ab:00:01", addresses=("172.16.7.7",), owner=OWNER
    )
    assert server.lookup("vm2") is None


def test_a_name_that_no_host_can_have_is_not_asked_for() -> None:
    fake = FakeServer(nothing_there)
    server = OmapiServer(SETTINGS, fake)

    assert [server.lookup(name) for name in ("", "a\nb", "x" * 300)] == [None] * 3
    assert fake.asked == []


def test_what_could_never_have_been_added_is_removed_without_asking() -> None:
    fake = FakeServer(nothing_there)
    OmapiServer(SETTINGS, fake).remove(replace(VM, addresses=("2001:db8::7",)))

    assert fake.asked == []


@pytest.mark.parametrize("pieces", [1, 7])
def test_answers_may_come_in_pieces(pieces: int) -> None:
    fake = FakeServer(nothing_there)
    fake.pieces = pieces
    OmapiServer(SETTINGS, fake).add(VM)

    assert creates(fake.asked[-1])


@pytest.mark.parametrize("end", [b"", b"\0"], ids=["end", "silence"])
def test_what_is_lost_before_a_change_is_unsent_and_after_it_uncertain(end: bytes) -> None:
    before = FakeServer(lambda _: end)
    error = failure(lambda: OmapiServer(SETTINGS, before).add(VM))
    assert (type(error), error.code) == (Unreachable, "E-DHCP-DOWN")

    after = FakeServer(lambda m: end if creates(m) else status(NOT_FOUND))
    error = failure(lambda: OmapiServer(SETTINGS, after).add(VM))
    assert (type(error), error.code) == (Uncertain, "E-DHCP-TIMEOUT")

    deleting = FakeServer(lambda m: end if m.opcode == DELETE else host(**STANDING))
    error = failure(lambda: OmapiServer(SETTINGS, deleting).remove(VM))
    assert (type(error), error.code) == (Uncertain, "E-DHCP-TIMEOUT")
    assert (before.closed, after.closed, deleting.closed) == (1, 1, 1)


def test_a_host_that_has_gone_meanwhile_is_removed() -> None:
    fake = FakeServer(lambda m: status(NOT_FOUND) if m.opcode == DELETE else host(**STANDING))
    OmapiServer(SETTINGS, fake).remove(VM)

    assert fake.asked[-1].opcode == DELETE


def test_a_stream_through_a_host_is_not_used_again_once_it_is_lost() -> None:
    fake = FakeServer(lambda _: b"")
    server = OmapiServer(SETTINGS, fake)
    failure(lambda: server.lookup("vm1"))
    error = failure(lambda: server.lookup("vm1"))

    assert error.code == "E-DHCP-DOWN"
    assert error.cause == "the connection through its host has ended"
    assert len(fake.asked) == 1


def test_the_stream_is_closed_though_nothing_was_asked() -> None:
    fake = FakeServer(nothing_there)
    server = OmapiServer(SETTINGS, fake)
    server.close()
    server.close()

    assert fake.closed


class Torn(FakeServer):
    """A stream whose host is lost."""

    def receive(self, deadline_s: float) -> bytes:
        raise Unreachable("E-CUT", "the connection was lost", cause="reset by peer", host="h1")


def test_a_host_that_is_lost_with_its_stream_is_a_server_that_is_down() -> None:
    error = failure(lambda: OmapiServer(SETTINGS, Torn(nothing_there)).add(VM))

    assert (type(error), error.code) == (Unreachable, "E-DHCP-DOWN")
    assert error.cause == "the connection was lost: reset by peer"


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 70_000]
)
def test_a_port_of_something_else_is_told_as_such(greeting: bytes) -> None:
    fake = FakeServer(nothing_there, greeting=greeting)
    error = failure(lambda: OmapiServer(SETTINGS, fake).add(VM))

    assert (type(error), error.code) == (OperationFailed, "E-DHCP-ANSWER")
    assert "not OMAPI" in error.what
    assert fake.closed


def test_an_answer_to_something_else_is_not_taken_for_one() -> None:
    def answers(message: OmapiMessage) -> OmapiMessage:
        reply = host(**STANDING)
        reply.rid = message.tid ^ 1
        return reply

    error = failure(lambda: OmapiServer(SETTINGS, FakeServer(answers)).lookup("vm1"))
    assert error.code == "E-DHCP-ANSWER"


def test_an_answer_that_is_signed_by_another_key_is_not_believed() -> None:
    fake = FakeServer(lambda _: host(**STANDING))
    fake.key = omapi_wire.authenticator("hmac-sha256", "k", "b3RoZXI=")
    fake.key.authid = 7
    error = failure(lambda: OmapiServer(SETTINGS, fake).lookup("vm1"))

    assert (type(error), error.code) == (OperationFailed, "E-DHCP-KEY")


def test_an_answer_without_a_signature_is_not_believed() -> None:
    def answers(message: OmapiMessage) -> bytes:
        reply = host(**STANDING)
        reply.rid = message.tid
        return reply.as_string()

    error = failure(lambda: OmapiServer(SETTINGS, FakeServer(answers)).lookup("vm1"))
    assert (type(error), error.code) == (OperationFailed, "E-DHCP-KEY")


@pytest.mark.parametrize(
    "change",
    [
        {"key_name": None},
        {"secret_key": None},
        {"secret_key": Secret("not base64!")},
        {"secret_key": Secret("c2Vj!!cmV0")},
        {"secret_key": Secret("")},
        {"key_algorithm": "hmac-sha3"},
        {"key_algorithm": "md4"},
    ],
)
def test_a_key_that_is_none_is_refused_before_anything_is_sent(change: dict[str, Any]) -> None:
    fake = FakeServer(nothing_there)
    error = failure(lambda: OmapiServer(replace(SETTINGS, **change), fake).add(VM))

    assert (type(error), error.code) == (InvalidRequest, "E-DHCP-KEY")
    assert "not base64!" not in f"{error} {error.hint} {error.__cause__}"
    assert fake.asked == []


@pytest.mark.parametrize("name", omapi_wire.ALGORITHMS)
def test_each_algorithm_signs_with_its_length_and_name(name: str) -> None:
    key = omapi_wire.authenticator(name.upper(), "k", f" {SECRET[:8]} {SECRET[8:]}\n")

    assert len(key.sign(b"x")) == key.authlen
    assert key.auth_object() == {b"name": b"k", b"algorithm": f"{name}.SIG-ALG.REG.INT.".encode()}
