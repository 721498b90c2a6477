"""Hosts, networks and VMs for the tests of decisions."""

from __future__ import annotations

from typing import Any

from tashictl.model.cluster import Cluster, Host
from tashictl.model.host import HostConfig, HostFacts, HostRecord
from tashictl.model.image import Image
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.vm import DiskSpec, NicSpec, OperationKind, OperationRef, Vm, VmSpec
from tashictl.planning import machine

SETTINGS = Settings(tashictl=TashictlSettings(cluster_id="0123456789ab"))
LAN = Network(id=1, name="lan", bridge="vmbr", default=True)
LAB = Network(id=7, name="lab", bridge="vmbr.7", vlan=7, mtu=9000)
IFUP = "#!/bin/sh\n# rendered by tashictl\nip link set dev $1 master {{ network.bridge }}\n"


def facts(**values: Any) -> HostFacts:
    """A host with four cores and 4 GiB."""
    usual: dict[str, Any] = {
        "at": "2026-03-01T11:00:00Z",
        "boot_id": "b-1",
        "arch": "x86_64",
        "cores": 4,
        "memory_mib": 4096,
        "accel": "tcg",
        "qemu_version": "7.2.22",
        "machine_types": ("pc=pc-i440fx-7.2", "pc-i440fx-7.2"),
    }
    return HostFacts(**{**usual, **values})


def host(name: str = "node1", host_id: int = 1, **values: Any) -> Host:
    """A host that is up; `record` and `config` take what differs there."""
    record = {"up": True, "facts": facts(), **values.pop("record", {})}
    usual: dict[str, Any] = {
        "cores": 4,
        "memory_mib": 4096,
        "reserved_memory_mib": 512,
        "used_cores": 0,
        "used_memory_mib": 0,
        "vms": 0,
    }
    return Host(
        config=HostConfig(name=name, address=name, **values.pop("config", {})),
        record=HostRecord(id=host_id, name=name, **record),
        **{**usual, **values},
    )


def image(name: str = "demo.qcow2", *hosts: str, **values: Any) -> Image:
    """An image that lies on some hosts."""
    usual: dict[str, Any] = {"format": "qcow2", "size_bytes": 5, "virtual_size_bytes": 1 << 20}
    return Image(name=name, hosts=hosts or ("node1", "node2"), **{**usual, **values})


def vm(vm_id: int = 1, **values: Any) -> Vm:
    """A VM that is being created, with its machine frozen."""
    spec = VmSpec(
        disks=(DiskSpec(index=0, name="demo.qcow2"),),
        nics=(NicSpec(index=0, network=1, mac="52:54:00:00:00:01"),),
    )
    uuid = f"7c1e0000-0000-4000-8000-{vm_id:012}"
    usual: dict[str, Any] = {
        "id": vm_id,
        "name": f"web{vm_id}",
        "uuid": uuid,
        "user": "dev",
        "created": "2026-03-01T12:00:00Z",
        "host": "node1",
        "spec": spec,
        "operation": OperationRef(id=17, kind=OperationKind.CREATE, started="2026-03-01T12:00:00Z"),
    }
    given = {**usual, **values}
    if values.pop("frozen", True):
        given["spec"] = machine.freeze(given["spec"], uuid=uuid, facts=facts(), settings=SETTINGS)
    given.pop("frozen", None)
    return Vm(**given)


def cluster(*hosts: Host, vms: tuple[Vm, ...] = (), **images: Image) -> Cluster:
    """A picture of these hosts with one image."""
    known = {i.name: i for i in images.values()} or {"demo.qcow2": image()}
    return Cluster(hosts=hosts, vms=vms, networks=(LAN, LAB), images=known)


def inventory(*hosts: Host, networks: tuple[Network, ...] = (LAN, LAB)) -> Inventory:
    """The inventory of these hosts."""
    return Inventory(hosts=tuple(h.config for h in hosts), networks=networks)
