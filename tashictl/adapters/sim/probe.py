"""What a simulated host answers to the read-only probes of `planning.facts` and the sweep."""

from __future__ import annotations

import re

from tashictl.adapters.sim import look
from tashictl.adapters.sim.host import SimHost
from tashictl.model.script import Script

_VALUE = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
_VIRTUAL_BYTES = 1 << 30


def answer(host: SimHost, script: Script) -> bytes:
    """The framed answer, all at once."""
    values = {name: value.strip("'") for name, value in _VALUE.findall(script.text)}
    if look.is_asked(script):
        return look.answer(host, script.nonce, values)
    parts = [_basics(host, values["L"], values["C"]), _qemu(host), _images(host, values["IMAGES"])]
    if "\nsay B kvm\n" in script.text:
        parts.append("B kvm\nabsent\n")
    parts += _vms(host, values["L"], values["RUN"], values["C"])
    return "".join(f"\n@{script.nonce} {part}" for part in [*parts, "Z\n"]).encode()


def _basics(host: SimHost, lib: str, cluster: str) -> str:
    lines = [
        f"time {host.time_s}",
        f"boot_id {host.boot_id}",
        "arch x86_64",
        "kernel 6.1.0",
        f"cores {host.cores}",
        f"memory_kib {host.memory_mib * 1024}",
        "bridge vmbr",
    ]
    claim = host.text(f"{lib}/cluster")
    head = host.text(f"{lib}/{cluster}/replica/head").strip()
    lines += [f"cluster {claim}"] if claim else []
    lines += [f"replica {head}"] if head else []
    return "B basics\n" + "\n".join(lines) + "\n"


def _qemu(host: SimHost) -> str:
    version = ".".join(host.qemu_version.split(".")[:2])
    return (
        f"B qemu\nbin /usr/bin/qemu-system-x86_64\nQEMU emulator version {host.qemu_version}\n"
        f"machine pc=pc-i440fx-{version}\nmachine pc-i440fx-{version}\n"
    )


def _images(host: SimHost, folder: str) -> str:
    lines = [
        f"{len(host.files[path].text)} 514649fb {_VIRTUAL_BYTES:016x} {path[len(folder) + 1 :]}"
        for path in host.below(folder)
        if not path.endswith(".part")
    ]
    return "B images\n" + "".join(f"{line}\n" for line in lines)


def _vms(host: SimHost, lib: str, run: str, cluster: str) -> list[str]:
    """One section for each VM that has a folder here."""
    homes = (f"{lib}/{cluster}/", f"{run}/{cluster}/")
    uuids = {f.rsplit("/", 1)[1] for f in host.folders if f.startswith(homes)}
    found = []
    for uuid in sorted(uuids):
        alive = host.is_locked(f"{run}/{cluster}/{uuid}/run.lock")
        lines = [f"B vm {uuid}", f"alive {int(alive)}"]
        process = host.qemu_of(uuid) if alive else None
        if process is not None:
            lines += [f"pid {process.pid}", f"start {100 * process.pid}"]
        for key, path in (("fence", f"fence/{uuid}"), ("manifest", f"{uuid}/manifest.json")):
            text = host.text(f"{lib}/{cluster}/{path}").strip()
            if text:
                lines.append(f"{key} {text}")
        found.append("\n".join(lines) + "\n")
    return found
