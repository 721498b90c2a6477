"""The ports of one controller, watched: each use is a moment at which it may die.

Store and journals are the real ones; what a power cut would take of them is known here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tashictl.adapters.journals import FileJournals
from tashictl.adapters.sim.faults import Moment
from tashictl.adapters.sim.remote import Network, SimRemote
from tashictl.adapters.sim.script import Run
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import OperationFailed
from tashictl.model.host import HostConfig
from tashictl.model.state import State
from tashictl.model.steps import Step


class Owner(Protocol):
    """The controller that a port belongs to."""

    folder: str
    in_transaction: bool

    @property
    def full(self) -> bool:
        """Whether its disk is full."""
        ...

    def alive(self, what: str) -> None:
        """Raises where it is dead, or is to die now."""
        ...

    def moment(self, step: str, moment: Moment) -> None:
        """A moment of a step was reached."""
        ...

    def problem(self, text: str) -> None:
        """Something happened that must not."""
        ...

    def committed(self, before: State, after: State) -> None:
        """A state was committed."""
        ...


class WatchedRemote(SimRemote):
    """The simulated Remote of one controller."""

    def __init__(
        self, owner: Owner, network: Network, happen: Callable[[Run, Step, Moment], str | None]
    ) -> None:
        super().__init__(network, happen)
        self.deliver_soon = False
        self.then: Callable[[], None] = lambda: None
        self._owner = owner

    def run(self, host: HostConfig, script: Any, deadline_s: float, on_output: Any = None) -> Any:
        self._owner.alive("run")
        if self._owner.in_transaction:
            self._owner.problem("SSH inside a transaction")
        self.host = self._network.hosts[host.name]
        if self.deliver_soon and not self.line.hold:
            self.deliver_soon = False
            timeline = self._timeline
            when_s = timeline.monotonic_s() + timeline.random.choice((0.0, 0.1, 0.5, 1.0))
            timeline.at(when_s, self._network.deliver_held)
        reply = super().run(host, script, deadline_s, on_output)
        then, self.then = self.then, lambda: None
        then()
        return reply

    def _look(self, host: HostConfig, make_script: Any, timeout_s: float) -> Any:
        self._owner.alive("look")
        self.drop(host)
        self._owner.moment("Look", Moment.BEFORE)
        reply = super()._look(host, make_script, timeout_s)
        self._owner.moment("Look", Moment.AFTER)
        return reply

    def put(
        self, host: HostConfig, source: Any, path: str, size_bytes: int, deadline_s: float
    ) -> Any:
        self._owner.alive("put")
        self.drop(host)
        # The other ones' step tells of itself.
        is_image = not path.endswith(("/seed.iso.part", "/replica/state.json.part"))
        if is_image:
            self._owner.moment("PutImage", Moment.BEFORE)
        reply = super().put(host, source, path, size_bytes, deadline_s)
        if is_image:
            self._owner.moment("PutImage", Moment.AFTER)
        return reply

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> Any:
        self._owner.alive("open_stream")
        self.host = self._network.hosts[host.name]
        return super().open_stream(host, unix_path, deadline_s)


class WatchedStore:
    """The real store; every commit is held against what may follow what."""

    def __init__(self, owner: Owner, real: Any) -> None:
        self._owner = owner
        self._real = real
        self._path = Path(owner.folder) / "tashi.json"
        self._on_disk = isinstance(real, TinyStore)
        self._before: bytes | None = None  # what a power cut may bring back
        self._after = b""  # in place of this, which nobody has made durable

    def read(self) -> State:
        state: State = self._real.read()
        return state

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._watched(self._real.transaction, None) as tx:
            yield tx

    @contextmanager
    def closing_transaction(self) -> Iterator[Any]:
        with self._watched(self._real.closing_transaction, self._path) as tx:
            yield tx

    @contextmanager
    def _watched(self, begin: Callable[[], Any], fleeting: Path | None) -> Iterator[Any]:
        self._owner.alive("transaction")
        with begin() as tx:
            before = tx.state
            kept = fleeting.read_bytes() if fleeting is not None and self._on_disk else None
            self._owner.in_transaction = True
            try:
                yield tx
            finally:
                self._owner.in_transaction = False
            after = tx.state
        if self._on_disk:
            self._before, self._after = kept, self._path.read_bytes()
        self._owner.committed(before, after)
        self._owner.alive("commit")

    def lose(self) -> set[str]:
        """The power was cut: what was not durable is gone; the uuids of the VMs that are known."""
        if self._before is not None and self._path.read_bytes() == self._after:
            self._path.write_bytes(self._before)
        return {vm.uuid for vm in self._real.read().vms.values()}


class WatchedJournals:
    """The real journals; it knows what of them a power cut would take."""

    def __init__(self, owner: Owner, real: FileJournals) -> None:
        self._owner = owner
        self._real = real
        self._held: dict[int, WatchedJournal] = {}
        self._created: set[int] = set()

    def create(self, header: Any, *entries: Any) -> WatchedJournal:
        self._owner.alive("journal create")
        self._created.add(header.id)
        journal = self._keep(header.id, self._real.create(header, *entries))
        self._owner.alive("journal created")
        return journal

    def reopen(self, operation_id: int) -> WatchedJournal | None:
        self._owner.alive("journal reopen")
        found = self._real.reopen(operation_id)
        return None if found is None else self._keep(operation_id, found)

    def read(self, operation_id: int) -> Any:
        return self._real.read(operation_id)

    def ids(self) -> tuple[int, ...]:
        return self._real.ids()

    def prune(self, keep: int, before: str = "~") -> tuple[int, ...]:
        return self._real.prune(keep, before)

    def discard(self, operation_id: int) -> None:
        self._owner.alive("journal discard")
        self._real.discard(operation_id)

    def let_go(self) -> None:
        """The process has ended, and the kernel closes what it held."""
        for journal in self._held.values():
            journal.close()

    def lose(self, names: bool) -> None:
        """The power was cut: notes are gone, and with `names` journals that were just made."""
        for operation, journal in self._held.items():
            if names and operation in self._created:
                journal.path.unlink(missing_ok=True)
            elif journal.path.exists():
                os.truncate(journal.path, journal.durable)

    def _keep(self, operation: int, real: Any) -> WatchedJournal:
        path = Path(self._owner.folder) / "journal" / f"{operation}.jsonl"
        self._held[operation] = WatchedJournal(self._owner, real, path)
        return self._held[operation]


class WatchedJournal:
    """One real journal; `durable` is how much of it would survive a power cut."""

    def __init__(self, owner: Owner, real: Any, path: Path) -> None:
        self._owner = owner
        self._real = real
        self.path = path
        self.durable = path.stat().st_size

    @property
    def view(self) -> Any:
        return self._real.view

    def commit(self, *entries: Any) -> None:
        self._owner.alive("journal commit")
        self._real.commit(*entries)
        self.durable = self.path.stat().st_size

    def note(self, *entries: Any) -> None:
        self._owner.alive("journal note")
        self._real.note(*entries)

    def close(self) -> None:
        self._real.close()


class WatchedBook:
    """The real book of events; it is as full as the disk of the state."""

    def __init__(self, owner: Owner, real: Any) -> None:
        self._owner = owner
        self._real = real

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)

        def call(*values: Any, **named: Any) -> Any:
            self._owner.alive(f"book {name}")
            if self._owner.full:
                raise OperationFailed("E-BOOK", "the book cannot be written", cause="simulated")
            found = real(*values, **named)
            self._owner.alive(f"book {name} done")
            return found

        return call
