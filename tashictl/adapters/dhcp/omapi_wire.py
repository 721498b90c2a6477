"""OMAPI on the wire: a connection that is signed, one request and then its answer.

pypureomapi's own client is bound to a socket of its own and hides every status; its messages and
its protocol are used here, over any byte stream.
"""

from __future__ import annotations

import binascii
import hmac
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from pypureomapi import (
    OMAPI_OP_STATUS,
    OMAPI_OP_UPDATE,
    OmapiAuthenticatorBase,
    OmapiError,
    OmapiHMACMD5Authenticator,
    OmapiMessage,
    OmapiProtocol,
)

from tashictl.errors import Unreachable

_MD5 = "hmac-md5"
_LENGTHS = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
ALGORITHMS = (_MD5, *(f"hmac-{name}" for name in _LENGTHS))
_READ = 1 << 16


class Channel(Protocol):
    """A byte stream to the server that somebody else has opened; see `ops.ports_stream.Stream`."""

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises OSError or Unreachable."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; `deadline_s` is monotonic; raises OSError or Unreachable."""
        ...

    def close(self) -> None:
        """End it; never raises."""
        ...


class TcpChannel:
    """A connection from this machine; raises OSError."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._socket = socket.create_connection((host, port), timeout_s)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.settimeout(self._timeout_s)
        self._socket.sendall(data)

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end."""
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left_s)
        return self._socket.recv(_READ)

    def close(self) -> None:
        """End it."""
        self._socket.close()


class ShaAuthenticator(OmapiAuthenticatorBase):  # type: ignore[misc]  # the library has no types
    """HMAC with a SHA, by the name that dhcpd has for it on the wire (pypureomapi has MD5 only)."""

    def __init__(self, user: bytes, key: bytes, sha: str) -> None:
        super().__init__()
        self.authlen = _LENGTHS[sha]
        self.algorithm = f"hmac-{sha}.SIG-ALG.REG.INT.".encode()
        self._user = user
        self._key = binascii.a2b_base64(key)
        self._sha = sha

    def auth_object(self) -> dict[bytes, bytes]:
        """What the server is asked for."""
        return {b"name": self._user, b"algorithm": self.algorithm}

    def sign(self, message: bytes) -> bytes:
        """The signature of a message."""
        return hmac.digest(self._key, message, self._sha)


def authenticator(algorithm: str, user: str, key: str) -> OmapiAuthenticatorBase:
    """That of a key; raises ValueError for an algorithm or base64 that is none."""
    name, secret = user.encode(), "".join(key.split()).encode()
    if not binascii.a2b_base64(secret, strict_mode=True):
        raise ValueError("an empty key")
    if algorithm.lower() == _MD5:
        return OmapiHMACMD5Authenticator(name, secret)
    sha = algorithm.lower().removeprefix("hmac-")
    if sha not in _LENGTHS:
        raise ValueError(f"{algorithm} is no algorithm of OMAPI")
    return ShaAuthenticator(name, secret, sha)


class Lost(Exception):
    """The connection is of no more use; the text says why."""


class Denied(Exception):
    """The server does not accept the key; the text says why."""


class Nonsense(Exception):
    """What came is not OMAPI; the text says why."""


class Answer(Struct, frozen=True, kw_only=True):
    """What the server said: `result` is 0 where it did what was asked."""

    result: int
    text: str
    handle: int
    attributes: dict[bytes, bytes]


class Wire:
    """One connection, signed by `key`; it asks for nothing itself, and raises what stands above.

    dhcpd aborts when requests come faster than it answers, so each waits for its answer. The
    answer to each has `timeout_s`. After Lost or Nonsense it must not be used again.
    """

    def __init__(self, channel: Channel, key: OmapiAuthenticatorBase, timeout_s: float) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
        self._came: list[OmapiMessage] = []
        self._greeted = False
        self._protocol = OmapiProtocol()
        self._protocol.startup_completed = self._greet
        self._protocol.message_received = self._came.append
        deadline_s = time.monotonic() + timeout_s
        self._guarded(lambda: self._protocol.connection_made(self))
        while not self._greeted:
            self._read(deadline_s)
        self._sign_in(key)

    def write(self, data: bytes) -> None:
        """What the protocol sends through."""
        self._channel.send(data)

    def close(self) -> None:
        """End the connection; the protocol does so too."""
        self._channel.close()

    def ask(self, message: OmapiMessage) -> Answer:
        """The answer to one signed request; raises Lost, Denied, Nonsense."""
        reply = self._exchange(message)
        if reply.authid != self._protocol.defauth:
            raise Denied(f"it answers without a signature: {_told(reply)}")
        return _answer(reply)

    def _sign_in(self, key: OmapiAuthenticatorBase) -> None:
        message = OmapiMessage.open(b"authenticator")
        message.update_object(key.auth_object())
        reply = self._exchange(message)
        if reply.opcode != OMAPI_OP_UPDATE or not reply.handle:
            raise Denied(f"it has no such key, or another algorithm for it: {_told(reply)}")
        key.authid = reply.handle
        self._protocol.authenticators[reply.handle] = key
        self._protocol.defauth = reply.handle

    def _exchange(self, message: OmapiMessage) -> OmapiMessage:
        deadline_s = time.monotonic() + self._timeout_s
        self._came.clear()
        self._guarded(lambda: self._protocol.send_message(message))
        while not self._came:
            self._read(deadline_s)
        reply: OmapiMessage = self._came.pop(0)
        if not reply.is_response(message):
            raise Nonsense("an answer to something else")
        if not reply.verify(self._protocol.authenticators):
            raise Denied("its answer is signed with another key")
        return reply

    def _read(self, deadline_s: float) -> None:
        def read() -> None:
            data = self._channel.receive(deadline_s)
            if not data:
                raise Lost("the server has ended the connection")
            self._protocol.data_received(data)

        self._guarded(read)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except TimeoutError as error:
            raise Lost(f"no answer within {self._timeout_s:g} s") from error
        except OSError as error:
            raise Lost(str(error)) from error
        except Unreachable as error:
            raise Lost(f"{error.what}: {error.cause}" if error.cause else error.what) from error
        except (OmapiError, struct.error) as error:
            raise Nonsense(str(error)) from error

    def _greet(self) -> None:
        self._greeted = True


def _answer(reply: OmapiMessage) -> Answer:
    attributes = dict(reply.obj)
    if reply.opcode == OMAPI_OP_UPDATE:
        return Answer(result=0, text="", handle=reply.handle, attributes=attributes)
    raw = dict(reply.message).get(b"result", b"")
    if reply.opcode != OMAPI_OP_STATUS or len(raw) != 4:
        raise Nonsense(f"an answer of kind {reply.opcode}")
    result: int = struct.unpack("!I", raw)[0]
    return Answer(result=result, text=_told(reply), handle=0, attributes=attributes)


def _told(reply: OmapiMessage) -> str:
    """The server's words and the number of its status."""
    message = dict(reply.message)
    raw = message.get(b"result", b"")
    number = str(struct.unpack("!I", raw)[0]) if len(raw) == 4 else "none"
    text = message.get(b"message", b"").decode("utf-8", "replace")
    return f"{text} (status {number})" if text else f"status {number}"
