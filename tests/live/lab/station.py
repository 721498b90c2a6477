"""Who a booted host is: its name, its address, its network cards, and the files it starts with."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"


class Link(str):
    """Among a host's files: not a text, but where a symbolic link leads."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A network card: what QEMU's -netdev is told (without an id), and its MAC or QEMU's own."""

    netdev: str
    mac: str = ""

    def argv(self, number: int) -> list[str]:
        """The words for QEMU; the host sees it as eth<number>."""
        mac = f",mac={self.mac}" if self.mac else ""
        device = f"virtio-net-pci,netdev=n{number}{mac}"
        return ["-netdev", f"{self.netdev},id=n{number}", "-device", device]


@dataclass(frozen=True, slots=True)
class Station:
    """Where a host's sshd answers; `files` (path without the first / -> text) it has from birth.

    `files` are written once: what is changed later on the host is kept over reboots.
    """

    name: str
    address: str
    port: int
    cards: tuple[Card, ...]
    files: Mapping[str, str] = field(default_factory=dict)


def forwarded(
    name: str = "booted", *, more: tuple[Card, ...] = (), files: Mapping[str, str] | None = None
) -> Station:
    """A host whose eth0 is QEMU's own little network, its sshd a free port of 127.0.0.1.

    QEMU forwards to 10.0.2.15 only: a host that loses this address is out of reach. `more` cards
    are eth1 and so on.
    """
    port = _free_port()
    user = Card(f"user,restrict=on,hostfwd=tcp:{LOOPBACK}:{port}-:22")
    return Station(name, LOOPBACK, port, (user, *more), files or {})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
