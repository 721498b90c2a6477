"""What a simulated host answers to the sweep's probe: `planning.probe` is the truth for the form.

Counters rise with virtual time and begin anew at a reboot or with a new process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tashictl.adapters.sim.host import Process, SimHost
from tashictl.model.script import Script

_ID = re.compile(r'"id": *([0-9]+)')
_GENERATION = re.compile(r'"generation": *([0-9]+)')
_PHASE = re.compile(r'"phase": *"([^"]*)"')
_MAC = re.compile(r'"mac": *"([^"]*)"')
_BLOCK = 4096
_DISK_BLOCKS = 1 << 24
_QEMU_MIB = 512
_UP_S = 60.0  # how long a host has been up when time begins


def is_asked(script: Script) -> bool:
    """Whether a script is the sweep's probe."""
    return "\nsay B look\n" in script.text


def answer(host: SimHost, nonce: str, values: Mapping[str, str]) -> bytes:
    """The framed answer, all at once; `values` are the variables that the script sets."""
    look = _Look(host, values)
    return "".join(f"\n@{nonce} {part}" for part in [*look.parts(), "Z\n"]).encode()


class _Look:
    """One look at a host; what lies on a file system that hangs is not looked at."""

    def __init__(self, host: SimHost, values: Mapping[str, str]) -> None:
        self.host = host
        self.values = values
        self.lib = f"{values['L']}/{values['C']}"
        self.run = f"{values['RUN']}/{values['C']}"
        self.known = values["KNOWN"].split()
        self.has_lib = "lib" not in host.stuck
        self.up_s = host.timeline.monotonic_s() - host.booted_s + _UP_S
        self.own: dict[str, Process | None] = {}

    def parts(self) -> list[str]:
        """The frames, each with its text."""
        look = [
            "B look",
            *self._kernel(),
            *self._nets(),
            *self._vms(),
            *self._foreign(),
            *self._near(),
            "end",
        ]
        parts = [["B mounts", *self._mounts()], ["B host", *self._host()], look]
        parts.append(["B files", *self._disks()])
        if "images" not in self.host.stuck:
            parts.append(["B print", *self._print()])
        parts += self._ended()
        parts.append(["B clock", str(self.host.time_s)])
        return ["\n".join(lines) + "\n" for lines in parts]

    def _mounts(self) -> list[str]:
        paths = {
            "lib": self.lib,
            "images": self.values["IMAGES"],
            "scratch": self.values["SCRATCH"],
        }
        free = 0 if self.host.full else _DISK_BLOCKS // 2
        lines = [f"path {role} {path}" for role, path in paths.items()]
        for role in paths:
            since = self.host.stuck.get(role)
            size = f"mount {role} {_BLOCK} {_DISK_BLOCKS} {free}"
            lines.append(size if since is None else f"stuck {role} {since}")
        return lines

    def _host(self) -> list[str]:
        lines = ["bridge vmbr"]
        for key, path in (
            ("cluster", f"{self.values['L']}/cluster"),
            ("replica", f"{self.lib}/replica/head"),
        ):
            first = self.host.text(path).split("\n")[0]
            if first and self.has_lib:
                lines.append(f"{key} {first}")
        return lines

    def _kernel(self) -> list[str]:
        host = self.host
        ticks = int(self.up_s * 100)
        used = _QEMU_MIB * len(host.processes)
        return [
            f"load {len(host.processes)}.00 0.50 0.25 1/100 999",
            f"up {self.up_s:.2f} {self.up_s:.2f}",
            f"boot_id {host.boot_id}",
            "kernel 6.1.0",
            f"ticks cpu  {ticks} 0 {ticks // 10} {3 * ticks} 0 0 0 0 0 0",
            f"cores {host.cores}",
            f"mem MemTotal: {host.memory_mib * 1024} kB",
            f"mem MemAvailable: {max(0, host.memory_mib - used) * 1024} kB",
            f"vm oom_kill {len(host.oom)}",
        ]

    def _nets(self) -> list[str]:
        packets = int(self.up_s * 10)
        counters = f"{packets * 1000} {packets} 0 0 {packets * 500} {packets} 0 0"
        taps = sorted(n for n in self.host.taps if n.startswith("tashi"))
        return [f"net eth0 {counters}", *(f"tap {name} {counters}" for name in taps)]

    def _vms(self) -> list[str]:
        host, lines = self.host, []
        homes = (f"{self.lib}/", f"{self.run}/") if self.has_lib else (f"{self.run}/",)
        found = {f.rsplit("/", 1)[1] for f in host.folders if f.startswith(homes)}
        for uuid in sorted(u for u in found if "-" in u):
            alive = host.is_locked(f"{self.run}/{uuid}/run.lock")
            process = host.qemu_of(uuid) if alive else None
            if alive:
                self.own[uuid] = process
            pid = process.pid if process is not None else "-"
            folder = int(f"{self.lib}/{uuid}" in host.folders) if self.has_lib else "-"
            in_run = int(f"{self.run}/{uuid}" in host.folders)
            lines.append(f"seen {uuid} {int(alive)} {pid} {folder} {in_run}")
            if process is not None:
                lines += self._process(process)
            lines += self._manifest(uuid) if self.has_lib else []
        return lines

    def _process(self, process: Process) -> list[str]:
        ticks = int(self.up_s * 20)
        memory = f"{_QEMU_MIB * 256} {_QEMU_MIB << 21}"
        return [
            f"stat {process.uuid} {100 * process.pid} S {ticks} 4 {memory}",
            f"io {process.uuid} read_bytes: {ticks * 4096}",
            f"io {process.uuid} write_bytes: {ticks * 8192}",
        ]

    def _manifest(self, uuid: str) -> list[str]:
        text = self.host.text(f"{self.lib}/{uuid}/manifest.json").strip()
        lines = []
        for key, pattern in (("id", _ID), ("generation", _GENERATION), ("phase", _PHASE)):
            match = pattern.search(text)
            if match is not None:
                lines.append(f"{key} {uuid} {match[1]}")
        if text and uuid not in self.known:
            lines.append(f"manifest {uuid} {text}")
        return lines

    def _near(self) -> list[str]:
        """The neighbours that a VM with a manifest here is."""
        if not self.has_lib:
            return []
        paths = [p for p in self.host.below(self.lib) if p.endswith("/manifest.json")]
        macs = {mac for path in paths for mac in _MAC.findall(self.host.text(path))}
        return [f"near {mac} {a}" for a, mac in self.host.neighbours.items() if mac in macs]

    def _foreign(self) -> list[str]:
        own = {p.pid for p in self.own.values() if p is not None}
        return [
            f"qemu {pid} {100 * pid} {process.uuid or '-'} "
            for pid, process in sorted(self.host.processes.items())
            if pid not in own
        ]

    def _disks(self) -> list[str]:
        if not self.has_lib:
            return []
        disk = re.compile(rf"{re.escape(self.lib)}/[^/]+-[^/]+/disk[0-9]+\.qcow2")
        return [f"{_BLOCK} 512 '{p}'" for p in self.host.below(self.lib) if disk.fullmatch(p)]

    def _print(self) -> list[str]:
        images = self.host.below(self.values["IMAGES"])
        return [f"qemu {self.host.qemu_version}", *(p for p in images if not p.endswith(".part"))]

    def _ended(self) -> list[list[str]]:
        parts = []
        for uuid in self.values["RUNNING"].split():
            if uuid in self.own:
                continue
            status = self.host.text(f"{self.run}/{uuid}/ended").strip()
            lines = [f"B ended {uuid}", *([f"exit {status}"] if status else [])]
            parts.append([*lines, *(["oom"] if uuid in self.host.oom else [])])
            for name in ("qemu", "console") if self.has_lib else ():
                log = self.host.text(f"{self.lib}/{uuid}/{name}.log")
                parts.append([f"B {name} {uuid}", log])
        return parts
