"""The connections of this process: one per route, made once, given up when they fail."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from tashictl.adapters.ssh.config import Route
from tashictl.adapters.ssh.faults import Down, left_s
from tashictl.adapters.ssh.link import Link
from tashictl.model.script import Fault

# Idle ones: each costs 60 kB, a thread and a descriptor here, and two processes on its host. More
# than a round has workers, so that a host whose script has just ended is reached again for nothing.
_KEPT_MAX = 64

Dial = Callable[[Route, float], Link]


class Pool:
    """Thread-safe; a host whose connection is being made blocks only those who want that host."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._lock = threading.Lock()
        self._links: dict[Route, Link] = {}
        self._dialling: dict[Route, threading.Lock] = {}

    def live(self, route: Route) -> Link | None:
        """The connection of a route, if there is one that nothing is known against."""
        with self._lock:
            link = self._links.get(route)
        return link if link is not None and link.alive() else None

    def get(self, route: Route, deadline_s: float) -> tuple[Link, bool]:
        """The connection of a route and whether it was made just now; raises Down."""
        found = self.live(route)
        if found is not None:
            return found, False
        with self._lock:
            turn = self._dialling.setdefault(route, threading.Lock())
        if not turn.acquire(timeout=left_s(deadline_s)):
            raise Down(Fault.TIMEOUT, "another task is still connecting to the host")
        try:
            found = self.live(route)
            if found is not None:
                return found, False
            link = self._dial(route, deadline_s)
            self.adopt(link)
            return link, True
        finally:
            turn.release()

    def adopt(self, link: Link) -> None:
        """Keep a connection, in place of an older one of its route; the longest idle one goes."""
        with self._lock:
            old = self._links.pop(link.route, None)
            idle = [kept for kept in self._links.values() if not kept.in_use]
            self._links[link.route] = link
            spare = None
            if len(idle) > _KEPT_MAX:
                spare = min(idle, key=lambda kept: kept.used_s)
                del self._links[spare.route]
        for given_up in (old, spare):
            if given_up is not None:
                given_up.retire()

    def discard(self, link: Link) -> None:
        """Give a connection up; whoever still uses it keeps it to their end."""
        with self._lock:
            if self._links.get(link.route) is link:
                del self._links[link.route]
        link.retire()

    def drop(self, name: str) -> None:
        """Cut the connections of a host at once, also under those who use them."""
        with self._lock:
            gone = [link for route, link in self._links.items() if route.name == name]
            for link in gone:
                del self._links[link.route]
        for link in gone:
            link.close()

    def close(self) -> None:
        """Cut all connections."""
        with self._lock:
            gone = list(self._links.values())
            self._links.clear()
        for link in gone:
            with contextlib.suppress(OSError):
                link.close()


def stale_limit_s(deadline_s: float, least_s: float) -> float:
    """Until when to try a connection that was kept, so that time is left to make a new one."""
    now = time.monotonic()
    return now + min(max(0.0, deadline_s - now) / 2, least_s)
