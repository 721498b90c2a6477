"""A command that runs on a host over an SSH channel: feed it, and collect both its streams."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from paramiko.channel import Channel

from tashictl.adapters.ssh.faults import Down, left_s
from tashictl.adapters.ssh.mapping import LIBRARY
from tashictl.adapters.ssh.transport import Wire
from tashictl.adapters.ssh.work import Sink
from tashictl.model.script import Fault

_READ = 1 << 16
_WRITE = 1 << 15  # sshd's largest packet
_POLL_S = 1.0
# Feeding pauses this often to see what the other side says meanwhile.
_TURN_S = 0.25
# After its exit status a command's output may still be under way; a child that kept its stdout
# open must not hold us longer.
_TAIL_S = 5.0


class _Bell:
    """Rings on output of either stream; BufferedPipe would clear one stream's Event on its own."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Ignored: only `wait` clears."""

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()


class ChannelExchange:
    """An exchange over a channel on which the command has been started."""

    def __init__(self, wire: Wire, channel: Channel, deadline_s: float, sink: Sink) -> None:
        self._wire = wire
        self._channel = channel
        self._deadline_s = deadline_s
        self._sink = sink
        self._bell = _Bell()
        channel.in_buffer.set_event(self._bell)  # type: ignore[arg-type]
        channel.in_stderr_buffer.set_event(self._bell)  # type: ignore[arg-type]

    def feed(self, data: bytes | memoryview) -> bool:
        """Send all of `data`; False when the command takes no more. Raises Down."""
        view = memoryview(data)
        while view:
            self._channel.settimeout(min(_TURN_S, left_s(self._deadline_s)))
            sent = 0
            try:
                sent = self._channel.send(bytes(view[:_WRITE]))
                if sent == 0:
                    return False
            except TimeoutError:
                pass
            except OSError:  # the channel is closed
                self._check_wire()
                return False
            except LIBRARY as error:
                raise self._lost() from error
            view = view[sent:]
            self._drain()
        self._check_wire()
        return True

    def end_of_input(self) -> None:
        """Tell the command that nothing follows."""
        with contextlib.suppress(*LIBRARY):
            self._channel.shutdown_write()

    def finish(self) -> int:
        """Collect until the end; the exit status. Raises Down: TIMEOUT, CUT, EXEC (too much)."""
        heard_s = time.monotonic()
        while not self._ended():
            left = left_s(self._deadline_s)
            self._bell.wait(min(_POLL_S, left))
            if self._drain():
                heard_s = time.monotonic()
            elif self._channel.status_event.is_set() and time.monotonic() - heard_s > _TAIL_S:
                break
        self._drain()
        self._await_status()
        return self._channel.exit_status

    def _await_status(self) -> None:
        while not self._channel.status_event.wait(min(_POLL_S, left_s(self._deadline_s))):
            self._check_wire()
        if self._channel.exit_status < 0:
            self._check_wire()
            raise Down(Fault.CUT, "the command ended without an exit status (killed by a signal)")

    def _ended(self) -> bool:
        over = self._channel.eof_received or self._channel.closed
        ready = self._channel.recv_ready() or self._channel.recv_stderr_ready()
        return bool(over and not ready)

    def _drain(self) -> bool:
        heard = False
        while self._channel.recv_ready():
            self._sink.out(self._read(self._channel.recv))
            heard = True
        while self._channel.recv_stderr_ready():
            self._sink.err(self._read(self._channel.recv_stderr))
            heard = True
        return heard

    def _read(self, receive: Callable[[int], bytes]) -> bytes:
        try:
            return receive(_READ)
        except LIBRARY as error:  # it writes too: the window
            raise self._lost() from error

    def _check_wire(self) -> None:
        if not self._wire.is_active():
            raise self._lost()

    def _lost(self) -> Down:
        if self._wire.expired:
            return Down(Fault.TIMEOUT, "no answer within the time limit")
        return Down(Fault.CUT, "the connection was lost")
