"""One operation on each of many VMs: several at once, bounded, and nobody's failure another's.

At most `[Tashictl] parallel` hosts are worked on at once, and at most `perHost` VMs on one host.
The VMs are begun in the order given, but for those whose host is busy: who has room goes before.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Interrupted
from tashictl.model.settings import TashictlSettings
from tashictl.model.vm import Vm
from tashictl.ops.context import Context
from tashictl.ops.ports import Clock, Report, World

_LOOK_S = 0.2

Do = Callable[[World, Vm], Vm | None]


class Result(Struct, frozen=True, kw_only=True):
    """What became of one target: its VM `before` and `after` (None: gone, or it failed).

    `error` is a TashiError, or whatever else was raised: a disk's error, a bug. Not `begun` means
    that nothing was done to it.
    """

    before: Vm
    after: Vm | None = None
    error: Exception | None = None
    seconds: float = 0.0
    begun: bool = True


class Watcher:
    """What is told while the targets are worked on, by one thread at a time; does nothing."""

    def begin(self, targets: Sequence[Vm]) -> None:
        """These are to be worked on."""

    def report(self, vm: Vm, usual: Report) -> Report:
        """Where the operation on `vm` tells how it goes."""
        del vm
        return usual

    def ended(self, result: Result) -> None:
        """A target has ended."""

    def stopping(self, under_way: Sequence[Vm]) -> None:
        """Ctrl-C: these come to their end, nothing else is begun."""


_QUIET = Watcher()


def run_each(
    world: World, context: Context, targets: Sequence[Vm], do: Do, watcher: Watcher = _QUIET
) -> list[Result]:
    """Call `do` for each of `targets`, several at once; the results in the order given.

    `do` gets a world of its own: its report is the watcher's, its clock does not sleep on after
    Ctrl-C. It returns the record afterwards, None where there is none. On Ctrl-C what was not begun
    is not begun, and what is under way comes to its end or is undone: the results say it
    (Interrupted). A second Ctrl-C raises Interrupted that lists what is left under way.
    """
    watcher.begin(targets)
    crew = _Crew(world, context.settings.tashictl, targets, do, watcher)
    if len(targets) <= 1 or context.settings.tashictl.parallel == 1 == crew.per_host:
        return crew.one_by_one()
    return crew.at_once()


class _Crew:
    def __init__(
        self,
        world: World,
        ours: TashictlSettings,
        targets: Sequence[Vm],
        do: Do,
        watcher: Watcher,
    ) -> None:
        self.per_host = ours.per_host
        self._hosts_max = ours.parallel
        self._world = world
        self._targets = tuple(targets)
        self._do = do
        self._watcher = watcher
        self._stop = threading.Event()
        self._over = threading.Event()
        self._ended: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        self._under_way: dict[int, Vm] = {}
        self._results: dict[int, Result] = {}
        self._failure: Exception | None = None

    def one_by_one(self) -> list[Result]:
        """All in this thread, where Ctrl-C reaches the operation itself."""
        for place, vm in enumerate(self._targets):
            if not self._stop.is_set():
                result = self._one(vm)
                self._results[place] = result
                self._watcher.ended(result)
                if isinstance(result.error, Interrupted):
                    self._stop.set()
        return self._listed()

    def at_once(self) -> list[Result]:
        """Each in a thread; this one only waits, so that Ctrl-C finds no bookkeeping half done.

        The threads are daemons: who presses Ctrl-C twice does not wait for a host that hangs.
        """
        leader = threading.Thread(target=self._lead, name="many", daemon=True)
        try:
            leader.start()
            self._wait()
        except KeyboardInterrupt:
            self._interrupted()
        if self._failure is not None:
            raise self._failure
        return self._listed()

    def _wait(self) -> None:
        # A signal that comes just before a wait without a limit would not end it.
        while not self._over.wait(_LOOK_S):
            pass

    def _interrupted(self) -> None:
        self._stop.set()
        try:
            self._watcher.stopping(tuple(self._under_way.values()))
            self._wait()
        except KeyboardInterrupt as again:
            left = tuple(
                f"{vm.name}: what was begun goes on or stays as it is   tashictl op list"
                for vm in tuple(self._under_way.values())
            )
            raise Interrupted(
                "E-INTERRUPTED",
                f"interrupted twice; {len(left)} of {len(self._targets)} were under way",
                hint="tashictl op list",
                leftovers=left,
            ) from again

    def _listed(self) -> list[Result]:
        not_begun = Interrupted("E-NOT-BEGUN", "interrupted before it was begun")
        return [
            self._results.get(place) or Result(before=vm, error=not_begun, begun=False)
            for place, vm in enumerate(self._targets)
        ]

    # -- in a thread of its own

    def _lead(self) -> None:
        try:
            waiting = deque(enumerate(self._targets))
            busy: Counter[str | None] = Counter()
            while waiting or self._under_way:
                while not self._stop.is_set() and (found := self._next(waiting, busy)):
                    self._begin(*found, busy)
                if not self._under_way:
                    return
                place, result = self._ended.get()
                host = self._under_way.pop(place).host
                busy[host] -= 1
                self._results[place] = result
                if isinstance(result.error, Interrupted):
                    self._stop.set()
                self._watcher.ended(result)
        except Exception as error:  # noqa: BLE001 - it must reach the caller's thread
            self._failure = error
        finally:
            self._over.set()

    def _next(
        self, waiting: deque[tuple[int, Vm]], busy: Counter[str | None]
    ) -> tuple[int, Vm] | None:
        """The first that waits whose host has room."""
        hosts = sum(1 for count in busy.values() if count)
        for number, (place, vm) in enumerate(waiting):
            count = busy[vm.host]
            if count < self.per_host and (count or hosts < self._hosts_max):
                del waiting[number]
                return place, vm
        return None

    def _begin(self, place: int, vm: Vm, busy: Counter[str | None]) -> None:
        busy[vm.host] += 1
        self._under_way[place] = vm

        def work() -> None:
            self._ended.put((place, self._one(vm)))

        threading.Thread(target=work, name=f"vm {vm.name}", daemon=True).start()

    def _one(self, vm: Vm) -> Result:
        world, begun_s = self._world, self._world.clock.monotonic_s()
        after: Vm | None = None
        error: Exception | None = None
        try:
            own = replace(
                world,
                report=self._watcher.report(vm, world.report),
                clock=Alert(world.clock, self._stop),
            )
            after = self._do(own, vm)
        except KeyboardInterrupt:
            error = Interrupted("E-INTERRUPTED", f"interrupted; see what is true of {vm.name}")
        except Exception as failure:  # noqa: BLE001 - one target's bug must not lose the others
            error = failure
        seconds = round(world.clock.monotonic_s() - begun_s, 3)
        return Result(before=vm, after=after, error=error, seconds=seconds)


class Alert:
    """A clock whose sleeps end with Ctrl-C, once: then the operation goes back as it does alone."""

    def __init__(self, clock: Clock, stop: threading.Event) -> None:
        self._clock = clock
        self._stop = stop
        self._told = False

    def now(self) -> datetime:
        """The wall clock."""
        return self._clock.now()

    def monotonic_s(self) -> float:
        """A clock that never goes back."""
        return self._clock.monotonic_s()

    def sleep(self, seconds: float) -> None:
        """Wait; raises KeyboardInterrupt once when Ctrl-C was pressed."""
        self._clock.sleep(seconds)
        if self._stop.is_set() and not self._told:
            self._told = True
            raise KeyboardInterrupt
