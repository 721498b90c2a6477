"""What a host must have, by the networks that it offers, and which Debian packages bring it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tashictl.model.host import HostConfig, HostFacts
from tashictl.model.network import Network
from tashictl.planning.ports import USER

KVM_REMEDY = "kvm: no permission, add the user to group kvm"
_PACKAGES = {
    "qemu": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "flock": "util-linux",
    "setsid": "util-linux",
    "awk": "mawk",
    "grep": "grep",
    "sed": "sed",
}
_KVM = {
    "forbidden": "/dev/kvm is there, the login may not use it",
    "hangs": "KVM hangs",
    "refused": "KVM cannot show the CPU model",
}


def networks_of(host: HostConfig, networks: Iterable[Network]) -> list[Network]:
    """The networks that a host offers: all, or those that the inventory names for it."""
    if host.networks is None:
        return list(networks)
    return [n for n in networks if {n.name, str(n.id)} & set(host.networks)]


def missing(facts: HostFacts, networks: Sequence[Network]) -> tuple[str, ...]:
    """The tools that a host lacks; `ip` is none where QEMU itself makes every network."""
    bridged = not networks or any(n.mode != USER for n in networks)
    return tuple(tool for tool in facts.missing if tool != "ip" or bridged)


def apt_line(tools: Iterable[str]) -> str:
    """The command that brings these tools on Debian, empty for none; ``qemu`` is the emulator."""
    packages = dict.fromkeys(_PACKAGES.get(tool, "coreutils") for tool in tools)
    return f"apt-get install {' '.join(packages)}" if packages else ""


def accel(facts: HostFacts) -> str:
    """How guests run, and where KVM is there and of no use why."""
    why = _KVM.get(facts.kvm)
    return f"{facts.accel} ({why})" if why else facts.accel
