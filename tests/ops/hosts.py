"""Hosts in memory: they carry out steps, keep a fence, answer in frames, and fail when told to."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from hashlib import sha256
from typing import BinaryIO

from tashictl.adapters.clock import Waiting
from tashictl.adapters.journals import FileJournals
from tashictl.errors import OperationFailed, Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.operation import Begun
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats
from tashictl.model.steps import (
    AddTap,
    AwaitExit,
    CheckImage,
    CreateOverlay,
    Fence,
    KillQemu,
    PlaceImage,
    PlaceSeed,
    ReleaseHost,
    RemoveDir,
    RemoveTap,
    StartQemu,
    Step,
    WriteManifest,
)
from tashictl.ops import ports

_BEGIN = re.compile(r"^begin (\d+) (\w+)$", re.MULTILINE)


def _key(seed: bytes) -> HostKey:
    """A well-formed public key, as RFC 8709 writes it."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + sha256(seed).digest()
    digest = b64encode(sha256(blob).digest()).decode().rstrip("=")
    return HostKey(
        algorithm="ssh-ed25519", base64=b64encode(blob).decode(), fingerprint=f"SHA256:{digest}"
    )


KEY, OTHER_KEY = _key(b"one"), _key(b"other")


class Trouble(Enum):
    """What goes wrong when a step arrives."""

    FAILS = "answered with a failure, not done"
    UNSENT = "nothing left this machine"
    LOST = "sent, not done, no answer"
    MUTE = "done to this step, no answer"
    CTRL_C = "the operator presses Ctrl-C before it is sent"
    CTRL_C_AFTER = "the operator presses Ctrl-C while the answer is awaited"
    PAUSED = "QEMU is there and does not run"
    IO_ERROR = "QEMU has stopped the guest, whose disk is full"
    SILENT = "QEMU's socket does not answer"
    GONE = "nobody listens at QEMU's socket"
    REFUSED = "QEMU refuses the command"
    NONSENSE = "what QEMU answers to the command is none"


class Refusal(Exception):
    """A step that says no."""


class Host:
    """What is on a host, and what its fence knows."""

    def __init__(self) -> None:
        self.manifests: dict[str, str] = {}
        self.overlays: set[str] = set()
        self.ifups: dict[str, str] = {}
        self.taps: set[str] = set()
        self.running: set[str] = set()
        self.paused: set[str] = set()
        self.told: list[str] = []  # commands of QMP
        self.presses = 1  # of the power button, until a guest goes
        self.files: dict[str, bytes] = {}
        self.claimed: tuple[str, int, int, str] | None = None  # cluster, epoch, operation, uuid
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
        cluster, epoch, last, uuid = self.claimed or (fence.cluster, 0, 0, "")
        if cluster != fence.cluster:
            return f"foreign {cluster} them@there"
        if epoch > fence.epoch:
            return f"epoch {epoch}"
        own = (last, uuid) == (fence.operation, fence.uuid)
        if epoch == fence.epoch and last > fence.seen and not own:
            return f"counter {last} {uuid}"
        if epoch < fence.epoch or last < fence.operation:
            self.claimed = (fence.cluster, fence.epoch, fence.operation, fence.uuid)
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
            case AwaitExit(uuid=uuid) if uuid in self.running:
                raise Refusal("QEMU still runs")
            case RemoveTap(tap=tap):
                self.taps.discard(tap)
            case RemoveDir(uuid=uuid, folder=folder):
                assert uuid not in self.running
                self.manifests.pop(uuid, None)
                self.overlays = {o for o in self.overlays if not o.startswith(f"{folder}/")}
            case PlaceImage(part=part, path=path) | PlaceSeed(part=part, path=path):
                self.files[path] = self.files.pop(part, self.files.get(path, b""))
            case ReleaseHost(folder=folder, images=images, parts=parts):
                assert not (self.manifests or self.running)
                for name in (*images, *parts):
                    self.files.pop(f"{folder}/{name}", None)
                self.ifups.clear()
                self.fences.clear()
                self.claimed = None
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

    def __init__(self, clock: Waiting) -> None:
        self.clock = clock

    def hello(self, stream: ports.Stream, uuid: str, deadline_s: float) -> str:
        assert isinstance(stream, Stream)
        if stream.trouble is Trouble.CTRL_C_AFTER:
            raise KeyboardInterrupt
        return self._status(stream, uuid)

    def _status(self, stream: Stream, uuid: str) -> str:
        if stream.trouble is Trouble.FAILS:
            raise OperationFailed("E-QMP", "another VM answers")
        if stream.trouble is Trouble.SILENT:
            raise Unreachable("E-TIMEOUT", "no answer")
        if stream.trouble is Trouble.GONE or uuid not in stream.host.running:
            raise Unreachable("E-EXEC", "nobody listens")
        if stream.trouble is Trouble.IO_ERROR:
            return "io-error"
        paused = stream.trouble is Trouble.PAUSED or uuid in stream.host.paused
        return "paused" if paused else "running"

    def talk(self, stream: ports.Stream, uuid: str, deadline_s: float) -> Monitor:
        assert isinstance(stream, Stream)
        return Monitor(stream, uuid, self._status(stream, uuid), self.clock)


class Monitor:
    """The dialogue with one QEMU."""

    def __init__(self, stream: Stream, uuid: str, status: str, clock: Waiting) -> None:
        self.status = status
        self.stream = stream
        self.uuid = uuid
        self.clock = clock

    def command(self, command: str, deadline_s: float) -> str:
        assert deadline_s > self.clock.monotonic_s()
        host, trouble = self.stream.host, self.stream.trouble
        if trouble is Trouble.REFUSED:
            raise OperationFailed(
                "E-QMP-REFUSED", f"QEMU refused {command}", cause="GenericError: no"
            )
        host.told.append(command)
        if trouble is Trouble.NONSENSE:
            raise OperationFailed("E-QMP", "what answers does not speak QMP")
        if command == "stop":
            host.paused.add(self.uuid)
        elif command == "cont":
            host.paused.discard(self.uuid)
        elif command == "system_powerdown" and host.told.count(command) >= host.presses:
            host.running.discard(self.uuid)
        if trouble is Trouble.MUTE:
            raise Unreachable("E-CUT", "the connection was cut")
        if trouble is Trouble.CTRL_C_AFTER:
            raise KeyboardInterrupt
        if trouble is not Trouble.IO_ERROR or command == "cont":
            self.status = "paused" if self.uuid in host.paused else "running"
        return self.status

    def ends(self, deadline_s: float) -> bool:
        if self.uuid not in self.stream.host.running:
            return True
        self.clock.sleep(deadline_s - self.clock.monotonic_s())
        return False


class Remote:
    """The hosts; scripts in the order that they were sent."""

    def __init__(self, journals: FileJournals, clock: Waiting, events: list[str]) -> None:
        self.hosts: dict[str, Host] = {}
        self.down: set[str] = set()
        self.scripts: list[Script] = []  # changing ones that left
        self.asked: list[Script] = []  # read-only ones
        self.keys: dict[str, HostKey] = {}
        self.probes: dict[str, Callable[[str], bytes]] = {}
        self.probe_fault: dict[str, Fault] = {}
        self.dropped: list[str] = []
        self.put_fault: Reply | None = None
        self.put_interrupted = False
        self.guests: dict[tuple[str, str, int], Callable[[], ports.Stream]] = {}
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
            try:
                lines = "" if failed else host.do(step)
            except Refusal:
                failed, lines = True, ""
            for line in lines.splitlines():
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
        trouble = self._trouble("", "AwaitQmp") or self._trouble("", "monitor")
        if trouble is Trouble.CTRL_C:
            raise KeyboardInterrupt
        if host.name in self.down or trouble is Trouble.UNSENT:
            raise Unreachable("E-REFUSED", f"{host.name} not reached", host=host.name)
        stream = Stream(self.hosts[host.name], trouble)
        self.streams.append(stream)
        return stream

    def open_tcp(
        self, host: HostConfig, address: str, port: int, deadline_s: float
    ) -> ports.Stream:
        answer = self.guests.get((host.name, address, port))
        if answer is None:
            self._clock.sleep(1.0)
            raise Unreachable("E-TCP-TIMEOUT", "no answer to the TCP connection", host=host.name)
        return answer()

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        if self.put_interrupted:
            raise KeyboardInterrupt
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
