"""Virtual time: events in order, and actors (controllers) that take turns by a seeded choice."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER_S = 1e12


class _Actor:
    """A thread that waits for its turn."""

    def __init__(self) -> None:
        self.turn = threading.Semaphore(0)
        self.ready: Callable[[], bool] = _always
        self.deadline_s = NEVER_S
        self.alive = True


def _always() -> bool:
    return True


class Timeline:
    """The clock of everything simulated; it is a Clock of the ports too.

    Time passes only while all actors wait. One thread at most runs at any moment.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._actors: list[_Actor] = []
        self._here = threading.local()

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return BEGIN + timedelta(seconds=self._now_s)

    def monotonic_s(self) -> float:
        """Seconds since the beginning."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.wait(_never, self._now_s + max(seconds, 0.0))

    def at(self, when_s: float, event: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._events, (max(when_s, self._now_s), next(self._serial), event))

    def point(self) -> None:
        """A moment at which another actor may take its turn."""
        if self._actors:
            self.wait(_always, self._now_s)

    def wait(self, ready: Callable[[], bool], deadline_s: float) -> bool:
        """Let time pass until `ready` or until the deadline; whether it is ready."""
        me: _Actor | None = getattr(self._here, "actor", None)
        if me is not None:
            return self._take_turns(me, ready, deadline_s)
        while not ready():
            if not self._advance(deadline_s):
                return ready()
        return True

    def together(self, calls: Sequence[Callable[[], None]]) -> None:
        """Run several actors at once, one moment of one at a time; returns when all have ended."""
        actors = [_Actor() for _ in calls]
        self._actors = list(actors)
        threads = [
            threading.Thread(target=self._act, args=(actor, call), daemon=True)
            for actor, call in zip(actors, calls, strict=True)
        ]
        for thread in threads:
            thread.start()
        self._choose().turn.release()
        for thread in threads:
            thread.join()
        self._actors = []

    def _act(self, actor: _Actor, call: Callable[[], None]) -> None:
        self._here.actor = actor
        actor.turn.acquire()
        try:
            call()
        finally:
            actor.alive = False
            if any(a.alive for a in self._actors):
                self._choose().turn.release()

    def _take_turns(self, me: _Actor, ready: Callable[[], bool], deadline_s: float) -> bool:
        me.ready, me.deadline_s = ready, deadline_s
        chosen = self._choose()
        if chosen is not me:
            chosen.turn.release()
            me.turn.acquire()
        return ready()

    def _choose(self) -> _Actor:
        while True:
            waiting = [a for a in self._actors if a.alive]
            able = [a for a in waiting if a.deadline_s <= self._now_s or a.ready()]
            if able:
                return self.random.choice(able)
            self._advance(min(a.deadline_s for a in waiting))

    def _advance(self, limit_s: float) -> bool:
        """Let the next event happen, if there is one up to `limit_s`; else it is `limit_s`."""
        if self._events and self._events[0][0] <= limit_s:
            when_s, _, event = heapq.heappop(self._events)
            self._now_s = max(self._now_s, when_s)
            event()
            return True
        self._now_s = max(self._now_s, limit_s)
        return False


def _never() -> bool:
    return False
