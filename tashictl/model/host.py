"""A host: what the inventory says of it, what it said of itself, what the operator decided."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class HostState(Enum):
    """Tashi's host states with Tashi's numbers."""

    Normal = 1
    Drained = 2
    VersionMismatch = 3


class HostConfig(Struct, frozen=True, kw_only=True):
    """A host as the inventory describes it; None where the inventory is silent.

    `cores` and `memory_mib` cap what the host offers; `reserved_memory_mib` is kept for the host.
    `host_addresses` are ``network=address``, in place of the network's own host_address.
    """

    name: str
    address: str
    user: str = "root"
    port: int = 22
    transport: str = "paramiko"
    identity_file: str | None = None
    become: bool = False
    uplink: str | None = None
    networks: tuple[str, ...] | None = None
    host_addresses: tuple[str, ...] = ()
    style: str | None = None
    groups: tuple[str, ...] = ()
    rack: str | None = None
    cores: int | None = None
    memory_mib: int | None = None
    reserved_memory_mib: int | None = None
    accel: str | None = None
    scratch_dir: str | None = None
    arch: str | None = None


class VmFact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VM as a host sees it: alive by its run.lock, known by its manifest.

    `manifest` is the JSON object or None; `fence` is (epoch, operation, attempt) or None.
    """

    uuid: str
    alive: bool
    pid: int | None = None
    starttime: int | None = None
    manifest: dict[str, object] | None = None
    fence: tuple[int, int, int] | None = None


class ImageFact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image file that lies in a host's image folder."""

    name: str
    size_bytes: int
    format: str
    virtual_size_bytes: int | None = None
    backing: str | None = None


class HostFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one probe found: times ISO-8601 UTC, `clock_offset_s` is host clock minus ours.

    `accel` is ``kvm`` or ``tcg``; `claimed_by` is the cluster id that owns the host, if any, with
    the highest epoch and operation counter that it has seen; `missing` names absent requirements.
    `ports` are those of sshPorts that something which is no VM of ours listens on.
    `booted` is by the host's uptime and our clock, good to a second or two. `hidden`: the login may
    not see everything there, so that a VM which is not seen alive may be.
    """

    at: str
    boot_id: str
    arch: str
    cores: int
    memory_mib: int
    accel: str
    qemu_bin: str | None = None
    qemu_version: str | None = None
    machine_types: tuple[str, ...] = ()
    kernel: str | None = None
    clock_offset_s: float = 0.0
    claimed_by: str | None = None
    claimed_epoch: int = 0
    claimed_counter: int = 0
    missing: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    images: tuple[ImageFact, ...] = ()
    vms: tuple[VmFact, ...] = ()
    booted: str | None = None
    hidden: bool = False


class HostRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host as the database keeps it: decisions of the operator and the last observation.

    `seen_operation` is the last operation that is known to have reached it. `fingerprint` is what
    a sweep saw of what the facts were read from: another one means to read them anew.
    """

    id: int
    name: str
    state: HostState = HostState.Normal
    up: bool | None = None
    last_contact: str | None = None
    reserved_for: tuple[str, ...] = ()
    notes: str = ""
    facts: HostFacts | None = None
    seen_operation: int = 0
    fingerprint: str = ""
