"""The records of the contract: exactly the keys that scripts read, from the model's values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from tashictl.cli import text
from tashictl.model.image import Image
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.vm import DiskSpec, NicSpec, Observed, Vm

if TYPE_CHECKING:
    from tashictl.model.cluster import Host
    from tashictl.model.operation import Operation

Record = dict[str, object]

VM_KEYS = (
    *("id", "name", "uuid", "state", "wanted"),
    *("observed.what", "observed.at", "observed.boot_id", "operation.id", "operation.kind"),
    *("host", "user", "cores", "memory_mib"),
    *("disks.index", "disks.image", "disks.persistent", "disks.format", "disks.path"),
    *("nics.index", "nics.network", "nics.mac", "nics.ip", "nics.ip6", "nics.fqdn"),
    *("nics.learnt", "nics.ssh_port"),
    *("seed.sha256", "seed.size_bytes"),
    *("hints.*", "arch", "machine", "decayed", "created", "started", "pid", "reason"),
)
HOST_KEYS = (
    *("name", "id", "address", "state", "up", "decayed", "last_contact", "cores", "memory_mib"),
    *("used_cores", "used_memory_mib", "reserved_memory_mib", "vms", "version", "accel", "arch"),
    *("reserved_for", "notes"),
)
NETWORK_KEYS = (
    *("name", "id", "vlan", "bridge", "mode", "cidr", "range", "used", "free", "default"),
    *("mtu", "host_address", "dhcp", "hosts"),
)
IMAGE_KEYS = (
    *("name", "format", "size_bytes", "virtual_size_bytes", "backing", "sha256", "arch", "hosts"),
)
OPERATION_KEYS = (
    *("id", "kind", "target", "status", "actor", "started", "ended"),
    *("steps.name", "steps.host", "steps.class", "steps.status", "steps.seconds", "reason"),
)


class Scene(Struct, frozen=True, kw_only=True):
    """What records are seen against: the time (aware; its zone is the reader's) and the names.

    `settings` give the folders, the cluster's id and how long an observation stays fresh.
    """

    now: datetime
    settings: Settings = Settings()
    networks: tuple[Network, ...] = ()

    def is_stale(self, at: str | None) -> bool:
        """Whether what was seen at `at` is too old to rely on; never seen is too old."""
        return text.is_older(at, self.now, self.settings.decayed_after_s)

    def network_name(self, network_id: int) -> str:
        """The network's name, or its id where the inventory knows it no more."""
        found = (n.name for n in self.networks if n.id == network_id)
        return next(found, str(network_id))


class NetworkUse(Struct, frozen=True, kw_only=True):
    """A network, how many addresses of its range are used and free, and the hosts that have it.

    `used` and `free` are None without a range.
    """

    network: Network
    used: int | None = None
    free: int | None = None
    hosts: tuple[str, ...] = ()


def vm_record(vm: Vm, scene: Scene) -> Record:
    """The record of a VM; `decayed` is false for one that has no host to be seen on."""
    spec = vm.spec
    return {
        "id": vm.id,
        "name": vm.name,
        "uuid": vm.uuid,
        "state": vm.state.name,
        "wanted": vm.wanted.value,
        "observed": {
            "what": vm.observed.what.value,
            "at": vm.observed.at,
            "boot_id": vm.observed.boot_id,
        },
        "operation": {"id": vm.operation.id, "kind": vm.operation.kind.value}
        if vm.operation
        else None,
        "host": vm.host,
        "user": vm.user,
        "cores": spec.cores,
        "memory_mib": spec.memory_mib,
        "disks": [_disk(vm, disk, scene.settings) for disk in spec.disks],
        "nics": [_nic(nic, scene, vm.observed) for nic in spec.nics],
        "seed": {"sha256": spec.seed.sha256, "size_bytes": spec.seed.size_bytes}
        if spec.seed
        else None,
        "hints": dict(spec.hints),
        "arch": spec.arch,
        "machine": spec.machine.type if spec.machine else None,
        "decayed": vm.host is not None and scene.is_stale(vm.observed.at),
        "created": vm.created,
        "started": vm.started,
        "pid": vm.pid,
        "reason": vm.reason,
    }


def _disk(vm: Vm, disk: DiskSpec, settings: Settings) -> Record:
    """A disk; `path` and `format` are those of the file that the guest writes to."""
    overlay = f"{settings.tashictl.lib_dir}/{settings.tashictl.cluster_id}/{vm.uuid}"
    return {
        "index": disk.index,
        "image": disk.name,
        "persistent": disk.persistent,
        "format": disk.format if disk.persistent else "qcow2",
        "path": disk.name
        if disk.source != "image"
        else f"{settings.image_folder}/{disk.name}"
        if disk.persistent
        else f"{overlay}/disk{disk.index}.qcow2",
    }


def _nic(nic: NicSpec, scene: Scene, observed: Observed) -> Record:
    return {
        "index": nic.index,
        "network": scene.network_name(nic.network),
        "mac": nic.mac,
        "ip": nic.ip,
        "ip6": nic.ip6,
        "fqdn": nic.fqdn,
        "learnt": [address for mac, address in observed.learnt if mac == nic.mac],
        "ssh_port": nic.ssh_port,
    }


def host_record(host: Host, scene: Scene) -> Record:
    """The record of a host; what only a probe can know is null before the first one."""
    record, facts = host.record, host.record.facts
    return {
        "name": host.name,
        "id": record.id,
        "address": host.config.address,
        "state": record.state.name,
        "up": record.up,
        "decayed": scene.is_stale(record.last_contact),
        "last_contact": record.last_contact,
        "cores": host.cores if facts else None,
        "memory_mib": host.memory_mib if facts else None,
        "used_cores": host.used_cores,
        "used_memory_mib": host.used_memory_mib,
        "reserved_memory_mib": host.reserved_memory_mib,
        "vms": host.vms,
        "version": facts.qemu_version if facts else None,
        "accel": facts.accel if facts else None,
        "arch": facts.arch if facts else host.config.arch,
        "reserved_for": list(record.reserved_for),
        "notes": record.notes,
    }


def network_record(use: NetworkUse) -> Record:
    """The record of a network."""
    network = use.network
    return {
        "name": network.name,
        "id": network.id,
        "vlan": network.vlan,
        "bridge": network.bridge,
        "mode": network.mode,
        "cidr": network.cidr,
        "range": network.range,
        "used": use.used,
        "free": use.free,
        "default": network.default,
        "mtu": network.mtu,
        "host_address": network.host_address,
        "dhcp": network.dhcp or "none",
        "hosts": list(use.hosts),
    }


def image_record(image: Image) -> Record:
    """The record of an image."""
    return {
        "name": image.name,
        "format": image.format,
        "size_bytes": image.size_bytes,
        "virtual_size_bytes": image.virtual_size_bytes,
        "backing": image.backing,
        "sha256": image.sha256,
        "arch": image.arch,
        "hosts": list(image.hosts),
    }


def operation_record(operation: Operation) -> Record:
    """The record of an operation; an empty reason is null."""
    return {
        "id": operation.id,
        "kind": operation.kind,
        "target": operation.target,
        "status": operation.status.value,
        "actor": operation.actor,
        "started": operation.started,
        "ended": operation.ended,
        "steps": [
            {
                "name": step.name,
                "host": step.host,
                "class": step.klass,
                "status": step.status,
                "seconds": step.seconds,
            }
            for step in operation.steps
        ],
        "reason": operation.reason or None,
    }
