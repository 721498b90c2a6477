"""Local ports whose connections are carried on by streams."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

_READ = 1 << 16
_FOREVER_S = 10 * 365 * 86400.0


class ByteStream(Protocol):
    """The stream that is carried on; the Stream of the ports fits."""

    def send(self, data: bytes) -> None:
        """Send all."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end."""
        ...

    def close(self) -> None:
        """End it."""
        ...


@contextlib.contextmanager
def listening(connect: Callable[[], ByteStream]) -> Iterator[tuple[str, int]]:
    """A port on 127.0.0.1 whose connections each get a stream of their own while the block runs.

    A connection whose stream cannot be opened is closed.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends: list[Callable[[], None]] = []
        thread = threading.Thread(target=_accept, args=(server, connect, ends), daemon=True)
        thread.start()
        try:
            address: tuple[str, int] = server.getsockname()
            yield address
        finally:
            # close() alone would leave accept() waiting.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(1.0)
            for end in list(ends):
                end()


def _accept(
    server: socket.socket, connect: Callable[[], ByteStream], ends: list[Callable[[], None]]
) -> None:
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(sock, connect, ends), daemon=True).start()


def _serve(
    sock: socket.socket, connect: Callable[[], ByteStream], ends: list[Callable[[], None]]
) -> None:
    with sock:
        try:
            stream = connect()
        except Exception:  # noqa: BLE001 - whatever it is, this connection ends and others go on
            return

        def end() -> None:
            stream.close()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        ends.append(end)
        back = threading.Thread(target=_pump_back, args=(stream, sock, end), daemon=True)
        back.start()
        try:
            while data := sock.recv(_READ):
                stream.send(data)
        except Exception:  # noqa: BLE001 - either side may fail in its own way; both end
            pass
        finally:
            end()
            back.join(1.0)
            ends.remove(end)


def _pump_back(stream: ByteStream, sock: socket.socket, end: Callable[[], None]) -> None:
    try:
        while data := stream.receive(time.monotonic() + _FOREVER_S):
            sock.sendall(data)
    except Exception:  # noqa: BLE001 - see _serve
        pass
    finally:
        end()
