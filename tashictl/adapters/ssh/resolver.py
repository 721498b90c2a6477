"""Names to addresses beside the main flow: the system's resolver knows no deadline."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable

_THREADS = 16

Address = tuple[socket.AddressFamily, tuple[object, ...]]
Answer = tuple[Address, ...] | OSError
_Job = tuple[str, int, Callable[[Answer], None]]


def numeric(address: str, port: int) -> tuple[Address, ...] | None:
    """The socket address of an IP address, None for a name; never blocks."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return None
    return tuple((family, where) for family, _, _, _, where in found)


class Resolver:
    """A few daemon threads that ask the system; a thread that hangs is left behind."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def ask(self, address: str, port: int, tell: Callable[[Answer], None]) -> None:
        """Call `tell` from another thread with the addresses or the error."""
        with self._lock:
            if self._idle <= 0 and self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="resolver", daemon=True).start()
            else:
                self._idle -= 1
        self._jobs.put((address, port, tell))

    def _work(self) -> None:
        while True:
            address, port, tell = self._jobs.get()
            tell(_look_up(address, port))
            with self._lock:
                self._idle += 1


def _look_up(address: str, port: int) -> Answer:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(f"no name that can be looked up: {error}")
    return tuple((family, where) for family, _, _, _, where in found)
