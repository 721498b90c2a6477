"""The QMP client against a scripted QEMU that splits its bytes anywhere."""

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.adapters import qmp
from tashictl.adapters.qmp import QmpClient
from tashictl.errors import OperationFailed, Unreachable

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"},'
    b' "capabilities": ["oob"]}}\r\n'
)
STOP = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'
RESUME = STOP.replace(b"STOP", b"RESUME")


class Script:
    """A stream that gives these chunks, then its end or, when `silent`, nothing in time."""

    def __init__(self, chunks: Iterable[bytes], *, silent: bool = False) -> None:
        self.chunks = [chunk for chunk in chunks if chunk]
        self.silent = silent
        self.sent = b""
        self.deadlines: set[float] = set()

    def send(self, data: bytes) -> None:
        self.sent += data

    def receive(self, deadline_s: float) -> bytes:
        self.deadlines.add(deadline_s)
        if self.chunks:
            return self.chunks.pop(0)
        if self.silent:
            raise Unreachable("E-TIMEOUT", "no answer in time")
        return b""

    @property
    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.sent.splitlines()]


def answer(id_: int, value: object) -> bytes:
    return json.dumps({"return": value, "id": id_}).encode() + b"\r\n"


def talk(*answers: bytes, silent: bool = False) -> tuple[QmpClient, Script]:
    """A client that has shaken hands; its next command has id 2."""
    script = Script([GREETING, answer(1, {}), *answers], silent=silent)
    client = QmpClient(script, 5.0)
    client.connect()
    return client, script


def test_connecting_reads_the_version_and_negotiates() -> None:
    client, script = talk()
    assert client.version == (7, 2, 22)
    assert script.requests == [{"execute": "qmp_capabilities", "id": 1}]


def test_a_command_carries_its_arguments_and_returns_what_qemu_returned() -> None:
    client, script = talk(answer(2, [{"a": 1}]))
    assert client.execute("blockdev-del", {"node-name": 'x"\n'}) == [{"a": 1}]
    assert script.requests[1] == {
        "execute": "blockdev-del",
        "arguments": {"node-name": 'x"\n'},
        "id": 2,
    }
    assert script.sent.count(b"\n") == 2


@given(st.data())
def test_it_does_not_matter_where_the_bytes_are_split(data: st.DataObject) -> None:
    whole = GREETING + answer(1, {}) + STOP + answer(2, {"UUID": UUID.upper()}) + RESUME
    whole += b"\r\n" + answer(3, {"status": "running", "singlestep": False, "running": True})
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=40)))
    edges = [0, *cuts, len(whole)]
    chunks = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert qmp.hello(Script(chunks), UUID, 5.0) == "running"


def test_events_between_are_kept_in_order() -> None:
    client, _ = talk(STOP + RESUME + answer(2, {}) + STOP)
    client.execute("cont")
    assert [event["event"] for event in client.events] == ["STOP", "RESUME"]
    assert client.wait_for("RESUME")["event"] == "RESUME"
    assert client.events == []
    assert client.wait_for("SHUTDOWN", "STOP")["event"] == "STOP"


def test_a_refusal_carries_qemus_class_and_words() -> None:
    client, _ = talk(
        b'{"id": 2, "error": {"class": "CommandNotFound", "desc": "no such thing"}}\n', answer(3, 1)
    )
    with pytest.raises(OperationFailed) as caught:
        client.execute("frobnicate")
    assert (caught.value.code, caught.value.cause) == (
        "E-QMP-REFUSED",
        "CommandNotFound: no such thing",
    )
    assert caught.value.what == "QEMU refused frobnicate"
    assert client.execute("query-status") == 1


@pytest.mark.parametrize(
    ("greeting", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "E-QMP"),
        (b"{}\n", "E-QMP-GREETING"),
        (b"[]\n", "E-QMP"),
        (b'{"QMP": 1}\n', "E-QMP-GREETING"),
        (b'{"QMP": {"version": {}}}\n', "E-QMP-GREETING"),
        (b'{"return": {}}\n', "E-QMP-GREETING"),
        (b"\xff\xfe\n", "E-QMP"),
        (b'{"QMP"\n', "E-QMP"),
        (b"[" * 100_000 + b"\n", "E-QMP"),
        (STOP, "E-QMP-GREETING"),
    ],
)
def test_what_does_not_greet_as_qemu_is_refused(greeting: bytes, code: str) -> None:
    with pytest.raises(OperationFailed) as caught:
        QmpClient(Script([greeting, answer(1, {})]), 5.0).connect()
    assert caught.value.code == code and caught.value.hint


def test_an_event_before_the_greeting_is_kept_and_the_greeting_counts() -> None:
    client = QmpClient(Script([STOP, GREETING, answer(1, {})]), 5.0)

    client.connect()

    assert [e["event"] for e in client.events] == ["STOP"]


@pytest.mark.parametrize(
    "reply", [b'{"id": 2}\n', answer(7, {}), b'{"return": 1}\n', b"null\n", b"{}{}\n"]
)
def test_an_answer_to_something_else_is_refused(reply: bytes) -> None:
    client, _ = talk(reply)
    with pytest.raises(OperationFailed, match="speak QMP"):
        client.execute("query-status")


@pytest.mark.parametrize("chunks", [[], [GREETING[:20]], [GREETING], [GREETING, answer(1, {})]])
def test_the_end_of_the_stream_is_no_proof_of_anything(chunks: list[bytes]) -> None:
    with pytest.raises(Unreachable) as caught:
        qmp.hello(Script(chunks), UUID, 5.0)
    assert caught.value.code == "E-QMP-END"


def test_a_silent_qemu_ends_at_the_deadline_which_is_passed_on_unchanged() -> None:
    script = Script([GREETING], silent=True)
    with pytest.raises(Unreachable, match="E-TIMEOUT"):
        qmp.hello(script, UUID, 17.25)
    assert script.deadlines == {17.25}


def test_a_new_deadline_holds_from_then_on() -> None:
    client, script = talk(answer(2, 0))
    client.deadline_s = 9.0
    client.execute("stop")
    assert script.deadlines == {5.0, 9.0}


def test_a_line_without_end_is_given_up() -> None:
    block = b" " * (1024 * 1024)
    script = Script([block] * 100)
    with pytest.raises(OperationFailed, match="speak QMP"):
        QmpClient(script, 5.0).connect()
    assert len(script.chunks) >= 90


def test_a_long_line_is_read() -> None:
    client, _ = talk(*[b'{"return": "', *[b"x" * 65536] * 32, b'", "id": 2}\n'])
    assert client.execute("query-qmp-schema") == "x" * 65536 * 32


def test_events_without_end_are_given_up() -> None:
    client, _ = talk(STOP * (qmp.MAX_EVENTS + 1))
    with pytest.raises(OperationFailed, match="speak QMP"):
        client.execute("stop")
    client, _ = talk(STOP * (qmp.MAX_EVENTS + 1))
    with pytest.raises(OperationFailed, match="speak QMP"):
        client.wait_for("RESUME")


def test_waiting_for_an_event_refuses_an_answer() -> None:
    client, _ = talk(answer(2, {}))
    with pytest.raises(OperationFailed, match="speak QMP"):
        client.wait_for("STOP")


def test_hello_says_how_the_vm_is() -> None:
    script = Script(
        [GREETING, answer(1, {}), answer(2, {"UUID": UUID}), answer(3, {"status": "paused"})]
    )
    assert qmp.hello(script, UUID, 5.0) == "paused"
    assert [r["execute"] for r in script.requests] == [
        "qmp_capabilities",
        "query-uuid",
        "query-status",
    ]


def test_hello_refuses_another_vm() -> None:
    other = UUID.replace("0f", "1f")
    with pytest.raises(OperationFailed) as caught:
        qmp.hello(Script([GREETING, answer(1, {}), answer(2, {"UUID": other})]), UUID, 5.0)
    assert caught.value.code == "E-QMP-UUID" and other in caught.value.what


@pytest.mark.parametrize("value", [{}, [], None, {"UUID": 7}])
def test_hello_refuses_an_answer_without_what_was_asked(value: object) -> None:
    with pytest.raises(OperationFailed, match="speak QMP"):
        qmp.hello(Script([GREETING, answer(1, {}), answer(2, value)]), UUID, 5.0)


STATUS = {"running": True, "status": "running"}
SHUTDOWN = b'{"event": "SHUTDOWN", "data": {"guest": true}, "timestamp": {}}\r\n'


def monitor(*answers: bytes, silent: bool = False) -> tuple[qmp.Monitor, Script]:
    """A dialogue with a VM that was greeted; its next command has id 4."""
    greeted = [GREETING, answer(1, {}), answer(2, {"UUID": UUID}), answer(3, STATUS)]
    script = Script([*greeted, *answers], silent=silent)
    return qmp.talk(script, UUID, 5.0), script


def test_a_dialogue_gives_a_command_and_asks_what_it_led_to() -> None:
    talking, script = monitor(answer(4, {}), answer(5, {"running": False, "status": "paused"}))

    assert talking.status == "running"
    assert talking.command("stop", 9.0) == "paused"
    assert talking.status == "paused"
    assert [r["execute"] for r in script.requests[-2:]] == ["stop", "query-status"]


def test_a_command_that_qemu_refuses_says_so() -> None:
    refusal = b'{"id": 4, "error": {"class": "GenericError", "desc": "not now"}}\r\n'
    talking, _ = monitor(refusal)

    with pytest.raises(OperationFailed) as caught:
        talking.command("cont", 9.0)

    assert caught.value.cause == "GenericError: not now"


@pytest.mark.parametrize("last", [(SHUTDOWN,), (STOP, SHUTDOWN), ()])
def test_a_qemu_ends_when_it_says_so_or_closes_the_line(last: tuple[bytes, ...]) -> None:
    talking, _ = monitor(*last)

    assert talking.ends(9.0)


def test_a_qemu_that_says_nothing_in_time_has_not_ended() -> None:
    talking, _ = monitor(silent=True)

    assert not talking.ends(9.0)


def test_a_line_that_is_cut_is_no_end() -> None:
    talking, script = monitor()

    def cut(_deadline_s: float) -> bytes:
        raise Unreachable("E-CUT", "the connection was cut")

    script.receive = cut  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        talking.ends(9.0)


# Of QEMU 7.2.22, with a disk and an empty CD drive; most counters left out.
BLOCKSTATS = [
    {
        "device": "",
        "node-name": "d0",
        "qdev": "/machine/peripheral/disk0/virtio-backend",
        "stats": {"rd_bytes": 4096, "wr_operations": 7, "account_failed": True, "timed_stats": []},
    },
    {"device": "", "node-name": "cd0", "qdev": "cdd0", "stats": {"rd_bytes": 0}},
    {"device": "", "stats": {"rd_bytes": 9}},
]


def test_measuring_says_how_the_vm_is_and_counts_each_device_by_its_id() -> None:
    script = Script(
        [
            GREETING,
            answer(1, {}),
            answer(2, {"UUID": UUID}),
            answer(3, {"status": "running", "running": True}),
            answer(4, BLOCKSTATS),
        ]
    )

    status, blocks = qmp.measure(script, UUID, 5.0)

    assert status == "running"
    assert blocks == {"disk0": {"rd_bytes": 4096.0, "wr_operations": 7.0}, "cd0": {"rd_bytes": 0.0}}


@pytest.mark.parametrize("value", [None, {}, ["x"], [{"qdev": 5, "stats": []}]])
def test_an_answer_without_counters_is_one_without_devices(value: object) -> None:
    status = answer(3, {"status": "paused"})
    script = Script([GREETING, answer(1, {}), answer(2, {"UUID": UUID}), status, answer(4, value)])

    assert qmp.measure(script, UUID, 5.0) == ("paused", {})
