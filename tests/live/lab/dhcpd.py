"""isc-dhcp-server, by hand: OMAPI with a key, a leases file, real clients on its segment.

    key = Key.generate("omapi", "hmac-md5")
    with Space() as space:
        space.add_bridge("lan")                                 # where clients plug in
        with Dhcpd(tmp_path, key, at=space, more=FOREIGN) as dhcpd:
            dhcpd.add_host("vm1", "02:00:00:00:00:07", "172.16.7.7")    # as somebody else would
            dhcpd.omshell("new host", 'set name = "vm1"', "open")
            dhcpd.leases_text()                                 # or dhcpd.leases, its path there
            space.way_in(OMAPI_PORT)                            # for an OMAPI client here

On a host of a lab: Dhcpd(Path("/var/lib/dhcp"), key, at=On(host), device="vmbr"); then the leases
file is read over SSH and OMAPI reached by a forward to the host's 127.0.0.1:7911. `cidr` is the
server's address on `device`, which it gets, and its network; there is no pool: `more` is text for
dhcpd.conf, as `host www { hardware ethernet 02:…; fixed-address 172.16.0.9; }`, or a `range` in a
subnet of its own. See daemon.py for kill, freeze and so on.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path

from tests.live.lab.daemon import Daemon
from tests.live.lab.place import HERE, Place
from tests.live.lab.tsig import Key

OMAPI_PORT = 7911
CIDR = "172.16.0.1/16"
OPTIONS = {"domain-name": '"cloud.test"'}


class Dhcpd(Daemon):
    """A DHCP server; see the module. `options` are dhcpd's, beside routers and name servers."""

    ready = "Server starting service."

    def __init__(
        self,
        folder: Path,
        key: Key,
        *,
        at: Place,
        device: str = "lan",
        cidr: str = CIDR,
        lease_s: int = 600,
        options: Mapping[str, str] = OPTIONS,
        more: str = "",
    ) -> None:
        super().__init__(folder, at)
        self.key = key
        self.device = device
        self.lease_s = lease_s
        self.more = more
        self.leases = folder / "dhcpd.leases"
        self._card = ipaddress.ip_interface(cidr)
        own = str(self._card.ip)
        self.options = {"routers": own, "domain-name-servers": own, **options}

    @property
    def address(self) -> str:
        """Its address on the segment."""
        return str(self._card.ip)

    def leases_text(self) -> str:
        """The leases file: what it knows of hosts and leases beside its dhcpd.conf."""
        return self.at.path(self.leases).read_text(encoding="utf-8", errors="replace")

    def omshell(self, *lines: str, via: int = 0) -> str:
        """What omshell says to lines after it has connected; its exit code says nothing.

        With `via` it runs here and connects to this port of 127.0.0.1.
        """
        key = self.key
        start = f"server 127.0.0.1\nport {via or OMAPI_PORT}\nkey-algorithm {key.algorithm}\n"
        start += f"key {key.name} {key.secret}\nconnect\n"
        text = start + "".join(f"{line}\n" for line in lines)
        return (HERE if via else self.at).run("omshell", text=text).stdout

    def add_host(self, name: str, mac: str, address: str, *, via: int = 0) -> None:
        """Adds a host as somebody else would; raises RuntimeError with what omshell said."""
        lines = [f'set name = "{name}"', f"set hardware-address = {mac}", "set hardware-type = 1"]
        said = self.omshell("new host", *lines, f"set ip-address = {address}", "create", via=via)
        # Only what the server has answered has numbers of four bytes.
        if "hardware-type = 00:00:00:01" not in said:
            raise RuntimeError(f"host {name}: {said}")

    def _prepare(self) -> None:
        self._write("dhcpd.conf", self._conf(), 0o600)
        if not self.at.path(self.leases).exists():
            self._write(self.leases.name, "")
        # A host that was rebooted has lost it.
        self.at.ip_batch(f"addr replace {self._card} dev {self.device}")

    def _argv(self) -> list[str]:
        argv = [self._copy_of("dhcpd"), "-4", "-f", "-d", "--no-pid"]
        argv += ["-cf", str(self.folder / "dhcpd.conf"), "-lf", str(self.leases)]
        return [*argv, self.device]

    def _conf(self) -> str:
        net = self._card.network
        options = "".join(f"  option {name} {value};\n" for name, value in self.options.items())
        return f"""authoritative; use-host-decl-names on; ddns-update-style none;
default-lease-time {self.lease_s}; max-lease-time {self.lease_s};
{self.key.conf}omapi-port {OMAPI_PORT}; omapi-key {self.key.name};
subnet {net.network_address} netmask {net.netmask} {{
{options}}}
{self.more}
"""
