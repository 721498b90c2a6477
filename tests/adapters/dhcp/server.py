"""An OMAPI server in memory, as a channel: it greets, signs, and says what it is told to say."""

from collections.abc import Callable
from struct import pack

from pypureomapi import InBuffer, OmapiMessage, OmapiStartupMessage

from tashictl.adapters.dhcp.omapi_wire import authenticator

Reply = Callable[[OmapiMessage], OmapiMessage | bytes]
GREETING = OmapiStartupMessage().as_string()
_STATUS, _UPDATE = 5, 3
_AUTH = 7


class FakeServer:
    """`replies` answers each signed request; bytes go out as they are, b"" ends the connection.

    `asked` is what came, `most` how many requests were once in flight.
    """

    def __init__(self, replies: Reply, *, greeting: bytes = GREETING) -> None:
        self.replies = replies
        self.asked: list[OmapiMessage] = []
        self.closed = 0
        self.key = authenticator("hmac-sha256", "k", "c2VjcmV0IHNlY3JldA==")
        self.key.authid = _AUTH
        self.pieces = 0  # bytes a receive gives, 0 for all
        self._out = greeting
        self._ended = False
        self._in = b""

    def send(self, data: bytes) -> None:
        """What a client sends."""
        self._in += data
        while self._in:
            if len(self._in) == len(GREETING):
                self._in = b""
                return
            buffer = InBuffer(self._in)
            message = next(buffer.parse_message())
            if message is None:
                return
            self._in = buffer.buff
            # One request in flight: the answer to the last one has been read.
            assert not self._out
            self._answer(message)

    def _answer(self, message: OmapiMessage) -> None:
        if dict(message.message).get(b"type") == b"authenticator":
            reply: OmapiMessage | bytes = OmapiMessage(opcode=_UPDATE, handle=_AUTH, tid=-1)
        else:
            self.asked.append(message)
            reply = self.replies(message)
        if isinstance(reply, bytes):
            self._out += reply
            self._ended = not reply
            return
        reply.rid = reply.rid or message.tid
        if message.authid:
            reply.sign(self.key)
        self._out += reply.as_string()

    def receive(self, deadline_s: float) -> bytes:
        """What it has said, or TimeoutError."""
        size = self.pieces or len(self._out)
        data, self._out = self._out[:size], self._out[size:]
        if not data and not self._ended:
            raise TimeoutError
        return data

    def close(self) -> None:
        """Counts."""
        self.closed += 1


def status(result: int, text: str = "") -> OmapiMessage:
    """An answer that is a status."""
    message = [(b"result", pack("!I", result))]
    if text:
        message.append((b"message", text.encode()))
    return OmapiMessage(opcode=_STATUS, message=message, tid=-1)


def host(handle: int = 3, **attributes: bytes) -> OmapiMessage:
    """An answer that is a host; ``ip_address`` is ``ip-address``."""
    obj = [(name.replace("_", "-").encode(), value) for name, value in attributes.items()]
    return OmapiMessage(opcode=_UPDATE, handle=handle, obj=obj, tid=-1)
