"""A terminal joined to a stream: keys one way, what comes back the other way."""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from typing import Protocol

from tashictl.errors import Unreachable

ESCAPE = b"\x1d"  # Ctrl-], as telnet and virsh have it
_READ = 4096
_FOREVER_S = 10 * 365 * 86400.0


class Stream(Protocol):
    """The part of a stream that a terminal needs."""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end."""
        ...


def join(stream: Stream, keys: int, screen: int) -> str:
    """Join until Ctrl-] or until the stream ends; says in words which. The terminal is put back.

    `keys` and `screen` are descriptors of a terminal, which is raw meanwhile.
    """
    before = termios.tcgetattr(keys)
    wake_read, wake_write = os.pipe()
    shower = threading.Thread(target=_show, args=(stream, screen, wake_write), daemon=True)
    try:
        tty.setraw(keys)
        shower.start()
        return _type(stream, keys, wake_read)
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        os.write(screen, b"\r\n")


def _type(stream: Stream, keys: int, wake: int) -> str:
    while True:
        ready, _, _ = select.select([keys, wake], [], [])
        if wake in ready:
            return "the console was closed by the other side"
        typed = os.read(keys, _READ)
        head, escape, _ = typed.partition(ESCAPE)
        try:
            if head:
                stream.send(head)
        except Unreachable as error:
            return f"the console was lost: {error.what}"
        if escape or not typed:
            return "the console was left; the VM goes on"


def _show(stream: Stream, screen: int, wake: int) -> None:
    """Write what comes, in a thread of its own; a byte in the pipe `wake` says that it ended."""
    try:
        while data := stream.receive(time.monotonic() + _FOREVER_S):
            while data:
                data = data[os.write(screen, data) :]
    except (Unreachable, OSError):
        pass
    finally:
        os.write(wake, b".")
