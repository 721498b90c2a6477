"""What lies on the simulated hosts: settings, what is furnished, and how to find it again."""

from __future__ import annotations

import os
from pathlib import Path

from tashictl.adapters.sim.host import File, SimHost
from tashictl.model.network import Network
from tashictl.model.settings import (
    DhcpSettings,
    DnsSettings,
    QemuSettings,
    Server,
    Settings,
    TashictlSettings,
)

CLUSTER = "0123456789ab"
FOREIGN = "deadbeef0000"
TEMPLATE = Path(__file__).parents[2] / "templates" / "qemu-ifup.j2"
SETTINGS = Settings(
    tashictl=TashictlSettings(cluster_id=CLUSTER, backups=2, parallel=1, per_host=1),
    qemu=QemuSettings(accel="tcg"),
    dns=DnsSettings(server=Server(host="192.0.2.53", port=53), domain="sim.test"),
    dhcp=DhcpSettings(server=Server(host="192.0.2.67", port=7911)),
)
NETWORKS = (
    Network(id=1, name="lan", bridge="vmbr", default=True),
    Network(id=2, name="user", mode="user"),
    Network(id=3, name="named", bridge="vmbr3", range="10.3.0.1-10.3.0.250", dhcp="isc-omapi"),
)
CONTRACT = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 130})
NAME = "web"
USER_DATA = b"#cloud-config\npassword: kept-to-ourselves\n"
IMAGE = "new/image.raw"
IMPORTED = "all that is in it " * 20


def scratch_root() -> str | None:
    """Memory where there is some: a run makes thousands of small files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def furnish(host: SimHost) -> None:
    """Images, and things that are none of ours."""
    images = SETTINGS.image_folder
    host.folders.add(images)
    host.files[f"{images}/base.qcow2"] = File("base")
    host.files[f"{images}/data.qcow2"] = File("data")
    foreign = f"{SETTINGS.tashictl.lib_dir}/{FOREIGN}/11111111-2222-4333-8444-555555555555"
    host.folders.add(foreign)
    host.files[f"{foreign}/manifest.json"] = File('{"uuid":"11111111-2222-4333-8444-555555555555"}')
    host.files[f"{foreign}/disk0.qcow2"] = File("theirs")
    host.files["/etc/qemu-ifup.9"] = File("#!/bin/sh\n# the operator's own\n")
    host.taps |= {"tap0": "foreign", "tashi900.0": "foreign"}
    process = host.spawn(f"foreign-{host.name}", None)
    process.foreign = True


def foreign_things(host: SimHost) -> dict[str, object]:
    """All that must stay as it was furnished."""
    return {
        **{
            p: f.text
            for p, f in host.files.items()
            if FOREIGN in p or p.endswith((".9", "/base.qcow2", "/data.qcow2"))
        },
        **{n: i for n, i in host.taps.items() if i == "foreign"},
        **{str(p.pid): p.uuid for p in host.processes.values() if p.foreign},
        "folders": sorted(f for f in host.folders if FOREIGN in f),
    }


def traces_on(host: SimHost, uuid: str, vm_id: int) -> list[str]:
    """What there is of a VM on a host, fence records left out."""
    found = [p for p in host.files if f"/{uuid}/" in p]
    found += [f"{f}/" for f in host.folders if f.endswith(f"/{uuid}")]
    found += [t for t in host.taps if t.startswith(f"tashi{vm_id}.")]
    found += [f"QEMU {p.pid}" for p in host.processes.values() if p.uuid == uuid]
    return found
