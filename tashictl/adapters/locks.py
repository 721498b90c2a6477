"""Locks among the processes of this controller: flock on files of the state folder.

A lock dies with its process, also by kill -9. The holder's name in the file is for people; only
the flock counts.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.errors import Conflict, InvalidRequest, TashiError

_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.1
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
_MAX_HOLDER_BYTES = 200


class FileLocks:
    """The locks of one cluster in `folder` (state/locks); order VM < image < host.

    `actor` is user@machine and stands in the error that others get; `timeout_s` is lockTimeout.
    """

    def __init__(self, folder: str, clock: Waiting, actor: str, timeout_s: float) -> None:
        self._folder = folder
        self._clock = clock
        self._actor = actor
        self._timeout_s = timeout_s
        self._held: set[str] = set()
        self._forgotten: set[str] = set()
        self._turn = threading.Lock()

    @contextmanager
    def vm(self, vm_id: int) -> Iterator[None]:
        """Hold a VM; raises Conflict E-LOCKED when it is not had in lockTimeout."""
        with self._exclusive(f"vm-{vm_id}", f"VM {vm_id}"):
            yield

    @contextmanager
    def image(self, name: str) -> Iterator[None]:
        """Hold an image; raises as `vm`."""
        with self._exclusive(f"image-{_quoted(name)}", f"image {name}"):
            yield

    @contextmanager
    def host(self, name: str) -> Iterator[None]:
        """Hold a host alone; raises as `vm`."""
        with self._exclusive(f"host-{_quoted(name)}", f"host {name}"):
            yield

    @contextmanager
    def host_shared(self, name: str) -> Iterator[None]:
        """Hold a host beside other VM operations; raises as `vm`."""
        path = f"{self._folder}/host-{_quoted(name)}"
        fd = self._taken(path, f"host {name}", fcntl.LOCK_SH)
        try:
            # No exclusive holder can exist now, so a name in the file is of one that died.
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def state(self) -> Iterator[None]:
        """Hold the state database, for one transaction; raises as `vm`.

        Threads of this process stand in line here: looking at the file again and again, many of
        them would keep it idle for most of the time.
        """
        label = "the state database"
        if not self._turn.acquire(timeout=self._timeout_s):
            raise self._busy(label, b"another operation of this command")
        try:
            with self._exclusive("state", label):
                yield
        finally:
            self._turn.release()

    @contextmanager
    def rebuild(self) -> Iterator[None]:
        """Hold the rebuild of the state database; raises as `vm`."""
        with self._exclusive("rebuild", "the rebuild of the state database"):
            yield

    def forget_vm(self, vm_id: int) -> None:
        """Remove the lock file of a VM that is gone: at once, or when its holder here lets go.

        Others that wait for it then find the file gone and begin anew. Does nothing while another
        process holds it.
        """
        path = f"{self._folder}/vm-{vm_id}"
        if path in self._held:
            # Without the file a newcomer would not see that the lock is held.
            self._forgotten.add(path)
            return
        with files.translated(path, "be removed"), suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if _try(fd, fcntl.LOCK_EX) and files.is_at(fd, path):
                    files.remove(path)
            finally:
                os.close(fd)

    @contextmanager
    def _exclusive(self, name: str, label: str) -> Iterator[None]:
        path = f"{self._folder}/{name}"
        fd = self._taken(path, label, fcntl.LOCK_EX)
        self._held.add(path)
        try:
            _sign(fd, self._actor, self._clock)
            yield
        finally:
            self._held.discard(path)
            with suppress(OSError, TashiError):
                if path in self._forgotten:
                    self._forgotten.discard(path)
                    files.remove(path)
                os.ftruncate(fd, 0)
            os.close(fd)

    def _taken(self, path: str, label: str, operation: int) -> int:
        """Open and lock `path`, and be sure that it still is the file of that name."""
        deadline_s = self._clock.monotonic_s() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            fd = _opened(path)
            with files.translated(path, "be locked"):
                if _try(fd, operation) and files.is_at(fd, path):
                    return fd
                holder = os.pread(fd, _MAX_HOLDER_BYTES, 0)
                os.close(fd)
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise self._busy(label, holder)
            self._clock.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _busy(self, label: str, holder: bytes) -> Conflict:
        return Conflict(
            "E-LOCKED",
            f"{label} is locked, waited {self._timeout_s:g} s",
            cause=_held_by(holder),
            hint="wait for it, or see what runs: tashictl op list",
        )


class FileSweepLocks:
    """The locks of sweeps in `folder` (state/locks): had at once or not at all.

    A whole sweep holds ``sweep`` alone; a shard holds it beside others, and alone its own
    ``sweep-I-N``. Shards of another N would look at the same hosts: they are refused too.
    """

    def __init__(self, folder: str, clock: Waiting, actor: str) -> None:
        self._folder = folder
        self._clock = clock
        self._actor = actor

    @contextmanager
    def sweep(self, shard: tuple[int, int] | None) -> Iterator[None]:
        """Hold it; raises Conflict E-SWEEPING when another sweep is in the way, and names it."""
        with ExitStack() as held:
            if shard is None:
                fd = self._taken(held, "sweep", fcntl.LOCK_EX, "a sweep")
            else:
                index, count = shard
                whole = self._taken(held, "sweep", fcntl.LOCK_SH, "a sweep")
                # No whole sweep can run now, so a name in the file is of one that died.
                with suppress(OSError):
                    os.ftruncate(whole, 0)
                own = f"sweep-{index}-{count}"
                fd = self._taken(held, own, fcntl.LOCK_EX, f"a sweep of shard {index}/{count}")
                for name in self._shards():
                    if not name.endswith(f"-{count}") and (other := self._holder(name)) is not None:
                        raise self._busy(f"a sweep of shard {_shard_of(name)}", other)
            _sign(fd, self._actor, self._clock)
            try:
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(fd, 0)

    def _taken(self, held: ExitStack, name: str, operation: int, label: str) -> int:
        """Lock a file until `held` ends; these files stay, so that the name is always the lock."""
        path = f"{self._folder}/{name}"
        fd = _opened(path)
        held.callback(os.close, fd)
        with files.translated(path, "be locked"):
            if _try(fd, operation):
                return fd
            holder = os.pread(fd, _MAX_HOLDER_BYTES, 0)
        if name == "sweep" and operation == fcntl.LOCK_EX and not holder:
            for other in self._shards():
                by = self._holder(other)
                if by is not None:
                    raise self._busy(f"a sweep of shard {_shard_of(other)}", by)
        raise self._busy(label, holder)

    def _shards(self) -> list[str]:
        return [n for n in files.names_in(self._folder) if n.startswith("sweep-")]

    def _holder(self, name: str) -> bytes | None:
        """Who holds a lock, b"" for somebody; None for nobody."""
        fd = _opened(f"{self._folder}/{name}")
        try:
            return None if _try(fd, fcntl.LOCK_SH) else os.pread(fd, _MAX_HOLDER_BYTES, 0)
        finally:
            os.close(fd)

    def _busy(self, label: str, holder: bytes) -> Conflict:
        return Conflict(
            "E-SWEEPING",
            f"{label} is running",
            cause=_held_by(holder),
            hint="wait until it has ended; nothing was looked at",
        )


def _shard_of(name: str) -> str:
    return "/".join(name.split("-")[1:])


def _held_by(holder: bytes) -> str:
    return f"held by {holder.decode(errors='replace').strip() or 'another process'}"


def _sign(fd: int, actor: str, clock: Waiting) -> None:
    since = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    # A full disk must not keep anyone from the lock: the name is only for people.
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()} ({actor}) since {since}\n".encode(), 0)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE_FILE)
    except FileNotFoundError as error:
        raise InvalidRequest(
            "E-NO-CLUSTER",
            f"{path} cannot be made",
            cause="the cluster directory has no state folder",
            hint="make one: tashictl init",
        ) from error
    except OSError as error:
        raise files.error_of(error, path, "be locked") from error


def _try(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _quoted(name: str) -> str:
    """A file name that no other name has: ``/`` becomes ``=``, the unusual ``%XX`` in UTF-8."""
    return "".join(
        c if c in _PLAIN else "=" if c == "/" else "".join(f"%{b:02X}" for b in c.encode())
        for c in name
    )
