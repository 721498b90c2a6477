"""The sweep's probe on a lab host: QEMUs by hand as the start of a VM leaves them, and a look."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.sighting import Sighting, VmSample
from tashictl.planning import probe, probe_read
from tests.live.lab.host import Host

CLUSTER = "0123456789ab"
OTHER_CLUSTER = "ba9876543210"
NONCE = "00112233aabbccdd"
SHELLS = {"dash": "dash", "bash": "bash", "busybox": "busybox sh"}
SETTINGS = Settings(tashictl=TashictlSettings(cluster_id=CLUSTER))
LIB, RUN = f"/var/lib/tashi/{CLUSTER}", f"/run/tashi/{CLUSTER}"

# QEMU keeps descriptor 8, and with it the lock, as the launch file lets it.
_START = """exec 8>>{run}/run.lock; flock -n 8 || exit 1; umask 007; cd {run}
setsid {qemu} -machine none -S -nodefaults -display none -uuid {uuid} -name guest={name} \\
  -pidfile {run}/qemu.pid -monitor unix:{run}/m,server=on,wait=off </dev/null >/dev/null 2>&1 &
i=0; while ! [ -s {run}/qemu.pid ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done
cat {run}/qemu.pid"""


def uuid(number: int) -> str:
    """A uuid that no other test has: one that runs on this machine itself would end its QEMU."""
    return f"10c4ed00-0000-4000-8000-{number:012d}"


def mac(number: int, index: int = 0) -> str:
    """The MAC of a VM's interface."""
    return f"52:54:00:00:{number:02x}:{index:02x}"


def furnish(host: Host, number: int, *, cluster: str = CLUSTER, lib: bool = True) -> str:
    """The folders of a VM with its manifest and a disk; its uuid."""
    vm = uuid(number)
    run, folder = f"/run/tashi/{cluster}/{vm}", f"/var/lib/tashi/{cluster}/{vm}"
    host.run(f"mkdir -p {run}", check=True)
    if lib:
        host.run(f"mkdir -p {folder}; head -c 65536 /dev/urandom >{folder}/disk0.qcow2")
        manifest = {"schema": 1, "cluster": cluster, "id": number, "name": f"web{number}"}
        manifest |= {"uuid": vm, "generation": 3, "phase": "running"}
        manifest |= {"spec": {"nics": [{"index": i, "mac": mac(number, i)} for i in (0, 1)]}}
        text = json.dumps(manifest, separators=(",", ":"))
        (host.root / folder.lstrip("/") / "manifest.json").write_text(f"{text}\n")
    return vm


def start(
    host: Host, number: int, *, cluster: str = CLUSTER, qemu: str = "qemu-system-x86_64"
) -> int:
    """Folders and a QEMU that runs; its pid on the host."""
    vm = furnish(host, number, cluster=cluster)
    text = _START.format(run=f"/run/tashi/{cluster}/{vm}", uuid=vm, name=f"web{number}", qemu=qemu)
    return int(host.run(text, check=True).stdout)


def ask(**values: Any) -> probe.Ask:
    """What is asked."""
    return probe.Ask(**{"settings": SETTINGS, **values})


def output(host: Host, asked: probe.Ask | None = None, shell: str = "dash", user: str = "") -> str:
    """What the probe says on a host; it must end by itself, with nothing on stderr."""
    text = probe.script(asked or ask(), NONCE).text
    path = host.root / "tmp/probe.sh"
    path.write_text(text)
    path.chmod(0o644)
    command = f"{SHELLS[shell]} -s </tmp/probe.sh"
    done = host.run(f"su {user} -s /bin/sh -c '{command}'" if user else command)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def look(
    host: Host, asked: probe.Ask | None = None, shell: str = "dash", user: str = ""
) -> Sighting:
    """What the probe sees on a host."""
    out = output(host, asked, shell, user)
    seen = probe_read.read(out.encode(), NONCE, datetime.now(UTC))
    assert seen is not None, out
    return seen


def vm_of(seen: Sighting, number: int) -> VmSample:
    """One VM of a sighting."""
    return {vm.uuid: vm for vm in seen.vms}[uuid(number)]


def wait_until_free(host: Host, number: int) -> None:
    """Wait until nobody holds a VM's run.lock."""
    until = time.monotonic() + 10
    while host.run(f"flock -n -s {RUN}/{uuid(number)}/run.lock true").returncode != 0:
        assert time.monotonic() < until
        time.sleep(0.05)
