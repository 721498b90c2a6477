"""Two-way streams to unix sockets on a host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from paramiko.channel import Channel

from tashictl.adapters.ssh.faults import Down, error_of, left_s
from tashictl.adapters.ssh.link import Link
from tashictl.adapters.ssh.mapping import LIBRARY, detail_of
from tashictl.model.script import Fault

_READ = 1 << 16
_SEND_S = 30.0


class ChannelStream:
    """A stream over one channel; `closing` gives the channel back. One reader, one writer."""

    def __init__(
        self, host: str, link: Link, channel: Channel, closing: Callable[[], None]
    ) -> None:
        self._host = host
        self._link = link
        self._channel = channel
        self._closing = closing
        self._lock = threading.Lock()
        self._closed = False
        self._heard = False

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Unreachable when that takes half a minute."""
        view = memoryview(data)
        deadline_s = time.monotonic() + _SEND_S
        try:
            with self._link.guard(deadline_s):
                while view:
                    self._channel.settimeout(left_s(deadline_s))
                    sent = self._channel.send(bytes(view[:_READ]))
                    if sent == 0:
                        raise Down(Fault.CUT, "the other side has closed the stream")
                    view = view[sent:]
        except TimeoutError as error:
            raise error_of(Down(Fault.TIMEOUT, "the stream is full"), self._host) from error
        except LIBRARY as error:
            raise error_of(Down(Fault.CUT, detail_of(error)), self._host) from error
        except Down as down:
            raise error_of(down, self._host) from down

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; raises Unreachable past `deadline_s`, or when cut."""
        try:
            self._channel.settimeout(left_s(deadline_s))
            data: bytes = self._channel.recv(_READ)
        except TimeoutError as error:
            raise error_of(Down(Fault.TIMEOUT, "nothing came"), self._host) from error
        except LIBRARY as error:
            raise error_of(Down(Fault.CUT, detail_of(error)), self._host) from error
        except Down as down:
            raise error_of(down, self._host) from down
        if not data:
            self._explain_end()
        self._heard = True
        return data

    def _explain_end(self) -> None:
        """An end with a reason is an error: a lost connection, a relay that could not connect."""
        if self._closed:
            return
        if not self._link.wire.is_active():
            raise error_of(Down(Fault.CUT, "the connection was lost"), self._host)
        if not self._heard and self._channel.recv_stderr_ready():
            said = self._channel.recv_stderr(_READ).decode("utf-8", "replace")
            raise error_of(Down(Fault.EXEC, " ".join(said.split())[:300]), self._host)

    def close(self) -> None:
        """End the stream; never raises, may be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._closing()
