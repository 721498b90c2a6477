"""Scenes for what a sweep decides: node1 to node3, each with a VM of its own, all well."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from tashictl.model.host import HostRecord
from tashictl.model.settings import ClusterSettings, Settings, TashictlSettings
from tashictl.model.sighting import HostSample, Sighting, VmSample
from tashictl.model.state import Meta, State
from tashictl.model.vm import Observed, Seen, Vm, Wanted
from tashictl.planning import manifest
from tashictl.planning.verdict import Scene
from tests.planning import cases

CLUSTER = "0123456789ab"
THEN, NOW = "2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"
HOSTS = ("node1", "node2", "node3")


def vm(number: int, **values: Any) -> Vm:
    """A VM at rest that runs on the host of its number."""
    usual: dict[str, Any] = {
        "id": number,
        "name": f"web{number}",
        "uuid": f"7c1e0000-0000-4000-8000-{number:012x}",
        "host": HOSTS[(number - 1) % len(HOSTS)],
        "operation": None,
        "pid": 100 + number,
        "wanted": Wanted.RUNNING,
        "observed": Observed(what=Seen.RUNNING, at=THEN, boot_id="b-1", generation=1),
        "reason": None,
    }
    return replace(cases.vm(), **{**usual, **values})


def record(name: str, **values: Any) -> HostRecord:
    """A host that was up."""
    usual: dict[str, Any] = {
        "id": HOSTS.index(name) + 1,
        "name": name,
        "up": True,
        "last_contact": THEN,
        "facts": replace(cases.facts(), at=THEN, boot_id="b-1", booted="2026-02-01T00:00:00Z"),
    }
    return HostRecord(**{**usual, **values})


def settings(policy: str = "hold") -> Settings:
    """Ours, with what a reboot brings."""
    return Settings(
        tashictl=TashictlSettings(cluster_id=CLUSTER),
        cluster=ClusterSettings(on_host_reboot=policy),
    )


def sample(one: Vm, alive: bool = True, **values: Any) -> VmSample:
    """How a host sees a VM."""
    usual: dict[str, Any] = {
        "uuid": one.uuid,
        "alive": alive,
        "generation": 1,
        "phase": "running",
        "pid": one.pid if alive else None,
        "starttime": 5 if alive else None,
        "process_state": "S" if alive else None,
        "cpu_ticks": 70 if alive else None,
    }
    return VmSample(**{**usual, **values})


def host_sample(**values: Any) -> HostSample:
    """A host at rest."""
    usual: dict[str, Any] = {
        "uptime_s": 86400.0,
        "cores": 4,
        "load_1": 0.1,
        "load_5": 0.1,
        "load_15": 0.1,
        "cpu_busy_ticks": 10,
        "cpu_total_ticks": 100,
        "memory_mib": 4096,
        "memory_available_mib": 2048,
    }
    return HostSample(**{**usual, **values})


def sighting(*vms: VmSample, **values: Any) -> Sighting:
    """A look at a host that is ours and was not rebooted."""
    usual: dict[str, Any] = {
        "at": NOW,
        "boot_id": "b-1",
        "kernel": "6.1.0",
        "claim": (CLUSTER, 1, 3),
        "host": host_sample(),
        "vms": vms,
    }
    return Sighting(**{**usual, **values})


def manifest_of(one: Vm, **values: Any) -> dict[str, object]:
    """The manifest that lies beside a VM's disks."""
    text = manifest.text(one, CLUSTER, "running", 3)
    return {**msgspec.json.decode(text, type=dict[str, object]), **values}


def scene(
    vms: list[Vm], sightings: dict[str, Sighting], lost: dict[str, str] | None = None, **values: Any
) -> Scene:
    """A round over all hosts; a host that is in neither is one that sees its VMs alive."""
    away = lost or {}
    by_id = {one.id: one for one in vms}
    seen = {
        name: sightings.get(name, sighting(*(sample(one) for one in vms if one.host == name)))
        for name in HOSTS
        if name not in away
    }
    state = State(
        meta=Meta(cluster=CLUSTER, last_vm_id=50, last_operation_id=3, last_host_id=3),
        vms=by_id,
        hosts={name: record(name) for name in HOSTS},
    )
    usual: dict[str, Any] = {
        "state": state,
        "known": by_id,
        "asked": HOSTS,
        "sightings": seen,
        "lost": away,
        "settings": settings(),
        "now": NOW,
    }
    return Scene(**{**usual, **values})
