"""What is watched while a host's network changes: pings to a guest, the way to sshd.

Both run in a thread and judge when they are stopped. Times are of the wall clock, in seconds.
"""

import ctypes
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

PING_S = 0.2
TRY_S = 0.5
_ANSWER_S = 2.0  # to wait for late answers at the end
_CONNECT_S = 1.0  # before which a kernel does not repeat its SYN
_GREETING_S = 15.0
_AT_ONCE = 40
_CLONE_NEWNET = 0x40000000
_ECHO, _ECHO_REPLY = 8, 0


@dataclass(frozen=True, slots=True)
class Pings:
    """How many were sent and how many never answered; the longest time without an answered one.

    `longest_gap_s` is from the last answered before to the first answered after a loss, so that a
    single lost ping is a gap of 0.4 s; an answer that comes late is none. 0.0 without loss.
    """

    sent: int
    lost: int
    longest_gap_s: float


def judged(sent: Sequence[float], answered: frozenset[int]) -> Pings:
    """From when each ping was sent, and the numbers of those that were answered."""
    good = [number for number in range(len(sent)) if number in answered]
    edges = [-1, *good, len(sent)]
    gap_s = 0.0
    for before, after in pairwise(edges):
        if after - before > 1:
            gap_s = max(gap_s, sent[min(after, len(sent) - 1)] - sent[max(before, 0)])
    return Pings(len(sent), len(sent) - len(good), gap_s)


class _Watcher:
    """A thread that works until `stop`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; may be called twice."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        raise NotImplementedError


class Pinger(_Watcher):
    """`with Pinger(address, post.pid) as pings: …` and then `pings.result`; 5 pings a second.

    It speaks from the network namespace of process `pid`, by default from this process's own.
    """

    def __init__(self, address: str, pid: int | None = None) -> None:
        super().__init__()
        self._socket = _raw_socket(pid)
        self._socket.connect((address, 0))
        self._sent: list[float] = []
        self._answered: set[int] = set()
        self._sign = os.urandom(8)

    @property
    def result(self) -> Pings:
        """The judgement up to now; a ping without an answer may still get one until `stop`."""
        return judged(tuple(self._sent), frozenset(self._answered))

    def _work(self) -> None:
        with self._socket:
            next_s = time.monotonic()
            while not self._over.is_set():
                self._send()
                next_s += PING_S
                self._listen(next_s)
                next_s = max(next_s, time.monotonic())
            self._listen(time.monotonic() + _ANSWER_S)

    def _send(self) -> None:
        number = len(self._sent)
        self._sent.append(time.time())
        body = self._sign + struct.pack("!I", number)
        head = struct.pack("!BBHHH", _ECHO, 0, 0, 0, number & 0xFFFF)
        checked = struct.pack("!H", _checksum(head + body))
        try:
            self._socket.send(head[:2] + checked + head[4:] + body)
        except OSError:
            # No route, no neighbour: that is a lost one.
            return

    def _listen(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                packet = self._socket.recv(2048)
            except OSError:
                # It is over, or an error of an earlier ping came back: then there is time left.
                time.sleep(min(0.01, max(0.0, until_s - time.monotonic())))
                continue
            answer = packet[(packet[0] & 15) * 4 :]
            if answer[0] == _ECHO_REPLY and answer[8:16] == self._sign:
                self._answered.add(struct.unpack("!I", answer[16:20])[0])


@dataclass(frozen=True, slots=True)
class Loss:
    """When SSH was last good, when it was first found lost, and when it was back, if it was."""

    last_good: float | None
    lost: float
    back: float | None

    def __str__(self) -> str:
        back = "not yet" if self.back is None else f"{_clock(self.back)}"
        length = "" if self.back is None else f" (after {self.back - self.lost:.1f} s)"
        good = "never" if self.last_good is None else _clock(self.last_good)
        return f"last good SSH {good}, loss {_clock(self.lost)}, return {back}{length}"


class Watch(_Watcher):
    """`with Watch(address, port) as watch: …` knocks at an sshd twice a second, each time anew.

    A knock is good when the connection stands within a second and sshd greets, however late; one
    bad knock alone is no loss. `losses` tells, `report` prints them.
    """

    def __init__(self, address: str, port: int = 22, name: str = "") -> None:
        super().__init__()
        self._where = (address, port)
        self._name = name or address
        self._knocks: dict[float, bool] = {}

    @property
    def knocks(self) -> tuple[tuple[float, bool], ...]:
        """When each knock was begun, and whether it was good."""
        return tuple(sorted(self._knocks.copy().items()))

    @property
    def losses(self) -> tuple[Loss, ...]:
        """All losses up to now, in their order."""
        return losses(self.knocks)

    def report(self) -> str:
        """One line for each loss; it is also printed."""
        found = [f"{self._name}: {loss}" for loss in self.losses]
        text = "\n".join(found or [f"{self._name}: SSH was never lost"])
        sys.stdout.write(f"{text}\n")
        return text

    def _work(self) -> None:
        # Each in a thread: one that hangs must not hide how the next would fare.
        with ThreadPoolExecutor(_AT_ONCE) as knockers:
            while not self._over.is_set():
                knockers.submit(self._knock)
                self._over.wait(TRY_S)

    def _knock(self) -> None:
        start = time.time()
        try:
            with socket.create_connection(self._where, timeout=_CONNECT_S) as connection:
                connection.settimeout(_GREETING_S)
                self._knocks[start] = connection.recv(4) == b"SSH-"
        except OSError:
            self._knocks[start] = False


def losses(knocks: Sequence[tuple[float, bool]]) -> tuple[Loss, ...]:
    """Runs of at least two bad knocks."""
    found: list[Loss] = []
    last_good: float | None = None
    bad: list[float] = []
    for when, good in (*knocks, (None, True)):
        if not good:
            bad.append(when or 0.0)
            continue
        if len(bad) > 1:
            found.append(Loss(last_good, bad[0], when))
        bad, last_good = [], when
    return tuple(found)


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when)) + f"{when % 1:.1f}"[1:]


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _raw_socket(pid: int | None) -> socket.socket:
    """A raw ICMP socket of the network namespace of a process: it stays there."""
    made: list[socket.socket] = []

    def open_there() -> None:
        if pid is not None:
            space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            # Of this thread only, which ends with this function.
            if ctypes.CDLL(None).setns(space, _CLONE_NEWNET) != 0:
                raise OSError(f"setns to the network of {pid}")
            os.close(space)
        made.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))

    thread = threading.Thread(target=open_there)
    thread.start()
    thread.join()
    if not made:
        raise RuntimeError(f"no socket in the network of {pid}")
    return made[0]
