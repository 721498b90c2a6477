"""What the machine must have before a lab can stand on it, and what of it is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES_FILE = Path(__file__).parent / "packages.txt"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

GUEST_TOOLS = {
    "mkfs.vfat": "dosfstools",
    "modprobe": "kmod",
    "mcopy": "mtools",
    "qemu-img": "qemu-utils",
    "syslinux": "syslinux",
}
HOST_TOOLS = {
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "sudo": "sudo",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
BUSYBOX = Path("/bin/busybox")
MBR_CODE = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"))


class MissingPartError(Exception):
    """The machine lacks parts; the message names all of them and how to get them."""


def which(tool: str) -> str | None:
    """Path of a tool, looked for in PATH and in the system's sbin folders."""
    return shutil.which(tool) or shutil.which(tool, path=SBIN)


def packages() -> tuple[str, ...]:
    """Debian packages that the lab needs."""
    lines = PACKAGES_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def kernel_version(modules: Path = Path("/lib/modules"), boot: Path = Path("/boot")) -> str | None:
    """Newest kernel that has both modules and a readable image; a Debian cloud kernel first."""
    if not modules.is_dir():
        return None
    found = [entry.name for entry in modules.iterdir() if (boot / f"vmlinuz-{entry.name}").exists()]
    return max(found, key=lambda name: ("cloud" in name, _numbers(name)), default=None)


def missing_for_guest() -> list[tuple[str, str]]:
    """Pairs (part, Debian package) that the build of the guest image lacks."""
    lacking = _missing_tools(GUEST_TOOLS) + _missing_busybox()
    if not any(path.exists() for path in MBR_CODE):
        lacking.append((f"{MBR_CODE[0]}", "syslinux"))
    if kernel_version() is None:
        lacking.append(("a kernel with its modules", "linux-image-cloud-amd64"))
    return lacking


def missing_for_hosts() -> list[tuple[str, str]]:
    """Pairs (part, Debian package or empty) that raising hosts lacks."""
    if not sys.platform.startswith("linux"):
        return [(f"Linux (this is {sys.platform})", "")]
    lacking = _missing_tools(HOST_TOOLS) + _missing_busybox()
    if os.geteuid() != 0:
        return [("root", ""), *lacking]
    if not Path("/dev/net/tun").exists():
        lacking.append(("/dev/net/tun", ""))
    if not lacking and not _namespaces_allowed():
        lacking.append(("the right to make namespaces and mount overlays in them", ""))
    return lacking


def explain(lacking: list[tuple[str, str]]) -> str:
    """One sentence with all missing parts, and the command that brings those from packages."""
    parts = "the lab lacks " + ", ".join(part for part, _ in lacking)
    wanted = sorted({package for _, package in lacking if package})
    return f"{parts}; try: apt-get install {' '.join(wanted)}" if wanted else parts


def require(lacking: list[tuple[str, str]]) -> None:
    """Raises MissingPartError unless nothing is lacking."""
    if lacking:
        raise MissingPartError(explain(lacking))


def _missing_tools(tools: dict[str, str]) -> list[tuple[str, str]]:
    return [(tool, package) for tool, package in tools.items() if which(tool) is None]


def _missing_busybox() -> list[tuple[str, str]]:
    return [] if BUSYBOX.exists() else [(f"{BUSYBOX}", "busybox-static")]


def _namespaces_allowed() -> bool:
    script = (
        "mount -t tmpfs lab /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w lab /mnt/r"
    )
    argv = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0


def _numbers(version: str) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in version)
    return tuple(int(part) for part in digits.split())
