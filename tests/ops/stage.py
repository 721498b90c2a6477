"""A small world for the use cases: real store, journals and locks in a folder; hosts in memory.

A host carries out a script's steps instead of its text, keeps a fence, and answers in frames. What
goes wrong is asked for by `Remote.upon`. Before anything is carried out, the journal must have the
batch on disk: that is checked on every script of every test.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.seed import FileSeeds
from tashictl.adapters.sim.names import NameTables, SimNames
from tashictl.adapters.store.create import create
from tashictl.adapters.store.tiny import TinyStore, TinyTransaction
from tashictl.model.host import HostConfig, HostFacts, HostRecord
from tashictl.model.image import Image
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.script import HostKey
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.state import State
from tashictl.ops import ports
from tashictl.ops.context import Context
from tashictl.planning.request import RawVm
from tests.ops.hosts import Host, Qmp
from tests.ops.remote import Remote

CLUSTER = "0123456789ab"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
IFUP = '#!/bin/sh\n# rendered by tashictl\nip link set dev "$1" master {{ network.bridge }}\n'


class Clock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


class Dice:
    """Numbers that count."""

    def __init__(self) -> None:
        self._count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def uuid(self) -> str:
        return f"7c1e0000-0000-4000-8000-{self._next():012x}"

    def nonce(self) -> str:
        return f"{self._next():016x}"

    def mac(self) -> str:
        return f"52:54:00:00:00:{self._next():02x}"


class Who:
    """One operator."""

    def user(self) -> str:
        return "dev"

    def controller(self) -> str:
        return "dev@desk"


class Report:
    """Keeps what people were told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[str] = []
        self.warnings: list[str] = []
        self.waited: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, name: str, text: str) -> None:
        assert text
        self.steps.append(name)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def waits(self, text: str) -> None:
        self.waited.append(text)


class Store(TinyStore):
    """The real one; writes down its commits."""

    def __init__(self, folder: str, locks: FileLocks, clock: Clock, events: list[str]) -> None:
        super().__init__(folder, locks, clock, keep=20)
        self._events = events

    @contextmanager
    def transaction(self) -> Iterator[TinyTransaction]:
        with super().transaction() as tx:
            yield tx
        self._events.append("commit" if tx.committed else "no change")

    @contextmanager
    def closing_transaction(self) -> Iterator[TinyTransaction]:
        with super().closing_transaction() as tx:
            yield tx
        self._events.append("commit" if tx.committed else "no change")


class Faults:
    """Writes down which moments were reached; cuts or dies at one."""

    def __init__(self, events: list[str]) -> None:
        self.split_at: str | None = None
        self.reactions: dict[tuple[str, str], Callable[[Callable[[], None]], None]] = {}
        self._events = events

    def reached(self, step: str, moment: str, cut: Callable[[], None]) -> None:
        self._events.append(f"{step}:{moment}")
        reaction = self.reactions.get((step, moment))
        if reaction is not None:
            reaction(cut)


class Trust:
    """Keys in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[HostKey, ...]] = {}

    def key_of(self, host: str) -> tuple[HostKey, ...]:
        return self.keys.get(host, ())

    def trust(self, host: str, key: HostKey) -> None:
        self.keys[host] = (key,)

    def forget(self, host: str) -> None:
        self.keys.pop(host, None)


class Stage:
    """A cluster of `hosts` hosts that were added, each with an image and room for eight VMs."""

    def __init__(self, folder: Path, hosts: int = 2) -> None:
        self.folder = folder / "state"
        create(str(self.folder), CLUSTER)
        self.events: list[str] = []
        self.clock = Clock()
        self.journals = FileJournals(f"{self.folder}/journal", self.clock)
        self.locks = self.other_locks()
        self.store = Store(str(self.folder), self.locks, self.clock, self.events)
        self.remote = Remote(self.journals, self.clock, self.events)
        self.faults = Faults(self.events)
        self.report = Report()
        self.trust = Trust()
        self.tables = NameTables()
        self.world = ports.World(
            store=self.store,
            journals=self.journals,
            locks=self.locks,
            remote=self.remote,
            qmp=Qmp(self.clock),
            trust=self.trust,
            clock=self.clock,
            dice=Dice(),
            who=Who(),
            faults=self.faults,
            report=self.report,
            seeds=FileSeeds(f"{self.folder}/seeds"),
            names=SimNames(self.tables),
        )
        names = [f"node{n}" for n in range(1, hosts + 1)]
        self.context = Context(
            settings=Settings(tashictl=TashictlSettings(cluster_id=CLUSTER)),
            inventory=Inventory(
                hosts=tuple(HostConfig(name=n, address=n) for n in names),
                networks=(Network(id=1, name="lan", bridge="vmbr", default=True),),
            ),
            ifup_template=IFUP,
        )
        with self.store.transaction() as tx:
            for number, name in enumerate(names, 1):
                self.remote.hosts[name] = Host()
                tx.put_host(HostRecord(id=number, name=name, up=True, facts=facts()))
            for image in ("demo.qcow2", "data.img"):
                tx.put_image(an_image(image, names))
        self.events.clear()

    def other_locks(self) -> FileLocks:
        """The locks as another process of this controller has them."""
        return FileLocks(f"{self.folder}/locks", self.clock, "dev@desk", 10.0)

    @property
    def state(self) -> State:
        """The database as the next command reads it."""
        return self.store.read()

    def host(self, name: str = "node1") -> Host:
        """What is on a host."""
        return self.remote.hosts[name]

    def seeds_left(self) -> list[str]:
        """The cloud-init seeds that are kept."""
        return sorted(p.name for p in (self.folder / "seeds").glob("*"))

    def status(self, operation: int) -> str:
        """How an operation stands, as its journal says."""
        view = self.journals.read(operation)
        assert view is not None
        return view.status.value

    def locks_left(self) -> list[str]:
        """The VM locks that lie in the folder."""
        return sorted(p.name for p in (self.folder / "locks").glob("vm-*"))

    @property
    def commits(self) -> int:
        """How often the database was written."""
        return self.events.count("commit")

    def bytes(self) -> bytes:
        """The state file."""
        return (self.folder / "tashi.json").read_bytes()


def facts(**values: object) -> HostFacts:
    """A host with four cores and 4 GiB."""
    usual: dict[str, object] = {
        "at": "2026-03-01T11:00:00Z",
        "boot_id": "b-1",
        "arch": "x86_64",
        "cores": 4,
        "memory_mib": 4096,
        "accel": "tcg",
        "qemu_bin": "/usr/bin/qemu-system-x86_64",
        "qemu_version": "7.2.22",
        "machine_types": ("pc=pc-i440fx-7.2", "pc-i440fx-7.2"),
        "bridges": ("vmbr",),
    }
    return HostFacts(**{**usual, **values})  # type: ignore[arg-type]


def an_image(name: str, hosts: Iterable[str], **values: object) -> Image:
    """An image that lies on `hosts`."""
    usual: dict[str, object] = {"format": "qcow2", "size_bytes": 5, "virtual_size_bytes": 1 << 20}
    return Image(name=name, hosts=tuple(hosts), **{**usual, **values})  # type: ignore[arg-type]


def raw(name: str = "web1", **values: object) -> RawVm:
    """What an operator types for a small VM."""
    return RawVm(**{"name": name, "disks": ("demo.qcow2",), **values})  # type: ignore[arg-type]


def content(data: bytes = b"bytes") -> BinaryIO:
    """An image file in memory."""
    return io.BytesIO(data)
