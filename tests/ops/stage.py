"""A small world for the use cases: real store, journals and locks in a folder; hosts in memory.

A host carries out a script's steps instead of its text, keeps a fence, and answers in frames. What
goes wrong is asked for by `Remote.upon`. Before anything is carried out, the journal must have the
batch on disk: that is checked on every script of every test.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.create import create
from tashictl.adapters.store.tiny import TinyStore, TinyTransaction
from tashictl.errors import OperationFailed, Unreachable
from tashictl.model.host import HostConfig, HostFacts, HostRecord
from tashictl.model.image import Image
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.operation import Begun
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.state import State
from tashictl.model.steps import (
    AddTap,
    CheckImage,
    CreateOverlay,
    Fence,
    KillQemu,
    PlaceImage,
    RemoveDir,
    RemoveTap,
    StartQemu,
    Step,
    WriteManifest,
)
from tashictl.ops import ports
from tashictl.ops.context import Context
from tashictl.planning.request import RawVm

CLUSTER = "0123456789ab"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = HostKey(algorithm="ssh-ed25519", base64="AAAA", fingerprint="SHA256:abc")
OTHER_KEY = HostKey(algorithm="ssh-ed25519", base64="BBBB", fingerprint="SHA256:xyz")
IFUP = '#!/bin/sh\n# rendered by tashictl\nip link set dev "$1" master {{ network.bridge }}\n'
_BEGIN = re.compile(r"^begin (\d+) (\w+)$", re.MULTILINE)


class Trouble(Enum):
    """What goes wrong when a step arrives."""

    FAILS = "answered with a failure, not done"
    UNSENT = "nothing left this machine"
    LOST = "sent, not done, no answer"
    MUTE = "done to this step, no answer"
    CTRL_C = "the operator presses Ctrl-C before it is sent"
    CTRL_C_AFTER = "the operator presses Ctrl-C while the answer is awaited"
    PAUSED = "QEMU is there and does not run"
    SILENT = "QEMU's socket does not answer"


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

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, name: str, text: str) -> None:
        assert text
        self.steps.append(name)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


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


class Host:
    """What is on a host, and what its fence knows."""

    def __init__(self) -> None:
        self.manifests: dict[str, str] = {}
        self.overlays: set[str] = set()
        self.ifups: dict[str, str] = {}
        self.taps: set[str] = set()
        self.running: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.claimed: tuple[str, int, int] | None = None  # cluster, epoch, counter
        self.fences: dict[str, tuple[int, int, int]] = {}
        self.clock_ahead_s = 0
        self.refuses: list[str] = []  # reasons, one for each of the next scripts

    @property
    def empty(self) -> bool:
        """Whether nothing of any VM is left."""
        return not (self.manifests or self.overlays or self.taps or self.running)

    def refusal(self, fence: Fence, now_s: float) -> str:
        """Why the fence does not let a script in, or nothing; what it knows rises."""
        if self.refuses:
            return self.refuses.pop(0)
        now = int(now_s + self.clock_ahead_s)
        if now > fence.not_after_s:
            return f"late {now}"
        cluster, epoch, counter = self.claimed or (fence.cluster, 0, 0)
        if cluster != fence.cluster:
            return f"foreign {cluster} them@there"
        if epoch > fence.epoch:
            return f"epoch {epoch}"
        if epoch == fence.epoch and counter > fence.counter:
            return f"counter {counter}"
        self.claimed = (fence.cluster, fence.epoch, fence.counter)
        known = self.fences.get(fence.uuid, (0, 0, 0))
        ours = (fence.epoch, fence.operation, fence.attempt)
        if known > ours:
            return "newer " + " ".join(str(n) for n in known)
        self.fences[fence.uuid] = ours
        return ""

    def do(self, step: Step) -> str:
        """Do one step; what it reports as frames' data lines."""
        match step:
            case WriteManifest(uuid=uuid, manifest=manifest):
                self.manifests[uuid] = manifest
            case CreateOverlay(path=path):
                self.overlays.add(path)
            case AddTap(tap=tap):
                self.taps.add(tap)
            case StartQemu(uuid=uuid):
                self.running.add(uuid)
                return "D pid 4711\nD boot_id b-1"
            case KillQemu(uuid=uuid):
                self.running.discard(uuid)
            case RemoveTap(tap=tap):
                self.taps.discard(tap)
            case RemoveDir(uuid=uuid, folder=folder):
                assert uuid not in self.running
                self.manifests.pop(uuid, None)
                self.overlays = {o for o in self.overlays if not o.startswith(f"{folder}/")}
            case PlaceImage(part=part, path=path):
                self.files[path] = self.files.pop(part, self.files.get(path, b""))
            case CheckImage() | _:
                pass
        return ""


class Stream:
    """A socket of a VM; only its host and uuid matter."""

    def __init__(self, host: Host, trouble: Trouble | None) -> None:
        self.host = host
        self.trouble = trouble
        self.closed = False

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def receive(self, deadline_s: float) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


class Qmp:
    """QEMU's monitor: running when the host says so."""

    def hello(self, stream: ports.Stream, uuid: str, deadline_s: float) -> str:
        assert isinstance(stream, Stream)
        if stream.trouble is Trouble.FAILS:
            raise OperationFailed("E-QMP", "another VM answers")
        if stream.trouble is Trouble.SILENT:
            raise Unreachable("E-TIMEOUT", "no answer")
        if stream.trouble is Trouble.PAUSED:
            return "paused"
        return "running" if uuid in stream.host.running else "shutdown"


class Remote:
    """The hosts; scripts in the order that they were sent."""

    def __init__(self, journals: FileJournals, clock: Clock, events: list[str]) -> None:
        self.hosts: dict[str, Host] = {}
        self.down: set[str] = set()
        self.scripts: list[Script] = []  # changing ones that left
        self.asked: list[Script] = []  # read-only ones
        self.keys: dict[str, HostKey] = {}
        self.probes: dict[str, Callable[[str], bytes]] = {}
        self.probe_fault: dict[str, Fault] = {}
        self.dropped: list[str] = []
        self.put_fault: Reply | None = None
        self.streams: list[Stream] = []
        self._journals = journals
        self._clock = clock
        self._events = events
        self._troubles: dict[str, list[Trouble | None]] = {}

    def upon(self, step: str, *troubles: Trouble | None) -> None:
        """What goes wrong when a step arrives for the first, the second … time.

        `step` is a kind, or a place and a kind: ``0 WriteManifest``.
        """
        self._troubles[step] = list(troubles)

    def _trouble(self, index: str, name: str) -> Trouble | None:
        for key in (f"{index} {name}", name):
            waiting = self._troubles.get(key)
            if waiting:
                return waiting.pop(0)
        return None

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        if not script.changing:
            return self._probed(host, script)
        places = [(int(i), name) for i, name in _BEGIN.findall(script.text)]
        assert [name for _, name in places] == [s.name for s in script.steps]
        self._is_journalled(script, tuple(i for i, _ in places))
        self._events.append("run")
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        self.scripts.append(script)
        assert deadline_s > self._clock.monotonic_s() + script.timeout_s
        return self._carried_out(self.hosts[host.name], script, places, on_output)

    def _is_journalled(self, script: Script, places: tuple[int, ...]) -> None:
        assert script.fence is not None
        view = self._journals.read(script.fence.operation)
        assert view is not None and view.alive
        begun = [e for e in view.entries if isinstance(e, Begun)]
        assert begun[-1].steps == places
        assert begun[-1].attempt <= script.fence.attempt

    def _carried_out(
        self,
        host: Host,
        script: Script,
        places: list[tuple[int, str]],
        on_output: Callable[[bytes], None] | None,
    ) -> Reply:
        nonce, out = script.nonce, b""

        def say(text: str) -> None:
            nonlocal out
            line = f"\n@{nonce} {text}\n".encode()
            out += line
            if on_output is not None:
                on_output(line)

        assert script.fence is not None
        troubles = [self._trouble(str(i), name) for i, name in places]
        for early in (Trouble.UNSENT, Trouble.LOST, Trouble.CTRL_C):
            if early in troubles:
                return _early(early)
        why = host.refusal(script.fence, self._clock.now().timestamp())
        if why:
            say(f"R {why}")
            say("Z")
            return Reply(rc=0, out=out, sent=True)
        for (index, name), step, trouble in zip(places, script.steps, troubles, strict=True):
            say(f"B {index} {name}")
            failed = trouble is Trouble.FAILS
            for line in [] if failed else host.do(step).splitlines():
                say(line)
            if trouble is Trouble.CTRL_C_AFTER:
                raise KeyboardInterrupt
            if trouble is Trouble.MUTE:
                return Reply(out=out, fault=Fault.CUT, sent=True)
            out += b"no space left" if failed else b""
            say(f"E {index} {int(failed)}")
            if failed:
                break
        say("Z")
        return Reply(rc=0, out=out, sent=True, seconds=0.5)

    def _probed(self, host: HostConfig, script: Script) -> Reply:
        self.asked.append(script)
        fault = Fault.REFUSED if host.name in self.down else self.probe_fault.get(host.name)
        if fault is not None:
            return Reply(fault=fault)
        return Reply(rc=0, out=self.probes[host.name](script.nonce), sent=True)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
    ) -> SweepStats:
        for host in hosts:
            on_result(host, self._probed(host, make_script(host)))
        return SweepStats(answered=0, failed=0, seconds=0.0)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> Stream:
        trouble = self._trouble("", "AwaitQmp")
        if trouble in (Trouble.CTRL_C, Trouble.CTRL_C_AFTER):
            raise KeyboardInterrupt
        if host.name in self.down or trouble is Trouble.UNSENT:
            raise Unreachable("E-REFUSED", f"{host.name} not reached", host=host.name)
        stream = Stream(self.hosts[host.name], trouble)
        self.streams.append(stream)
        return stream

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        if self.put_fault is not None:
            return self.put_fault
        data = source.read()
        self.hosts[host.name].files[path] = data
        return Reply(rc=0, out=sha256(data).hexdigest().encode(), sent=True)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        raise NotImplementedError

    @contextmanager
    def forward(self, host: HostConfig, unix_path: str) -> Iterator[tuple[str, int]]:
        yield from ()
        raise NotImplementedError

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        if host.name in self.down:
            raise Unreachable("E-REFUSED", f"{host.name} not reached", host=host.name)
        return self.keys.get(host.name, KEY)

    def drop(self, host: HostConfig) -> None:
        self.dropped.append(host.name)

    def close(self) -> None:
        pass


def _early(trouble: Trouble) -> Reply:
    if trouble is Trouble.CTRL_C:
        raise KeyboardInterrupt
    if trouble is Trouble.UNSENT:
        return Reply(fault=Fault.TCP_TIMEOUT)
    return Reply(fault=Fault.CUT, sent=True)


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
        self.world = ports.World(
            store=self.store,
            journals=self.journals,
            locks=self.locks,
            remote=self.remote,
            qmp=Qmp(),
            trust=self.trust,
            clock=self.clock,
            dice=Dice(),
            who=Who(),
            faults=self.faults,
            report=self.report,
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
