"""The outside eye: what of tashictl exists on a host, found without tashictl and without SSH."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.live.lab.host import Host


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU that runs on a host; `pid` as the host sees it, `outer_pid` as we do."""

    pid: int
    outer_pid: int
    uuid: str | None
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """QEMU processes, links named tashi*, and files below /var/lib/tashi and /run/tashi."""

    qemus: tuple[Qemu, ...]
    links: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Nothing of tashictl's is there."""
        return not (self.qemus or self.links or self.files)


def observe(host: Host) -> Observation:
    """What is there now; the host must be up. Folders are not counted as files."""
    names = host.run("ls /sys/class/net").stdout.split()
    links = tuple(sorted(name for name in names if name.startswith("tashi")))
    files: list[str] = []
    for top in ("/var/lib/tashi", "/run/tashi"):
        for folder, _, entries in os.walk(host.root / top.lstrip("/")):
            place = "/" + str(Path(folder).relative_to(host.root))
            files += [f"{place}/{entry}" for entry in entries]
    return Observation(qemus=qemus(host), links=links, files=tuple(sorted(files)))


def qemus(host: Host) -> tuple[Qemu, ...]:
    """The host's QEMU processes, known by their executable, whatever they call themselves."""
    found = []
    for pid in host.processes():
        entry = Path(f"/proc/{pid}")
        try:
            if not (entry / "exe").readlink().name.startswith("qemu-system"):
                continue
            argv = tuple((entry / "cmdline").read_text(errors="replace").split("\0")[:-1])
            inner = _inner_pid((entry / "status").read_text(encoding="utf-8"))
        except OSError:
            continue
        found.append(Qemu(pid=inner, outer_pid=pid, uuid=_after(argv, "-uuid"), argv=argv))
    return tuple(found)


def _inner_pid(status: str) -> int:
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(line.split()[-1])


def _after(argv: tuple[str, ...], option: str) -> str | None:
    return argv[argv.index(option) + 1] if option in argv[:-1] else None
