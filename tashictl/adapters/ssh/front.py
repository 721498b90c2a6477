"""The front stage: one thread connects to many hosts and hands on those that greet.

No worker is spent on a host that has not sent the first byte of its SSH banner. A window bounds
the *young* opens: hundreds of handshakes at once make healthy hosts look dead, stuck ones do not
count against it. A probed socket is always handed on or was never greeted, since OpenSSH 9.8
punishes those who connect and leave (PerSourcePenalties).
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from tashictl.adapters.ssh.config import Route
from tashictl.adapters.ssh.faults import Down, Phase
from tashictl.adapters.ssh.line import Line, through
from tashictl.adapters.ssh.mapping import down_of
from tashictl.adapters.ssh.resolver import Address, Answer, Resolver, numeric
from tashictl.adapters.ssh.transport import hurry
from tashictl.model.script import Fault

_YOUNG_MAX = 48
_OPEN_MAX = 512
_YOUNG_S = 0.4
_POLL_S = 0.05


class Attempt:
    """One host on its way to a greeting; `limit_s` bounds its present phase."""

    def __init__(self, route: Route, deadline_s: float, await_banner: bool) -> None:
        self.route = route
        self.deadline_s = deadline_s
        self.await_banner = await_banner or route.proxy is not None
        self.began_s = time.monotonic()
        self.limit_s = deadline_s
        self.phase = Phase.RESOLVE
        self.addresses: deque[Address] = deque()
        self.line: Line | None = None


Opened = Callable[[Attempt, Line], None]
Failed = Callable[[Attempt, Down], None]


class Front:
    """Connects; `opened` and `failed` are called from the thread that calls `work`."""

    def __init__(self, resolver: Resolver, opened: Opened, failed: Failed) -> None:
        self._resolver = resolver
        self._opened = opened
        self._failed = failed
        self._selector = selectors.DefaultSelector()
        self._attempts: set[Attempt] = set()
        self._answers: queue.SimpleQueue[tuple[Attempt, Answer]] = queue.SimpleQueue()
        self._banner_s = _YOUNG_S / 4
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._selector.register(self._ours, selectors.EVENT_READ)

    def work(
        self, attempts: Iterable[Callable[[], Attempt | None]], room: Callable[[], bool]
    ) -> None:
        """Make and pursue attempts until each has opened or failed; takes more while `room()`.

        An entry of `attempts` makes its attempt when its turn has come, so that its deadline
        starts then; None stands for a host that was dealt with already.
        """
        makers: Iterator[Callable[[], Attempt | None]] | None = iter(attempts)
        try:
            while makers is not None or self._attempts:
                if makers is not None:
                    makers = self._fill(makers, room)
                self._poll()
                self._expire()
        finally:
            self._close()

    def _fill(
        self, makers: Iterator[Callable[[], Attempt | None]], room: Callable[[], bool]
    ) -> Iterator[Callable[[], Attempt | None]] | None:
        youth = max(_YOUNG_S, 4 * self._banner_s)
        now = time.monotonic()
        young = sum(1 for a in self._attempts if now - a.began_s < youth)
        while young < _YOUNG_MAX and len(self._attempts) < _OPEN_MAX and room():
            make = next(makers, None)
            if make is None:
                return None
            attempt = make()
            if attempt is not None:
                young += 1
                self._attempts.add(attempt)
                self._begin(attempt)
        return makers

    def _begin(self, attempt: Attempt) -> None:
        route = attempt.route
        if route.proxy is not None:
            try:
                # The caller's own ssh config, as ssh runs it; its file was checked for its owner.
                attempt.line = through(f"exec {route.proxy}")
            except OSError as error:
                self._fail(attempt, down_of(error, Phase.TCP))
                return
            attempt.line.sock.setblocking(False)
            self._await_banner(attempt, attempt.line.sock)
            return
        addresses = numeric(route.address, route.port)
        if addresses is None:
            self._resolver.ask(
                route.address, route.port, lambda answer: self._tell(attempt, answer)
            )
        else:
            self._resolved(attempt, addresses)

    def _tell(self, attempt: Attempt, answer: Answer) -> None:
        self._answers.put((attempt, answer))
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody waits any more
            self._theirs.send(b"!")

    def _resolved(self, attempt: Attempt, answer: Answer) -> None:
        if attempt not in self._attempts:
            return
        if isinstance(answer, OSError):
            self._fail(attempt, down_of(answer, Phase.RESOLVE))
            return
        attempt.addresses = deque(answer)
        self._connect(attempt, Down(Fault.RESOLVE, "the name has no address"))

    def _connect(self, attempt: Attempt, failure: Down) -> None:
        """Try the next address; without one the attempt ends in `failure`, that of the last."""
        while attempt.addresses:
            family, where = attempt.addresses.popleft()
            now = time.monotonic()
            share = max(0.0, attempt.deadline_s - now) / (1 + len(attempt.addresses))
            attempt.phase, attempt.limit_s = Phase.TCP, now + share
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            hurry(sock)
            number = sock.connect_ex(where)
            if number in (0, errno.EINPROGRESS):
                attempt.line = Line(sock)
                self._selector.register(sock, selectors.EVENT_WRITE, attempt)
                return
            sock.close()
            failure = down_of(OSError(number, os.strerror(number)), Phase.TCP)
        self._fail(attempt, failure)

    def _await_banner(self, attempt: Attempt, sock: socket.socket) -> None:
        attempt.phase, attempt.limit_s = Phase.BANNER, attempt.deadline_s
        if sock in self._selector.get_map():
            self._selector.modify(sock, selectors.EVENT_READ, attempt)
        else:
            self._selector.register(sock, selectors.EVENT_READ, attempt)

    def _poll(self) -> None:
        for key, _ in self._selector.select(_POLL_S):
            if isinstance(key.data, Attempt):
                self._ready(key.data)
            else:
                with contextlib.suppress(OSError):
                    self._ours.recv(4096)
        while not self._answers.empty():
            self._resolved(*self._answers.get())

    def _ready(self, attempt: Attempt) -> None:
        line = attempt.line
        if line is None:
            return
        if attempt.phase is Phase.TCP:
            number = line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._drop_line(attempt)
                self._connect(attempt, down_of(OSError(number, os.strerror(number)), Phase.TCP))
            elif attempt.await_banner:
                self._await_banner(attempt, line.sock)
            else:
                self._hand_on(attempt, line)
            return
        try:
            greeted = bool(line.sock.recv(1, socket.MSG_PEEK))
            said = "closed before a banner came"
        except OSError as error:
            greeted, said = False, str(error)
        if greeted:
            spent = time.monotonic() - attempt.began_s
            self._banner_s = 0.8 * self._banner_s + 0.2 * spent
            self._hand_on(attempt, line)
        else:
            self._fail(attempt, Down(Fault.NO_BANNER, line.said() or said))

    def _hand_on(self, attempt: Attempt, line: Line) -> None:
        self._selector.unregister(line.sock)
        self._attempts.discard(attempt)
        self._opened(attempt, line)

    def _expire(self) -> None:
        now = time.monotonic()
        for attempt in [a for a in self._attempts if a.limit_s <= now]:
            said = attempt.line.said() if attempt.line is not None else ""
            failure = down_of(TimeoutError(said or "no answer in time"), attempt.phase)
            self._drop_line(attempt)
            if attempt.phase is Phase.TCP and now < attempt.deadline_s:
                self._connect(attempt, failure)
            else:
                self._fail(attempt, failure)

    def _fail(self, attempt: Attempt, failure: Down) -> None:
        self._drop_line(attempt)
        self._attempts.discard(attempt)
        self._failed(attempt, failure)

    def _drop_line(self, attempt: Attempt) -> None:
        if attempt.line is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(attempt.line.sock)
            attempt.line.close()
            attempt.line = None

    def _close(self) -> None:
        for attempt in list(self._attempts):
            self._drop_line(attempt)
        self._attempts.clear()
        self._selector.close()
        self._ours.close()
        self._theirs.close()


def reach(resolver: Resolver, route: Route, deadline_s: float) -> Line:
    """Connect to one host, in this thread; raises Down.

    The banner is not awaited here: ours may travel while theirs does. It is due by the same
    deadline, which the line carries on.
    """
    lines: list[Line] = []
    failures: list[Down] = []
    front = Front(
        resolver,
        lambda _attempt, line: lines.append(line),
        lambda _attempt, failure: failures.append(failure),
    )
    front.work([lambda: Attempt(route, deadline_s, await_banner=False)], lambda: True)
    if failures:
        raise failures[0]
    lines[0].greet_by_s = deadline_s
    return lines[0]
