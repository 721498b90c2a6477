"""A VM: wanted, observed, under way; Tashi's states are a view of these three."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Wanted(Enum):
    """What the operator asked for."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    ABSENT = "absent"


class Seen(Enum):
    """What a host said of a VM, or that none could be asked."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


class OperationKind(Enum):
    """The operations whose plans this version knows."""

    CREATE = "create"
    DESTROY = "destroy"
    START = "start"
    ADOPT = "adopt"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RESET = "reset"
    SHUTDOWN = "shutdown"
    IMAGE_IMPORT = "image-import"
    HOST_ADD = "host-add"
    HOST_REMOVE = "host-remove"


class TashiState(Enum):
    """Tashi's sixteen states with Tashi's numbers."""

    Pending = 1
    Activating = 2
    Running = 3
    Pausing = 4
    Paused = 5
    Unpausing = 6
    Suspending = 7
    Resuming = 8
    MigratePrep = 9
    MigrateTrans = 10
    ShuttingDown = 11
    Destroying = 12
    Orphaned = 13
    Held = 14
    Exited = 15
    Suspended = 16


_S = TashiState
_ALIVE = {_S.Pausing, _S.Suspending, _S.MigratePrep, _S.ShuttingDown, _S.Destroying}
_LOST = {_S.Orphaned, _S.Exited}

# From Tashi's life cycle: what may follow what. A VM that is removed has no state any more.
LEGAL: dict[TashiState, frozenset[TashiState]] = {
    _S.Pending: frozenset({_S.Activating, _S.Held, _S.Resuming, _S.Destroying}),
    _S.Held: frozenset({_S.Pending, _S.Activating, _S.Resuming, _S.Destroying}),
    _S.Activating: frozenset({_S.Running, _S.Held, _S.Pending, _S.Destroying, *_LOST}),
    _S.Running: frozenset(_ALIVE | _LOST),
    _S.Pausing: frozenset({_S.Paused, _S.Running, _S.Destroying, *_LOST}),
    _S.Paused: frozenset({_S.Unpausing, _S.Running, _S.Destroying, *_LOST}),
    _S.Unpausing: frozenset({_S.Running, _S.Paused, _S.Destroying, *_LOST}),
    _S.Suspending: frozenset({_S.Suspended, _S.Running, *_LOST}),
    _S.Suspended: frozenset({_S.Pending, _S.Resuming, _S.Destroying}),
    _S.Resuming: frozenset({_S.Running, _S.Suspended, _S.Held, _S.Destroying, *_LOST}),
    _S.MigratePrep: frozenset({_S.MigrateTrans, _S.Running, *_LOST}),
    _S.MigrateTrans: frozenset({_S.Running, *_LOST}),
    _S.ShuttingDown: frozenset({_S.Exited, _S.Running, _S.Destroying, _S.Orphaned}),
    _S.Destroying: frozenset({_S.Orphaned}),
    # Tashi asks an orphan nothing; we do, and so find it again. What has exited leaves remains.
    _S.Orphaned: frozenset(
        {_S.Running, _S.Paused, _S.Destroying, _S.Exited, _S.Held}
        | {_S.Pausing, _S.Unpausing, _S.ShuttingDown}
    ),
    # One that is found alive after all was not gone.
    _S.Exited: frozenset(
        {_S.Pending, _S.Activating, _S.Destroying, _S.ShuttingDown, _S.Running, _S.Paused}
    ),
}


class DiskSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One disk of a VM: an image by name; not persistent means an overlay that dies with the VM.

    Of a VM that was adopted `source` is ``volume`` (`name` is a path) or ``uri``, and never ours.
    `format` is the image's (``qcow2`` or ``raw``); `locality` says whether the image lies on one
    host or on all (``host`` or ``shared``).
    """

    index: int
    source: str = "image"
    name: str
    persistent: bool = False
    format: str = "qcow2"
    locality: str = "host"
    sha256: str | None = None


class NicSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network interface of a VM; `network` is a network id.

    `ssh_port` is the port of the host's 127.0.0.1 that leads to the guest's port 22, where the
    network is of mode user. `ip6` is an IPv6 address beside an IPv4 one; `fqdn` the name in DNS.
    """

    index: int
    network: int
    mac: str
    ip: str | None = None
    fqdn: str | None = None
    ssh_port: int | None = None
    ip6: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that it was given, IPv4 first."""
        return tuple(a for a in (self.ip, self.ip6) if a is not None)


class Seed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A NoCloud seed that the guest finds as a read-only disk; its content is never recorded."""

    sha256: str
    size_bytes: int


class Machine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The guest-visible machine, frozen at first start so that no later QEMU changes the guest.

    `type` is a versioned machine type; `cpu` the full ``-cpu`` text; `devices` are JSON objects of
    ``-device`` (without host-side references resolved later), each with its id and PCI address;
    `firmware` is ``bios`` or a name. `options` are guest-visible ones of ``-machine``.
    Not `migratable` is a guest whose CPU is that of its host.
    """

    type: str
    cpu: str
    firmware: str = "bios"
    options: tuple[tuple[str, str], ...] = ()
    devices: tuple[dict[str, str | int | bool], ...] = ()
    migratable: bool = True


class VmSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator asked for, complete: everything from which a VM is made."""

    cores: int = 1
    memory_mib: int = 128
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    hints: dict[str, str] = {}
    arch: str = "x86_64"
    machine: Machine | None = None
    seed: Seed | None = None


class Observed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen of a VM and when (ISO-8601 UTC); for UNKNOWN, `at` is since when.

    `learnt` are pairs of MAC and address from its host's neighbour table.
    """

    what: Seen = Seen.UNKNOWN
    at: str | None = None
    boot_id: str | None = None
    generation: int | None = None
    learnt: tuple[tuple[str, str], ...] = ()


class OperationRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operation that holds a VM; its journal says how far it got.

    `hold` means that the VM was waiting before: taken back, it stays as Held.
    """

    id: int
    kind: OperationKind
    started: str
    hold: bool = False


class Vm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VM as the database keeps it; `host` is where it is, or where its claim is."""

    id: int
    name: str
    uuid: str
    user: str
    spec: VmSpec
    wanted: Wanted = Wanted.RUNNING
    observed: Observed = Observed()
    operation: OperationRef | None = None
    host: str | None = None
    held: bool = False
    generation: int = 1
    created: str
    started: str | None = None
    pid: int | None = None
    reason: str | None = None

    @property
    def state(self) -> TashiState:
        """Tashi's state, a view of wanted, observed, operation and host."""
        return state_of(self)


def state_of(vm: Vm) -> TashiState:
    """View the three columns as one of Tashi's sixteen states."""
    if vm.wanted is Wanted.ABSENT:
        return TashiState.Destroying
    if vm.operation is not None and vm.operation.kind is not OperationKind.RESET:
        return _UNDER_WAY.get(vm.operation.kind, TashiState.Activating)
    if vm.observed.what is Seen.UNKNOWN:
        if vm.host is not None:
            return TashiState.Orphaned
        return TashiState.Held if vm.held else TashiState.Pending
    return _AT_REST[vm.observed.what]


_UNDER_WAY = {
    OperationKind.CREATE: TashiState.Activating,
    OperationKind.DESTROY: TashiState.Destroying,
    OperationKind.START: TashiState.Activating,
    OperationKind.PAUSE: TashiState.Pausing,
    OperationKind.UNPAUSE: TashiState.Unpausing,
    OperationKind.SHUTDOWN: TashiState.ShuttingDown,
}
_AT_REST = {
    Seen.RUNNING: TashiState.Running,
    Seen.PAUSED: TashiState.Paused,
    Seen.STOPPED: TashiState.Exited,
    Seen.SUSPENDED: TashiState.Suspended,
}


def may_follow(before: TashiState, after: TashiState) -> bool:
    """Whether Tashi's life cycle allows `after` to follow `before`."""
    return before is after or after in LEGAL[before]
