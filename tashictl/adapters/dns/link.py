"""One TCP connection to a DNS server: updates one at a time, questions some dozens at once."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.tsig

from tashictl.adapters.dns import faults
from tashictl.adapters.dns.keys import Key
from tashictl.errors import TashiError
from tashictl.model.settings import Server

IN_FLIGHT = 32  # BIND drops without a word what is beyond its quota of 100


class Link:
    """A connection that is opened when first needed; after a fault it is closed.

    `key` signs all that is sent, and all answers must be signed with it.
    """

    def __init__(self, server: Server, key: Key | None, timeout_s: float) -> None:
        self.server = server
        self.key = key
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closed; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def update(self, message: dns.message.Message, zone: str) -> dns.message.Message:
        """Send an update and read its answer.

        Raises Unreachable when it cannot have been done, Uncertain when it may have been,
        OperationFailed for an answer that is none; dns.exception.TooBig before anything is sent.
        """
        wire = self._signed(message)
        until_s = time.monotonic() + self._timeout_s
        # What is not there as a whole is not done.
        self._send(wire, until_s)
        try:
            answer = self._receive(until_s)
        except OSError as error:
            self.close()
            raise faults.unanswered(self.server, zone, self._words(error)) from error
        with self._closed_by_fault():
            return self._read(answer, message)

    def ask(self, questions: Sequence[dns.message.Message]) -> list[dns.message.Message]:
        """The answers to questions, in their order; raises Unreachable and OperationFailed."""
        answers: dict[int, dns.message.Message] = {}
        for number, question in enumerate(questions):
            question.id = number  # so that all differ; a TCP connection needs no chance
        waiting = list(questions)
        in_flight: dict[int, dns.message.Message] = {}
        while waiting or in_flight:
            until_s = time.monotonic() + self._timeout_s
            while waiting and len(in_flight) < IN_FLIGHT:
                question = waiting.pop(0)
                self._send(self._signed(question), until_s)
                in_flight[question.id] = question
            wire = self._received(until_s)
            with self._closed_by_fault():
                asked = in_flight.pop(int.from_bytes(wire[:2], "big"), None)
                if asked is None:
                    raise faults.odd(self.server, "", "an answer to no question")
                answers[asked.id] = self._read(wire, asked)
        return [answers[question.id] for question in questions]

    def stream(self, question: dns.message.Message) -> Iterator[dns.message.Message]:
        """Answers to one question for as long as the caller reads; raises as `ask` does.

        Who reads must look at `had_tsig` of the last one.
        """
        self._send(self._signed(question), time.monotonic() + self._timeout_s)
        context = None
        while True:
            wire = self._received(time.monotonic() + self._timeout_s)
            with self._closed_by_fault():
                answer = self._parsed(wire, question, stream=True, context=context)
            context = answer.tsig_ctx
            yield answer

    def peer(self) -> str:
        """Where it leads: an address; "" before it was used."""
        return "" if self._socket is None else str(self._socket.getpeername()[0])

    # helpers

    def _signed(self, message: dns.message.Message) -> bytes:
        if self.key is not None:
            message.use_tsig(self.key)
        return message.to_wire(prepend_length=True)

    def _open(self, until_s: float) -> socket.socket:
        if self._socket is None:
            where = (self.server.host, self.server.port)
            # It tries all addresses of a name, of both families.
            self._socket = socket.create_connection(where, timeout=_left(until_s))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _send(self, wire: bytes, until_s: float) -> None:
        try:
            connection = self._open(until_s)
            connection.settimeout(_left(until_s))
            connection.sendall(wire)
        except (OSError, UnicodeError) as error:
            self.close()
            raise faults.down(self.server, self._words(error)) from error

    def _received(self, until_s: float) -> bytes:
        try:
            return self._receive(until_s)
        except OSError as error:
            self.close()
            raise faults.down(self.server, self._words(error)) from error

    def _receive(self, until_s: float) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(2, until_s), "big"), until_s)

    def _exactly(self, count: int, until_s: float) -> bytes:
        assert self._socket is not None
        found = bytearray()
        while len(found) < count:
            self._socket.settimeout(_left(until_s))
            more = self._socket.recv(count - len(found))
            if not more:
                raise ConnectionResetError("it closed the connection without an answer")
            found += more
        return bytes(found)

    def _read(self, wire: bytes, asked: dns.message.Message) -> dns.message.Message:
        answer = self._parsed(wire, asked)
        if self.key is not None and not answer.had_tsig:
            raise faults.unsigned(self.server, self.key)
        if not asked.is_response(answer):
            raise faults.odd(self.server, "", "an answer to another question")
        return answer

    def _parsed(
        self,
        wire: bytes,
        asked: dns.message.Message,
        *,
        stream: bool = False,
        context: dns.tsig.HMACTSig | dns.tsig.GSSTSig | None = None,
    ) -> dns.message.Message:
        try:
            return dns.message.from_wire(
                wire,
                keyring=self.key,
                request_mac=asked.mac,
                xfr=stream,
                multi=stream,
                tsig_ctx=context,
            )
        except (dns.exception.DNSException, ValueError) as error:
            if self.key is not None and _is_unsigned(wire):
                raise faults.unsigned(self.server, self.key) from error
            raise faults.unread(self.server, self.key, error, wire) from error

    @contextlib.contextmanager
    def _closed_by_fault(self) -> Iterator[None]:
        try:
            yield
        except TashiError:
            self.close()
            raise

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _is_unsigned(wire: bytes) -> bool:
    try:
        return not dns.message.from_wire(wire, keyring=False).had_tsig
    except (dns.exception.DNSException, ValueError):
        return False
