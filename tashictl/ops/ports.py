"""What the operations need from the world, as small protocols; adapters fit, cli wires."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO, Protocol

from msgspec import Struct

from tashictl.model.host import HostConfig
from tashictl.model.operation import Entry, Header, JournalView
from tashictl.model.script import HostKey, Reply, Script, SweepStats
from tashictl.ops.ports_names import Names
from tashictl.ops.ports_seeds import Seeds
from tashictl.ops.ports_store import Store as Store
from tashictl.ops.ports_store import Transaction as Transaction
from tashictl.ops.ports_stream import Stream as Stream


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic_s(self) -> float:
        """A clock that never goes back, for deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Dice(Protocol):
    """Randomness."""

    def uuid(self) -> str:
        """A random UUID (RFC 9562 version 4)."""
        ...

    def nonce(self) -> str:
        """Sixteen random hex digits."""
        ...

    def mac(self) -> str:
        """Tashi's default MAC: 52:54:00 and three random bytes."""
        ...


class Who(Protocol):
    """The identity of this process."""

    def user(self) -> str:
        """The login name of the caller."""
        ...

    def controller(self) -> str:
        """user@machine, for journals and hosts."""
        ...


class Remote(Protocol):
    """Hosts, reached over SSH, locally, or simulated. Deadlines are absolute, in monotonic seconds.

    In a dry run whatever is not read-only raises before anything is sent.
    """

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script; never raises for what happens on the way: the reply says it.

        `on_output` sees stdout as it arrives.
        """
        ...

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run a script on each of many hosts, each with its own deadline, results as they come.

        `on_result` is called from one thread at a time. One sick host costs only its own deadline.
        `follow` is called before it, for a host that answered and while its connection stands,
        from several threads at once: for what has to be asked besides, within the same deadline.
        """
        ...

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> Stream:
        """Connect to a unix socket on the host; raises Unreachable."""
        ...

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> Stream:
        """Connect to a TCP port as the host sees it; raises Unreachable."""
        ...

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Stream `size_bytes` into `path` on the host, resuming a shorter file that is there.

        The reply's `out` ends with the sha256 of the whole file in hex. Nothing is renamed.
        """
        ...

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Stream a file from the host into `sink`."""
        ...

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        """Listen on a local port whose connections end at a unix socket on the host."""
        ...

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """Ask the host for its key without trusting it; raises Unreachable."""
        ...

    def drop(self, host: HostConfig) -> None:
        """Cut the connection to a host, if there is one."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class Trust(Protocol):
    """The host keys that the cluster trusts, by host name."""

    def key_of(self, host: str) -> tuple[HostKey, ...]:
        """The trusted keys of a host, empty when none is."""
        ...

    def trust(self, host: str, key: HostKey) -> None:
        """Trust `key` for `host`, in place of any other of the same algorithm."""
        ...

    def forget(self, host: str) -> None:
        """Trust no key of `host` any more."""
        ...


class Monitor(Protocol):
    """A dialogue with the monitor of one VM; `status` is its run state as it was last asked."""

    @property
    def status(self) -> str:
        """QEMU's name of the run state: ``running``, ``paused`` …"""
        ...

    def command(self, command: str, deadline_s: float) -> str:
        """Give one command; the run state after it.

        Raises OperationFailed when QEMU refuses, Unreachable when the stream ends: then it may
        have been done.
        """
        ...

    def ends(self, deadline_s: float) -> bool:
        """Whether QEMU says that it shuts down, or ends, before the deadline.

        Raises Unreachable when the connection is cut: that is no end.
        """
        ...


class Qmp(Protocol):
    """QEMU's monitor."""

    def hello(self, stream: Stream, uuid: str, deadline_s: float) -> str:
        """Greet QEMU, check that it is the VM `uuid`, and return its run state (``running``).

        Raises OperationFailed for another VM or nonsense, Unreachable when the stream ends.
        """
        ...

    def talk(self, stream: Stream, uuid: str, deadline_s: float) -> Monitor:
        """Greet QEMU as `hello` does, and go on talking."""
        ...

    def measure(
        self, stream: Stream, uuid: str, deadline_s: float
    ) -> tuple[str, dict[str, dict[str, float]]]:
        """Greet QEMU as `hello` does; its run state, and the counters of each block device."""
        ...


class Journal(Protocol):
    """The journal of one operation; this process holds its lock, so the operation lives."""

    @property
    def view(self) -> JournalView:
        """All that was written so far."""
        ...

    def commit(self, *entries: Entry) -> None:
        """Append and make durable."""
        ...

    def note(self, *entries: Entry) -> None:
        """Append; a power cut may lose it."""
        ...

    def close(self) -> None:
        """Let the operation go; the file stays."""
        ...


class Journals(Protocol):
    """All journals of the cluster."""

    def create(self, header: Header, *entries: Entry) -> Journal:
        """Create a journal, held, durable with its first entries; an existing one is an error."""
        ...

    def reopen(self, operation_id: int) -> Journal | None:
        """Take over an interrupted journal; None when there is none.

        Raises Conflict while the process that runs the operation lives.
        """
        ...

    def read(self, operation_id: int) -> JournalView | None:
        """Read a journal without taking it; None when there is none."""
        ...

    def discard(self, operation_id: int) -> None:
        """Remove a journal that was never recorded in the database."""
        ...

    def prune(self, keep: int, before: str = "~") -> tuple[int, ...]:
        """Of what ended before a time (ISO-8601) remove all journals but the newest `keep`."""
        ...

    def ids(self) -> tuple[int, ...]:
        """The operations that have a journal, rising."""
        ...


class Locks(Protocol):
    """Locks among the processes of this controller. Order: VM < image < host."""

    def vm(self, vm_id: int) -> AbstractContextManager[None]:
        """Hold a VM; raises Conflict when it is not had in lockTimeout."""
        ...

    def forget_vm(self, vm_id: int) -> None:
        """Leave no lock behind for a VM that is gone; its lock must be held."""
        ...

    def image(self, name: str) -> AbstractContextManager[None]:
        """Hold an image."""
        ...

    def host_shared(self, name: str) -> AbstractContextManager[None]:
        """Hold a host beside other VM operations."""
        ...

    def host(self, name: str) -> AbstractContextManager[None]:
        """Hold a host alone."""
        ...


class Faults(Protocol):
    """Fault points: where a test makes the controller die, stop or lose its connection."""

    @property
    def split_at(self) -> str | None:
        """The step kind that must stand in a batch of its own, or None."""
        ...

    def reached(self, step: str, moment: str, cut: Callable[[], None]) -> None:
        """A step's moment (``before``, ``sent``, ``after``) was reached; may not return."""
        ...


class Report(Protocol):
    """Where an operation tells people how it goes."""

    def note(self, text: str) -> None:
        """A line on the side."""
        ...

    def step(self, name: str, text: str) -> None:
        """A step was done."""
        ...

    def warn(self, text: str) -> None:
        """A line that matters."""
        ...

    def waits(self, text: str) -> None:
        """What is waited for now, in place of what was said last; ``""`` when that is over."""
        ...


class World(Struct, frozen=True, kw_only=True):
    """All ports together, as an operation gets them."""

    store: Store
    journals: Journals
    locks: Locks
    remote: Remote
    qmp: Qmp
    trust: Trust
    clock: Clock
    dice: Dice
    who: Who
    faults: Faults
    report: Report
    seeds: Seeds
    names: Names
