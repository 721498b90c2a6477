"""A host in memory: it carries out steps, keeps a fence, has QEMUs, and fails when told to."""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from hashlib import sha256

from tashictl.adapters.clock import Waiting
from tashictl.errors import OperationFailed, Unreachable
from tashictl.model.script import HostKey
from tashictl.model.steps import (
    AddTap,
    AdoptQemu,
    AwaitExit,
    CheckDisk,
    CreateOverlay,
    Fence,
    Guard,
    KillQemu,
    LetGo,
    MarkFences,
    PlaceImage,
    PlaceReplica,
    PlaceSeed,
    ProbeAddress,
    ReleaseHost,
    RemoveDir,
    RemoveTap,
    StartQemu,
    Step,
    WriteManifest,
)
from tashictl.ops import ports


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
        self.kept: set[str] = set()  # QEMUs that were started by hand and have a keeper
        self.paused: set[str] = set()
        self.told: list[str] = []  # commands of QMP
        self.presses = 1  # of the power button, until a guest goes
        self.files: dict[str, bytes] = {}
        self.claimed: tuple[str, int, int, str] | None = None  # cluster, epoch, operation, uuid
        self.fences: dict[str, tuple[int, int, int]] = {}
        self.clock_ahead_s = 0
        self.replica: tuple[int, int, str] | None = None
        self.answering: dict[str, str] = {}  # by address, the MAC of somebody else there
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

    def guard_refusal(self, guard: Guard, now_s: float) -> str:
        """Why a script of no operation is not let in, or nothing."""
        if self.refuses:
            return self.refuses.pop(0)
        if int(now_s + self.clock_ahead_s) > guard.not_after_s:
            return f"late {int(now_s + self.clock_ahead_s)}"
        if self.claimed is None:
            if not guard.claims:
                return "unclaimed"
            self.claimed = (guard.cluster, 0, 0, "host")
        if self.claimed[0] != guard.cluster:
            return f"foreign {self.claimed[0]} them@there"
        return f"epoch {self.claimed[1]}" if self.claimed[1] > guard.epoch else ""

    def _keep_replica(self, step: PlaceReplica) -> None:
        if self.replica is not None and self.replica[:2] > (step.epoch, step.generation):
            raise Refusal("a newer replica is there")
        if sha256(self.files[step.part]).hexdigest() != step.sha256:
            raise Refusal("the replica did not arrive whole")
        self.files[f"{step.path}/state.json"] = self.files.pop(step.part)
        self.replica = (step.epoch, step.generation, step.digest)

    def _mark(self, epoch: int) -> str:
        assert self.claimed is not None
        cluster, _, counter, uuid = self.claimed
        self.claimed = (cluster, epoch, counter, uuid)
        counter = max([counter, *(f[1] for f in self.fences.values())])
        self.fences = {u: max(f, (epoch, 0, 0)) for u, f in self.fences.items()}
        return f"D fences {len(self.fences)}\nD counter {counter}"

    def do(self, step: Step) -> str:
        """Do one step; what it reports as frames' data lines."""
        match step:
            case WriteManifest():
                self._write(step)
            case CreateOverlay(path=path):
                self.overlays.add(path)
            case ProbeAddress(address=address) if address in self.answering:
                other = self.answering[address]
                raise Refusal(f"{address} on {step.network} is in use: {other} answers")
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
                self.kept.discard(uuid)
                self.manifests.pop(uuid, None)
                self.overlays = {o for o in self.overlays if not o.startswith(f"{folder}/")}
            case PlaceImage(part=part, path=path) | PlaceSeed(part=part, path=path):
                self.files[path] = self.files.pop(part, self.files.get(path, b""))
            case ReleaseHost():
                self._release(step)
            case _:
                return self._small(step)
        return ""

    def _small(self, step: Step) -> str:
        match step:
            case CheckDisk(path=path) if path not in self.overlays:
                raise Refusal(f"gone: {path}")
            case AdoptQemu() | LetGo():
                return self._adopt(step)
            case MarkFences(epoch=epoch):
                return self._mark(epoch)
            case PlaceReplica():
                self._keep_replica(step)
                return ""
            case _:
                return ""

    def _adopt(self, step: AdoptQemu | LetGo) -> str:
        if isinstance(step, LetGo):
            self.kept.discard(step.uuid)
            self.manifests.pop(step.uuid, None)
            return ""
        if step.uuid not in self.running:
            raise Refusal("the process has ended")
        self.kept.add(step.uuid)
        return f"D pid {step.pid}\nD boot_id b-1"

    def _write(self, step: WriteManifest) -> None:
        if step.phase != "stopped" or step.uuid in self.manifests:
            self.manifests[step.uuid] = step.manifest

    def _release(self, step: ReleaseHost) -> None:
        assert not (self.manifests or self.running)
        for name in (*step.images, *step.parts):
            self.files.pop(f"{step.folder}/{name}", None)
        self.ifups.clear()
        self.fences.clear()
        self.claimed = None


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
