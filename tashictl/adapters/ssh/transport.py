"""paramiko's Transport with the latency and the deadlines that it lacks.

Hooked private names (a test pins them): Transport._active_check_timeout, _preferred_ciphers,
_check_banner, _send_kex_init, _handler_table, _next_channel, _channels, channel_events,
channels_seen, _sanitize_window_size, _sanitize_packet_size, _send_user_message;
Packetizer.start_handshake; Channel._set_transport, _set_window, _event_pending, event, event_ready,
in_buffer, in_stderr_buffer, status_event.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Sequence

import paramiko
from paramiko.channel import Channel
from paramiko.common import cMSG_CHANNEL_OPEN, cMSG_CHANNEL_REQUEST
from paramiko.message import Message
from paramiko.packet import Packetizer

from tashictl.adapters.ssh.faults import Down, left_s
from tashictl.model.script import Fault

# paramiko logs tracebacks of its threads as errors; they come back to us as exceptions as well.
_log = logging.getLogger("paramiko")
_log.addHandler(logging.NullHandler())
if _log.level == logging.NOTSET:
    _log.setLevel(logging.CRITICAL)

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_LIVENESS_S = 0.5


def hurry(sock: socket.socket) -> None:
    """Send small packets at once; a socket that is not TCP stays as it is."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _PromptPacketizer(Packetizer):
    """Acknowledges at once what it reads: sshd holds small packets back until we do (40 ms)."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._raw = sock
        self._acknowledge()

    def start_handshake(self, timeout: float) -> None:
        """Start no timer, which is a thread for each connection: the watchdog cuts in time."""

    def read_message(self) -> tuple[int, Message]:
        """One packet; re-arms TCP_QUICKACK, which the kernel forgets."""
        found: tuple[int, Message] = super().read_message()
        self._acknowledge()
        return found

    def _acknowledge(self) -> None:
        if self._tcp and _QUICKACK is not None:
            with contextlib.suppress(OSError):
                self._raw.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class Wire(paramiko.Transport):
    """A transport that is prompt, that verifies what it waited for, and that closes at once.

    `expired` is set by whoever cuts it at a deadline, so that the error can say so.
    """

    # 0.1 s in paramiko: two thousand kept transports would burn 1.5 cores with it.
    _active_check_timeout = 5.0
    # GCM needs no separate MAC pass in Python; CBC and 3DES are gone.
    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )

    def __init__(self, sock: socket.socket, algorithms: Sequence[str] = ()) -> None:
        hurry(sock)
        super().__init__(sock, packetizer_class=_PromptPacketizer)
        self.expired = False
        self._raw = sock
        self._kex_init_sent = False
        if algorithms:
            options = self.get_security_options()
            known = [name for name in algorithms if name in options.key_types]
            rest = [name for name in options.key_types if name not in known]
            options.key_types = (*known, *rest)

    def start_client(
        self, event: threading.Event | None = None, timeout: float | None = None
    ) -> None:
        """Agree on keys; raises where paramiko returns silently when the time is over."""
        super().start_client(event=event, timeout=timeout)
        if event is None and not self.initial_kex_done:
            raise TimeoutError("the key exchange did not end in time")

    def _check_banner(self) -> None:
        # Our KEXINIT need not wait for their banner (RFC 4253, 4.2): one round trip less.
        self._send_kex_init()
        self._kex_init_sent = True
        super()._check_banner()  # type: ignore[misc]

    def _send_kex_init(self) -> None:
        if self._kex_init_sent:
            self._kex_init_sent = False
            return
        super()._send_kex_init()  # type: ignore[misc]

    def run(self) -> None:
        """Read until the end; what then holds itself in a ring is let go, not left to be collected.

        A large heap is collected so seldom that every host of a round would still be in memory.
        """
        try:
            super().run()
        finally:
            if self.saved_exception is not None:
                self.saved_exception.__context__ = None
                self.saved_exception.__traceback__ = None
            self.auth_handler = None
            self.kex_engine = None
            self._handler_table.clear()  # type: ignore[attr-defined]

    def cut(self) -> None:
        """End it now, from any thread, without a word to the other side."""
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def expire(self) -> None:
        """Cut it because a deadline has passed."""
        self.expired = True
        self.cut()

    def close(self) -> None:
        """Close it; the reader thread ends at once, also where paramiko would leave it."""
        self.cut()
        super().close()
        with contextlib.suppress(OSError):
            self._raw.close()

    def open_plain(
        self, kind: str, words: Sequence[str | int], deadline_s: float, window: int | None = None
    ) -> Channel:
        """Open a channel of any kind, which Transport.open_channel cannot (paramiko#544).

        `words` are the kind's own fields behind the window; raises Down past `deadline_s`,
        paramiko's ChannelException when the host refuses.
        """
        message, number, event, channel = self._announce(kind, words, window)
        self._send_user_message(message)  # type: ignore[attr-defined]
        while not event.wait(min(_LIVENESS_S, left_s(deadline_s))):
            if not self.is_active():
                break
        if not self.is_active():
            raise Down(Fault.CUT, "the connection was lost while a channel was opened")
        if self._channels.get(number) is None:  # type: ignore[attr-defined]
            raise self.get_exception() or paramiko.ChannelException(2, "refused")
        return channel

    def _announce(
        self, kind: str, words: Sequence[str | int], window: int | None
    ) -> tuple[Message, int, threading.Event, Channel]:
        with self.lock:
            size = self._sanitize_window_size(window)  # type: ignore[attr-defined]
            packet = self._sanitize_packet_size(None)  # type: ignore[attr-defined]
            number = self._next_channel()  # type: ignore[attr-defined]
            message = Message()
            message.add_byte(cMSG_CHANNEL_OPEN)
            message.add_string(kind)
            for value in (number, size, packet):
                message.add_int(value)
            for word in words:
                if isinstance(word, int):
                    message.add_int(word)
                else:
                    message.add_string(word)
            channel = Channel(number)
            self._channels.put(number, channel)  # type: ignore[attr-defined]
            event = self.channel_events[number] = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)  # type: ignore[attr-defined]
            channel._set_window(size, packet)  # type: ignore[attr-defined]
        return message, number, event, channel


def start_command(wire: Wire, channel: Channel, command: str, deadline_s: float) -> None:
    """Ask for a command on a session channel; exec_command would wait for the answer for ever.

    Raises Down: EXEC when the host refuses, CUT when the connection ends, TIMEOUT.
    """
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    channel._event_pending()  # type: ignore[attr-defined]
    wire._send_user_message(message)  # type: ignore[attr-defined]
    while not channel.event.wait(min(_LIVENESS_S, left_s(deadline_s))):
        if not wire.is_active():
            break
    if not wire.is_active():
        raise Down(Fault.CUT, "the connection was lost while a command was started")
    if not channel.event_ready:
        raise Down(Fault.EXEC, "the host refused to run a command")
