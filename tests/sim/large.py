"""A large cluster, made at once: hosts that run VMs as if each had been created there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from tashictl.adapters.sim.host import File, SimHost
from tashictl.model.host import HostRecord
from tashictl.model.state import State
from tashictl.model.vm import Seen, Vm
from tashictl.planning import manifest, paths
from tests.sim.doubles import MemoryStore
from tests.sim.harness import Cluster, a_cluster
from tests.sim.things import CLUSTER, SETTINGS

LIB = f"{SETTINGS.tashictl.lib_dir}/{CLUSTER}"
RUN = f"{SETTINGS.tashictl.run_dir}/{CLUSTER}"
CLAIM = f"{SETTINGS.tashictl.lib_dir}/cluster"
ASKED = {"disks": ("base.qcow2",), "nics": ("1",)}
_LAST = 2  # operations: one added the host, one created the VM that all others are like


class Size(Struct, frozen=True):
    """How large a simulation is; `every_s` lie between two sweeps, `rounds` make a storm."""

    hosts: int
    vms_per_host: int = 10
    storms: int = 4
    rounds: int = 8
    every_s: float = 900.0
    sick: float = 0.02
    talk_every_s: float = 0.0  # to each QEMU; 0 is never


@contextmanager
def a_large_cluster(seed: int, size: Size) -> Iterator[Cluster]:
    """Hosts that each run the same number of VMs, all well, recorded in memory."""
    with a_cluster(seed, hosts=1) as small:
        assert small.controller().create("model", **ASKED) == "ok"
        model = small.state()
        cluster = Cluster(small.folder.rpartition("/")[0], seed, size.hosts)
        state = _peopled(cluster, size, model)
        cluster.store_of = MemoryStore(state).under
        yield cluster


def _peopled(cluster: Cluster, size: Size, model: State) -> State:
    (like,) = model.hosts.values()
    (one,) = model.vms.values()
    vms: dict[int, Vm] = {}
    hosts: dict[str, HostRecord] = {}
    numbers = itertools.count(1)
    for place, host in enumerate(cluster.hosts, 1):
        host.cores, host.memory_mib = 2 * size.vms_per_host, 1024 * size.vms_per_host
        assert like.facts is not None
        facts = replace(
            like.facts, boot_id=host.boot_id, cores=host.cores, memory_mib=host.memory_mib
        )
        hosts[host.name] = replace(
            like, id=place, name=host.name, facts=facts, seen_operation=_LAST
        )
        for number in itertools.islice(numbers, size.vms_per_host):
            vms[number] = _placed(cluster, host, one, number)
        host.files[CLAIM] = File(f"{CLUSTER} 1 {_LAST} x dev@ws\n")
        host.files["/etc/qemu-ifup.1"] = File("#!/bin/sh\n# rendered by tashictl\n")
    cluster.commits.seen_ids.update({vm.id: vm.uuid for vm in vms.values()})
    assert model.meta.last_operation_id == _LAST
    meta = replace(model.meta, last_vm_id=len(vms), last_host_id=len(hosts))
    return State(meta=meta, vms=vms, hosts=hosts)


def _placed(cluster: Cluster, host: SimHost, like: Vm, number: int) -> Vm:
    """Let a VM run on a host as if it had been created there."""
    uuid = cluster.dice.uuid()
    vm = replace(like, id=number, name=f"vm{number}", uuid=uuid, host=host.name)
    text = manifest.text(vm, CLUSTER, "running", _LAST)
    lock = File()
    process = host.spawn(uuid, lock)
    host.folders |= {f"{LIB}/{uuid}", f"{RUN}/{uuid}"}
    started = f'{{"pid":{process.pid},"starttime":{100 * process.pid},"boot_id":"{host.boot_id}"}}'
    lasting = {
        "manifest.json": f'{text[:-1]},"started":{started}}}',
        "disk0.qcow2": "overlay",
        "qemu.log": "",
    }
    host.files |= {f"{LIB}/{uuid}/{name}": File(text) for name, text in lasting.items()}
    host.files[f"{LIB}/fence/{uuid}"] = File(f"1 {_LAST} 1 0 WriteManifest rc 0\n")
    host.files[f"{RUN}/{uuid}/run.lock"] = lock
    host.open_sockets(process, f"{RUN}/{uuid}")
    host.taps |= dict.fromkeys(paths.taps(vm), "/etc/qemu-ifup.1")
    observed = replace(vm.observed, what=Seen.RUNNING, boot_id=host.boot_id)
    return replace(vm, observed=observed, pid=process.pid)
