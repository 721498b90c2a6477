"""dnsmasq that takes its hosts from folders, on a host of a lab or in a network of its own.

    with Dnsmasq(Path("/srv/dnsmasq"), at=On(host), device="vmbr") as dnsmasq:
        dnsmasq.dhcp_hosts      # folder there: a file with the line MAC,ADDRESS,NAME for each host
        dnsmasq.names           # folder there: a file with the line ADDRESS NAME.DOMAIN for each
        dnsmasq.pid_file        # for kill -HUP: a host that was deleted is forgotten only then
        dnsmasq.dig("vm1.cloud.test"), dnsmasq.dig_x("172.16.7.7")

`cidr` is its address on `device`, which it gets, and its network; addresses are given to hosts of
the folder only. It listens on port 53 of `device` and of the place's loopback. See daemon.py for
kill, freeze and so on.
"""

import ipaddress
from pathlib import Path

from tests.live.lab.daemon import Daemon
from tests.live.lab.dhcpd import CIDR
from tests.live.lab.place import On, Place


class Dnsmasq(Daemon):
    """A server of names and addresses; see the module."""

    ready = "cleared cache"

    def __init__(
        self,
        folder: Path,
        *,
        at: Place,
        device: str = "lan",
        cidr: str = CIDR,
        domain: str = "cloud.test",
        lease_s: int = 600,
    ) -> None:
        super().__init__(folder, at)
        self.device = device
        self.domain = domain
        self.lease_s = lease_s
        self.dhcp_hosts = folder / "dhcp-hosts"
        self.names = folder / "names"
        self.leases = folder / "dnsmasq.leases"
        # As a package's, it does not outlive a boot.
        self.pid_file = Path("/run/dnsmasq.pid") if isinstance(at, On) else folder / "dnsmasq.pid"
        self._card = ipaddress.ip_interface(cidr)

    @property
    def address(self) -> str:
        """Its address on the segment."""
        return str(self._card.ip)

    def dig(self, name: str, kind: str = "A") -> tuple[str, ...]:
        """The data of the records that it answers with, none for none; RuntimeError: silence."""
        return self._dig(f"{name} {kind}")

    def dig_x(self, address: str) -> tuple[str, ...]:
        """The names of an address."""
        return self._dig(f"-x {address}")

    def _dig(self, words: str) -> tuple[str, ...]:
        dig = f"dig @127.0.0.1 +tries=1 +time=3 +short {words}"
        return tuple(sorted(self.at.run(dig, check=True).stdout.splitlines()))

    def _prepare(self) -> None:
        for folder in (self.dhcp_hosts, self.names):
            self.at.path(folder).mkdir(parents=True, exist_ok=True)
        self._write("dnsmasq.conf", self._conf())
        self.at.ip_batch(f"addr replace {self._card} dev {self.device}")

    def _argv(self) -> list[str]:
        return [self._copy_of("dnsmasq"), "-C", str(self.folder / "dnsmasq.conf")]

    def _conf(self) -> str:
        net = self._card.network
        # With a user of its own it would not die with us.
        return f"""keep-in-foreground
user=root
log-facility=-
log-dhcp
bind-interfaces
interface={self.device}
pid-file={self.pid_file}
no-resolv
no-hosts
domain={self.domain}
local=/{self.domain}/
dhcp-authoritative
dhcp-range={net.network_address},static,{net.netmask},{self.lease_s}
dhcp-leasefile={self.leases}
dhcp-hostsdir={self.dhcp_hosts}
hostsdir={self.names}
"""
