"""What the build of the demo image takes from this machine, and what of it is missing."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tashictl.errors import InvalidRequest

SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
TOOLS = {
    "dropbear": "dropbear-bin",
    "dropbearkey": "dropbear-bin",
    "mkfs.vfat": "dosfstools",
    "modprobe": "kmod",
    "mcopy": "mtools",
    "qemu-img": "qemu-utils",
    "syslinux": "syslinux",
}
BUSYBOX = Path("/bin/busybox")
MBR_CODE = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"))
KERNEL_PACKAGE = "linux-image-cloud-amd64"

Part = tuple[str, str]


def which(tool: str) -> str | None:
    """Path of a tool, looked for in PATH and in the system's sbin folders."""
    return shutil.which(tool) or shutil.which(tool, path=SBIN)


def kernel_version(modules: Path = Path("/lib/modules"), boot: Path = Path("/boot")) -> str | None:
    """Newest kernel that has both modules and a readable image; a Debian cloud kernel first."""
    if not modules.is_dir():
        return None
    found = [e.name for e in modules.iterdir() if os.access(boot / f"vmlinuz-{e.name}", os.R_OK)]
    return max(found, key=lambda name: ("cloud" in name, _numbers(name)), default=None)


def mbr_code() -> Path | None:
    """The boot code of the MBR that syslinux brings, if it is there."""
    return next((path for path in MBR_CODE if path.exists()), None)


def missing() -> list[Part]:
    """Pairs (part, Debian package) that the build lacks."""
    lacking = [(tool, package) for tool, package in TOOLS.items() if which(tool) is None]
    if not BUSYBOX.exists():
        lacking.append((f"{BUSYBOX}", "busybox-static"))
    if mbr_code() is None:
        lacking.append((f"{MBR_CODE[0]}", "syslinux-common"))
    if kernel_version() is None:
        lacking.append(("a kernel that can be read, with its modules", KERNEL_PACKAGE))
    return lacking


def refuse(lacking: list[Part]) -> None:
    """Raise InvalidRequest, with every part and the one line that brings them, if any lacks."""
    if not lacking:
        return
    packages = " ".join(sorted({package for _, package in lacking}))
    raise InvalidRequest(
        "E-DEMO",
        "the demo image cannot be built here",
        cause="missing: " + ", ".join(part for part, _ in lacking),
        hint=f"apt-get install --no-install-recommends {packages}",
    )


def libraries(listing: str) -> tuple[str, ...]:
    """Paths of the shared libraries, and of their loader, in what `ldd` printed.

    Raises ValueError with the line of one that was not found.
    """
    found = []
    for line in listing.splitlines():
        if "not found" in line:
            raise ValueError(line.strip())
        if match := re.search(r"(?:=>|^)\s*(/\S+) \(0x", line):
            found.append(match.group(1))
    return tuple(found)


def _numbers(version: str) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in version)
    return tuple(int(part) for part in digits.split())
