"""A guest as the network sees it, without QEMU: a card with a MAC, a DHCP client, dig.

    with Client(On(host), "vmbr", "02:00:00:00:00:07") as guest:    # or Client(space, "lan", …)
        lease = guest.lease()                   # None: nobody has an address for it
        lease.address, lease.prefix, lease.hostname, lease.domain
        lease.routers, lease.dns, lease.mtu, lease.lease_s, lease.server
        guest.dig("vm1.cloud.test")             # asks lease.dns[0]: ("172.16.7.7",)
        guest.dig_x(lease.address)              # ("vm1.cloud.test.",)
        guest.run("ping -c 1 172.16.0.1", check=True)

The client is busybox's udhcpc; what it gets is put on the card, and the first router is the way
out. Each `lease` begins anew; with `wish` it asks for an address, as after a reboot. A host that
was rebooted has lost its end of the cable: `replug`. All goes with the thread that made it.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.live.lab import needs
from tests.live.lab.place import Place, Space

_SCRIPT = Path(__file__).parent / "udhcpc.sh"
_CARD = "eth0"


@dataclass(frozen=True, slots=True)
class Lease:
    """What a DHCP server gave; empty or 0 is what it did not say."""

    address: str
    prefix: int
    hostname: str
    domain: str
    routers: tuple[str, ...]
    dns: tuple[str, ...]
    mtu: int
    lease_s: int
    server: str


class Client(Space):
    """A guest's stand-in; see the module."""

    def __init__(self, at: Place, bridge: str, mac: str) -> None:
        super().__init__()
        self.mac = mac
        self.last: Lease | None = None
        self._socket = (at, bridge)
        try:
            self.plug(at, bridge, mac=mac)
        except BaseException:
            self.close()
            raise

    def replug(self) -> None:
        """Out of the bridge and into it again; the card is new."""
        self.unplug()
        at, bridge = self._socket
        self.plug(at, bridge, mac=self.mac)

    def lease(self, *, wish: str = "", hostname: str = "", tries: int = 5) -> Lease | None:
        """Asks for an address, once a second for `tries` times; None when nobody gave one."""
        udhcpc = f"{needs.BUSYBOX} udhcpc -f -q -n -t {tries} -T 1 -A 1 -i {_CARD} -s {_SCRIPT}"
        udhcpc += " -O hostname -O domain -O mtu"
        udhcpc += f" -r {wish}" if wish else ""
        udhcpc += f" -x hostname:{hostname}" if hostname else ""
        done = self.run(udhcpc)
        lines = [line.removeprefix("lease ") for line in done.stdout.splitlines()]
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        self.last = _lease(said) if done.returncode == 0 and "ip" in said else None
        return self.last

    def dig(self, name: str, kind: str = "A", *, server: str = "") -> tuple[str, ...]:
        """The data of the records that its name server gives; RuntimeError when it is silent."""
        return self._dig(f"{name} {kind}", server)

    def dig_x(self, address: str, *, server: str = "") -> tuple[str, ...]:
        """The names of an address."""
        return self._dig(f"-x {address}", server)

    def _dig(self, words: str, server: str) -> tuple[str, ...]:
        if not server:
            if self.last is None or not self.last.dns:
                raise RuntimeError("it was told no name server")
            server = self.last.dns[0]
        dig = f"dig @{server} +tries=2 +time=3 +short {words}"
        return tuple(sorted(self.run(dig, check=True).stdout.splitlines()))


def _lease(said: dict[str, str]) -> Lease:
    return Lease(
        address=said["ip"],
        prefix=int(said.get("mask") or 0),
        hostname=said.get("hostname", ""),
        domain=said.get("domain", ""),
        routers=tuple(said.get("router", "").split()),
        dns=tuple(said.get("dns", "").split()),
        mtu=int(said.get("mtu") or 0),
        lease_s=int(said.get("lease") or 0),
        server=said.get("serverid", ""),
    )
