"""A cluster of hosts with ten running VMs each, and what each host answers to the sweep's probe.

The answer is the one that a probe gave in `bench.probe_host`, with the ids and uuids of this host's
own VMs, its own boot id, and the clock of the moment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench import crowd, probe_host, timing
from bench.probe_host import NONCE, Measured
from tashictl.adapters import cluster_folder
from tashictl.model.host import HostConfig, HostFacts, HostRecord
from tashictl.model.settings import Settings
from tashictl.model.sighting import Sighting
from tashictl.model.vm import Vm
from tashictl.planning import machine, probe_read, replica

CLUSTER = "0123456789ab"
MARK = "B busy"  # a word of the probe that no other script has
_AT = "2026-01-01T00:00:00Z"
_SETTINGS = Settings()
_FACTS = HostFacts(
    at=_AT,
    boot_id="",
    arch="x86_64",
    cores=32,
    memory_mib=128 << 10,
    accel="kvm",
    qemu_bin="/usr/bin/qemu-system-x86_64",
    qemu_version="7.2.22",
    machine_types=("pc=pc-i440fx-7.2", "q35=pc-q35-7.2"),
    claimed_by=CLUSTER,
    claimed_epoch=1,
    booted=_AT,
)
_CLOCK = re.compile(rb"( B clock\n)\d+")
_BOOT = re.compile(rb"(?m)^boot_id \S+")


def make(folder: Path, hosts: Iterable[HostConfig], known_hosts: str, measured: Measured) -> Path:
    """A cluster directory below `folder` whose hosts are those, with ten running VMs on each."""
    made = folder / "cluster"
    paths = probe_host.settings_of(folder / "host", CLUSTER)
    config = (
        f"[Tashictl]\nclusterId = {CLUSTER}\nlibDir = {paths.tashictl.lib_dir}\n"
        f"runDir = {paths.tashictl.run_dir}\n[Vfs]\nprefix = {paths.vfs_prefix}\n"
    )
    cluster_folder.lay_out(str(made), CLUSTER, config)
    listed = {
        host.name: {
            "address": host.address,
            "port": host.port,
            "user": host.user,
            "identity_file": host.identity_file,
        }
        for host in hosts
    }
    (made / "inventory" / "hosts.yaml").write_bytes(msgspec.json.encode({"hosts": listed}))
    trusted = made / "state" / "known_hosts"
    trusted.write_text(known_hosts)
    trusted.chmod(0o600)
    seen = _sighting(measured)
    with crowd.store(made).transaction() as tx:
        records = [_record(number, name, seen) for number, name in enumerate(listed, 1)]
        vms = [vm for number, name in enumerate(listed) for vm in vms_of(number, name)]
        tx.put_all(vms, records)
    return made


def vms_of(number: int, name: str) -> Iterator[Vm]:
    """The VMs of the host of that index (from 0) and name, as the database knows them."""
    for vm_id in range(number * probe_host.VMS + 1, (number + 1) * probe_host.VMS + 1):
        vm = replace(crowd.vm(vm_id), host=name)
        bare = replace(vm.spec, machine=None, hints={})
        spec = machine.freeze(bare, uuid=vm.uuid, facts=_FACTS, settings=_SETTINGS)
        yield replace(vm, spec=spec)


def digest(made: Path) -> str:
    """Of the replica that lies on every host, so that no round has to bring one."""
    return replica.digest(crowd.store(made).read())


def answer(number: int, name: str, measured: Measured, kept: str) -> bytes:
    """What that host answers; ``@NONCE@`` and ``@NOW@`` are to be replaced.

    `kept` is the digest of the replica that lies there.
    """
    text = measured.answer.replace(NONCE.encode(), b"@NONCE@")
    text = _CLOCK.sub(rb"\1@NOW@", text)
    text = _BOOT.sub(f"boot_id {boot_id(number)}".encode(), text)
    text = text.replace(b"\ncluster ", f"\nreplica 1 1 {kept}\ncluster ".encode(), 1)
    for template, vm in zip(probe_host.vms(), vms_of(number, name), strict=True):
        text = text.replace(template.uuid.encode(), vm.uuid.encode())
        text = text.replace(str(template.id).encode(), str(vm.id).encode())
    return text


def boot_id(number: int) -> str:
    """The boot id of the host of that index."""
    return f"{number:08x}-b007-4111-8111-111111111111"


def _sighting(measured: Measured) -> Sighting:
    seen = probe_read.read(measured.answer, NONCE, datetime.now(UTC))
    assert seen is not None
    return seen


def _record(number: int, name: str, seen: Sighting) -> HostRecord:
    facts = replace(_FACTS, boot_id=boot_id(number - 1), kernel=seen.kernel)
    return HostRecord(
        id=number, name=name, up=True, last_contact=_AT, facts=facts, fingerprint=seen.fingerprint
    )


def argv(cluster: Path, *words: str) -> list[str]:
    """A command line of this checkout's tashictl."""
    code = timing.TELL_PEAK + "import sys; from tashictl.cli.entry import run; sys.exit(run())"
    return [sys.executable, "-c", code, "--cluster", str(cluster), *words]


def environment(home: Path) -> dict[str, str]:
    """An environment in which this checkout's code runs, whatever is installed."""
    return {**crowd.environment(home), "PYTHONPATH": str(timing.PROJECT)}
