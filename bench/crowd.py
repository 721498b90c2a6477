"""A cluster of a thousand VMs, as `init` and the store's own transactions make it; no host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench import timing
from tashictl.adapters.clock import SystemClock
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.tiny import TinyStore
from tashictl.model.host import HostRecord
from tashictl.model.vm import DiskSpec, Machine, NicSpec, Observed, Seen, Vm, VmSpec

VMS = 1000
HOSTS = 20
_AT = "2026-01-01T00:00:00Z"
_DEVICES: tuple[dict[str, str | int | bool], ...] = (
    {"driver": "virtio-blk-pci", "id": "disk0", "addr": "0x4", "drive": "d0", "bootindex": 0},
    {"driver": "virtio-net-pci", "id": "nic0", "addr": "0x5", "netdev": "n0"},
    {"driver": "virtio-rng-pci", "id": "rng0", "addr": "0x6", "rng": "r0"},
    {"driver": "virtio-balloon-pci", "id": "balloon0", "addr": "0x7"},
)


def tashictl() -> str:
    """The command installed beside this Python; raises RuntimeError when there is none."""
    path = Path(sys.executable).parent / "tashictl"
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no {path}: pip install -e .")
    return str(path)


def environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of the caller's plays a part."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}


def cluster(folder: Path, vms: int = VMS) -> Path:
    """Make a cluster directory below `folder` with that many running VMs on 20 hosts."""
    made = folder / "cluster"
    timing.run([tashictl(), "init", str(made)], environment(folder))
    with store(made).transaction() as tx:
        for number in range(1, HOSTS + 1):
            tx.put_host(HostRecord(id=number, name=f"h{number}", up=True, last_contact=_AT))
        for _ in range(vms):
            tx.put_vm(vm(tx.next_vm_id()))
    return made


def store(made: Path) -> TinyStore:
    """The store of a cluster directory."""
    state, clock = f"{made}/state", SystemClock()
    return TinyStore(state, FileLocks(f"{state}/locks", clock, "bench", timeout_s=30), clock)


def vm(vm_id: int) -> Vm:
    """A running VM with a disk, an interface, hints and a frozen machine: some 1.2 kB of JSON."""
    tail = f"{vm_id >> 8:02x}:{vm_id & 255:02x}"
    return Vm(
        id=vm_id,
        name=f"web{vm_id}",
        uuid=f"{vm_id:08x}-1111-4111-8111-111111111111",
        user=f"user{vm_id % 7}",
        spec=VmSpec(
            cores=1 + vm_id % 4,
            memory_mib=512 << vm_id % 4,
            disks=(DiskSpec(index=0, name="debian12.qcow2"),),
            nics=(NicSpec(index=0, network=1, mac=f"52:54:00:00:{tail}", ip=f"10.0.0.{vm_id}"),),
            hints={"layoutPolicy": "spread", "rack": f"r{vm_id % 5}"},
            machine=Machine(type="pc-q35-7.2", cpu="qemu64", devices=_DEVICES),
        ),
        observed=Observed(what=Seen.RUNNING, at=_AT, boot_id=f"{vm_id:036x}", generation=1),
        host=f"h{vm_id % HOSTS + 1}",
        created=_AT,
        started=_AT,
        pid=1000 + vm_id,
    )
