"""One round over many hosts: the front stage connects, bounded workers log in and run."""

from __future__ import annotations

import os
import queue
import resource
import threading
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from tashictl.adapters.ssh.faults import Down
from tashictl.adapters.ssh.front import Attempt, Front
from tashictl.adapters.ssh.line import Line
from tashictl.adapters.ssh.resolver import Resolver
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script, SweepStats

_PER_CORE = 16
_WORKERS_MAX = 32
_EXTRA_MAX = 128
# A worker that is busy for longer sits on a sick host: it is replaced.
_OLD_S = 1.0


class Job(Struct, frozen=True):
    """A host that is ready for a worker; `line` None: its kept connection serves."""

    host: HostConfig
    line: Line | None
    deadline_s: float


Prepare = Callable[[HostConfig], Attempt | None]
Perform = Callable[[Job, Script], Reply]
MakeScript = Callable[[HostConfig], Script]
_Result = tuple[HostConfig, Reply] | BaseException


class Sweep:
    """One round; `prepare` makes a host's attempt (None: use its kept connection, or raise Down).

    The caller's own functions run one at a time: `on_result` in the caller's thread, `make_script`
    under a lock. What they raise ends the round and comes out of `work`.
    """

    def __init__(
        self, prepare: Prepare, make_script: MakeScript, perform: Perform, resolver: Resolver
    ) -> None:
        self._prepare = prepare
        self._make_script = make_script
        self._perform = perform
        self._resolver = resolver
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._script_lock = threading.Lock()
        self._busy: dict[int, float] = {}
        self._workers = 0
        self._pending = 0
        self._stop = threading.Event()
        self._width = min(_WORKERS_MAX, _PER_CORE * (os.cpu_count() or 1))

    def work(
        self,
        hosts: Iterable[HostConfig],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
    ) -> SweepStats:
        """Do the round; returns when every host has answered or failed."""
        begun_s = time.monotonic()
        listed = tuple(hosts)
        _raise_descriptor_limit()
        front = threading.Thread(target=self._front, args=(listed, timeout_s), daemon=True)
        front.start()
        answered = 0
        try:
            for _ in listed:
                result = self._results.get()
                if isinstance(result, BaseException):
                    raise result
                answered += result[1].fault is None
                on_result(*result)
        finally:
            self._stop.set()
            for _ in range(self._workers):
                self._jobs.put(None)
        seconds = time.monotonic() - begun_s
        return SweepStats(answered=answered, failed=len(listed) - answered, seconds=seconds)

    def _front(
        self,
        hosts: tuple[HostConfig, ...],
        timeout_s: float,
    ) -> None:
        owners: dict[Attempt, HostConfig] = {}

        def make(host: HostConfig) -> Attempt | None:
            deadline_s = time.monotonic() + timeout_s
            try:
                attempt = self._prepare(host)
            except Down as down:
                self._fail(host, down, 0.0)
                return None
            if attempt is None:
                self._enqueue(Job(host, None, deadline_s))
            else:
                owners[attempt] = host
            return attempt

        def opened(attempt: Attempt, line: Line) -> None:
            job = Job(owners.pop(attempt), line, attempt.began_s + timeout_s)
            self._enqueue(job)

        def failed(attempt: Attempt, down: Down) -> None:
            self._fail(owners.pop(attempt), down, time.monotonic() - attempt.began_s)

        try:
            front = Front(self._resolver, opened, failed)
            front.work((_maker(make, host) for host in hosts), self._has_room)
        except Exception as error:  # noqa: BLE001 - it must reach the caller's thread
            self._results.put(error)

    def _has_room(self) -> bool:
        if self._stop.is_set():
            raise InterruptedError
        self._spread()
        return self._pending < self._width

    def _fail(self, host: HostConfig, down: Down, seconds: float) -> None:
        reply = Reply(fault=down.fault, detail=down.detail, seconds=seconds)
        self._results.put((host, reply))

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            self._pending += 1
        self._jobs.put(job)
        self._spread()

    def _spread(self) -> None:
        """Start a worker where one is needed: up to the width, and for each that sits on an old."""
        with self._lock:
            idle = self._workers - len(self._busy)
            if not self._pending or idle > 0:
                return
            if self._workers >= self._width:
                limit = time.monotonic() - _OLD_S
                old = sum(1 for since in self._busy.values() if since < limit)
                if self._workers >= min(self._width + old, _EXTRA_MAX):
                    return
            self._workers += 1
            number = self._workers
        threading.Thread(target=self._worker, args=(number,), daemon=True).start()

    def _worker(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._pending -= 1
                self._busy[number] = time.monotonic()
            try:
                self._results.put((job.host, self._serve(job)))
            except Exception as error:  # noqa: BLE001 - it must reach the caller's thread
                self._results.put(error)
            finally:
                with self._lock:
                    self._busy.pop(number, None)

    def _serve(self, job: Job) -> Reply:
        if self._stop.is_set():
            if job.line is not None:
                job.line.close()
            return Reply(detail="the round was given up")
        try:
            with self._script_lock:
                script = self._make_script(job.host)
        except BaseException:
            if job.line is not None:
                job.line.close()
            raise
        return self._perform(job, script)


def _maker(
    make: Callable[[HostConfig], Attempt | None], host: HostConfig
) -> Callable[[], Attempt | None]:
    return lambda: make(host)


def _raise_descriptor_limit() -> None:
    """Use what the system allows: 1024 descriptors are the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20000 if hard == resource.RLIM_INFINITY else min(hard, 20000)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
