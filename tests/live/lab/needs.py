"""What the machine must have before a lab can stand on it, and what of it is missing."""

import os
import subprocess
import sys
from pathlib import Path

from tashictl.adapters.demo import parts

PACKAGES_FILE = Path(__file__).parent / "packages.txt"

GUEST_TOOLS = parts.TOOLS
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
NAME_TOOLS = {
    "named": "bind9",
    "tsig-keygen": "bind9",
    "dig": "bind9-dnsutils",
    "nsupdate": "bind9-dnsutils",
    "dhcpd": "isc-dhcp-server",
    "omshell": "isc-dhcp-server",
    "dnsmasq": "dnsmasq-base",
    "socat": "socat",
}
BUSYBOX = parts.BUSYBOX


class MissingPartError(Exception):
    """The machine lacks parts; the message names all of them and how to get them."""


def packages() -> tuple[str, ...]:
    """Debian packages that the lab needs."""
    lines = PACKAGES_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def missing_for_guest() -> list[tuple[str, str]]:
    """Pairs (part, Debian package) that the build of the guest image lacks."""
    return parts.missing()


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


def missing_for_names() -> list[tuple[str, str]]:
    """Pairs (part, Debian package) that servers of names and addresses lack."""
    return _missing_tools(NAME_TOOLS)


def explain(lacking: list[tuple[str, str]]) -> str:
    """One sentence with all missing parts, and the command that brings those from packages."""
    said = "the lab lacks " + ", ".join(part for part, _ in lacking)
    wanted = sorted({package for _, package in lacking if package})
    return f"{said}; try: apt-get install {' '.join(wanted)}" if wanted else said


def require(lacking: list[tuple[str, str]]) -> None:
    """Raises MissingPartError unless nothing is lacking."""
    if lacking:
        raise MissingPartError(explain(lacking))


def _missing_tools(tools: dict[str, str]) -> list[tuple[str, str]]:
    return [(tool, package) for tool, package in tools.items() if parts.which(tool) is None]


def _missing_busybox() -> list[tuple[str, str]]:
    return [] if BUSYBOX.exists() else [(f"{BUSYBOX}", "busybox-static")]


def _namespaces_allowed() -> bool:
    script = (
        "mount -t tmpfs lab /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w lab /mnt/r"
    )
    argv = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
