"""Which package brings which program, by kind of system; and what a failed installation means."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.planning.setup_look import QEMU, Seen

APT, DNF = "apt-get", "dnf"
_DEBIAN = ("debian", "ubuntu")
_RED_HAT = ("fedora", "rhel", "centos")

# By program: the package of Debian, and that of Fedora and its kin.
_PACKAGES = {
    "qemu-img": ("qemu-utils", "qemu-img"),
    "ip": ("iproute2", "iproute"),
    "bridge": ("iproute2", "iproute"),
    "brctl": ("bridge-utils", "bridge-utils"),
    "vconfig": ("vlan", "vconfig"),
    "ifconfig": ("net-tools", "net-tools"),
    "ifup": ("ifupdown", "ifupdown"),
    "flock": ("util-linux", "util-linux"),
    "setsid": ("util-linux", "util-linux"),
    "setpriv": ("util-linux", "util-linux"),
    "awk": ("mawk", "gawk"),
    "grep": ("grep", "grep"),
    "sed": ("sed", "sed"),
    "useradd": ("passwd", "shadow-utils"),
    "visudo": ("sudo", "sudo"),
    "sudo": ("sudo", "sudo"),
    "modprobe": ("kmod", "kmod"),
    "socat": ("socat", "socat"),
}
_COREUTILS = ("coreutils", "coreutils")
_QEMU_OF = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}

_REMEDIES = (
    ("lock", "another package manager works there: wait until it is done, then the same again"),
    (
        "unable to locate package",
        "look at the package sources in /etc/apt/sources.list of the host",
    ),
    ("no installation candidate", "look at the package sources in /etc/apt of the host"),
    ("unable to find a match", "look at the package sources in /etc/yum.repos.d of the host"),
    ("no match for argument", "look at the package sources in /etc/yum.repos.d of the host"),
    ("resolv", "the host does not reach its package servers: look at its DNS and its gateway"),
    ("failed to fetch", "the host does not reach its package servers: look at its network"),
    ("cannot download", "the host does not reach its package servers: look at its network"),
    ("no space left", "make room on the host: df -h"),
    ("not done within", "give it more time with --timeout, or look at what hangs there"),
)


def manager_of(seen: Seen) -> str | None:
    """The package manager of a host, None where it is none that we know."""
    for manager, systems in ((APT, _DEBIAN), (DNF, _RED_HAT)):
        if manager in seen.managers and set(systems) & set(seen.os_ids):
            return manager
    return None


def names(tools: Iterable[str], manager: str, arch: str) -> tuple[str, ...]:
    """The packages that bring `tools`, each once, in the order of the alphabet."""
    return tuple(sorted({_name(tool, manager, arch) for tool in tools}))


def _name(tool: str, manager: str, arch: str) -> str:
    if tool == QEMU:
        return "qemu-kvm" if manager == DNF else _QEMU_OF.get(arch, "qemu-system")
    return _PACKAGES.get(tool, _COREUTILS)[manager == DNF]


def remedy(message: str) -> str:
    """What to do about an installation that ended with `message`."""
    lower = message.lower()
    first = next((hint for word, hint in _REMEDIES if word in lower), "")
    by_hand = "or install them by hand and give --no-packages"
    return f"{first}\n{by_hand}" if first else f"look at it on the host, {by_hand}"
