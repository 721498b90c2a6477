"""QEMU's monitor protocol (QMP; QEMU: docs/interop/qmp-spec.rst) over a stream to its socket.

One line of JSON is one message. The dialogue is written here rather than taken from qemu.qmp, which
lives on asyncio and a file descriptor: our streams are channels of an SSH connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tashictl.errors import OperationFailed, Unreachable

MAX_LINE_BYTES = 8 * 1024 * 1024  # the longest known, query-qmp-schema, is below 1 MiB
MAX_EVENTS = 10_000  # kept or skipped while one answer is awaited


class Stream(Protocol):
    """The part of a byte stream that a dialogue needs."""

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Unreachable."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; raises Unreachable past `deadline_s`."""
        ...


def hello(stream: Stream, uuid: str, deadline_s: float) -> str:
    """Greet the QEMU behind `stream`, check that its VM is `uuid`, return its status (``running``).

    Raises OperationFailed for another VM or what is no QMP, Unreachable when the stream ends or at
    `deadline_s` (absolute, of the stream's clock).
    """
    return _greet(QmpClient(stream, deadline_s), uuid)


def talk(stream: Stream, uuid: str, deadline_s: float) -> Monitor:
    """As `hello`, and go on talking; raises as it does."""
    client = QmpClient(stream, deadline_s)
    return Monitor(client, _greet(client, uuid))


def measure(
    stream: Stream, uuid: str, deadline_s: float
) -> tuple[str, dict[str, dict[str, float]]]:
    """As `hello`, and the counters of each block device that has any (query-blockstats).

    A device is named by its id on the command line (``disk0``), else by its node.
    """
    client = QmpClient(stream, deadline_s)
    status = _greet(client, uuid)
    found: dict[str, dict[str, float]] = {}
    answer = client.execute("query-blockstats")
    for entry in answer if isinstance(answer, list) else ():
        device = _device(entry)
        if device and isinstance(entry.get("stats"), dict):
            found[device] = {
                name: float(value)
                for name, value in entry["stats"].items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }
    return status, found


def _device(entry: object) -> str:
    """``disk0`` of ``/machine/peripheral/disk0/virtio-backend``."""
    if not isinstance(entry, dict):
        return ""
    path = str(entry.get("qdev") or "").split("/")
    if "peripheral" in path[:-1]:
        return path[path.index("peripheral") + 1]
    return str(entry.get("node-name") or "")


def _greet(client: QmpClient, uuid: str) -> str:
    client.connect()
    found = _text(client.execute("query-uuid"), "UUID")
    if found.lower() != uuid.lower():
        raise OperationFailed(
            "E-QMP-UUID",
            f"the QEMU at this socket is the VM {found}, not {uuid}",
            hint="another VM uses this run folder: look at it before anything is started there",
        )
    return _text(client.execute("query-status"), "status")


class Monitor:
    """The Monitor of the ports, for a QEMU that was greeted."""

    def __init__(self, client: QmpClient, status: str) -> None:
        self.status = status
        self._client = client

    def command(self, command: str, deadline_s: float) -> str:
        """Give one command; the run state after it. Raises as `QmpClient.execute` does."""
        self._client.deadline_s = deadline_s
        self._client.execute(command)
        self.status = _text(self._client.execute("query-status"), "status")
        return self.status

    def ends(self, deadline_s: float) -> bool:
        """Whether QEMU tells of its shutdown, or closes the stream, before the deadline."""
        self._client.deadline_s = deadline_s
        try:
            self._client.wait_for("SHUTDOWN")
        except Unreachable as error:
            if error.code == "E-TIMEOUT":
                return False
            if error.code == "E-QMP-END":
                return True
            raise
        return True


class QmpClient:
    """A dialogue with one QEMU: `connect` first, then `execute` as often as wanted.

    `deadline_s` (absolute, of the stream's clock) holds for all that follows; it may be set anew.
    `events` are those that came and were not asked for yet, oldest first.
    """

    def __init__(self, stream: Stream, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.version: tuple[int, ...] = ()
        self.events: list[dict[str, object]] = []
        self._stream = stream
        self._lines = _Lines(stream)
        self._last_id = 0

    def connect(self) -> None:
        """Read QEMU's greeting and leave the negotiation mode; `version` is then QEMU's.

        Raises OperationFailed for what is no QMP, Unreachable when no greeting comes in time (QEMU
        serves one client at a time) or the stream ends.
        """
        message = self._message()
        while "event" in message:  # QEMU that just starts may tell of itself before it greets
            self.events.append(message)
            message = self._message()
        greeting = message.get("QMP")
        try:
            numbers = msgspec.convert(greeting, _Greeting).version.qemu
        except msgspec.ValidationError as error:
            raise _nonsense("it does not greet as QEMU does", "E-QMP-GREETING") from error
        self.version = (numbers.major, numbers.minor, numbers.micro)
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """What QEMU returned to `command`; events that come before it are collected.

        Raises OperationFailed with QEMU's class and description when it refused, Unreachable when
        the stream ended: the command may have been carried out.
        """
        self._last_id += 1
        request: dict[str, object] = {"execute": command, "id": self._last_id}
        if arguments:
            request["arguments"] = dict(arguments)
        self._stream.send(msgspec.json.encode(request) + b"\n")
        for _ in range(MAX_EVENTS):
            message = self._message()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise _refused(command, message["error"])
            elif "return" in message and message.get("id") == self._last_id:
                return message["return"]
            else:
                raise _nonsense(f"its answer to {command} is none")
        raise _nonsense(f"{MAX_EVENTS} events and no answer to {command}")

    def wait_for(self, *names: str) -> dict[str, object]:
        """The next event with one of these names, those already collected first.

        Others before it are dropped. Raises as `execute` does.
        """
        for _ in range(MAX_EVENTS):
            event = self.events.pop(0) if self.events else self._message()
            if event.get("event") in names:
                return event
            if "event" not in event:
                raise _nonsense("it answers what was not asked")
        raise _nonsense(f"{MAX_EVENTS} events and no {' or '.join(names)}")

    def _message(self) -> dict[str, object]:
        line = self._lines.next(self.deadline_s)
        try:
            return msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.DecodeError, RecursionError) as error:
            shown = line[:60].decode("utf-8", "backslashreplace")
            raise _nonsense(f"it says {shown!r}") from error


class _Lines:
    """Lines out of a stream that splits its bytes anywhere."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0

    def next(self, deadline_s: float) -> bytes:
        """The next line that is not empty, without its end; at most MAX_LINE_BYTES."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end]).strip()
                del self._buffer[: end + 1]
                self._searched = 0
                if line:
                    return line
                continue
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_BYTES:
                raise _nonsense(f"a line of more than {MAX_LINE_BYTES} bytes")
            data = self._stream.receive(deadline_s)
            if not data:
                raise Unreachable(
                    "E-QMP-END",
                    "the connection to QEMU's monitor ended",
                    cause="QEMU ended, or the connection to its host was cut",
                    hint="the log of QEMU on the host (qemu.log) may say why",
                )
            self._buffer += data


class _Numbers(msgspec.Struct, frozen=True):
    major: int
    minor: int
    micro: int


class _Version(msgspec.Struct, frozen=True):
    qemu: _Numbers


class _Greeting(msgspec.Struct, frozen=True):
    version: _Version


def _text(value: object, key: str) -> str:
    text = value.get(key) if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise _nonsense(f"its answer has no {key}")
    return text


def _refused(command: str, error: object) -> OperationFailed:
    facts = error if isinstance(error, dict) else {}
    return OperationFailed(
        "E-QMP-REFUSED",
        f"QEMU refused {command}",
        cause=f"{facts.get('class', 'no class')}: {facts.get('desc', 'no description')}",
    )


def _nonsense(cause: str, code: str = "E-QMP") -> OperationFailed:
    return OperationFailed(
        code,
        "what answers at the monitor's socket does not speak QMP",
        cause=cause,
        hint="look at what listens there: it may not be QEMU",
    )
