"""BIND's `named`, by hand: zones of its own, keys that may change them, the outside eye on them.

    tashi, other = Key.generate("tashi", "hmac-md5"), Key.generate("other")
    zones = ("cloud.test", "172.16.0.0/16", "2001:db8::/32", Zone("internal.test", ("other",)))
    with Bind(tmp_path, zones, (tashi, other)) as bind:     # on 127.0.0.1 and a free port
        bind.server, bind.port                              # for dnsServer
        bind.put("cloud.test", "www 60 A 172.16.0.9")       # a record of somebody else's
        bind.drop("cloud.test", "www A")                    # … and gone, by hand
        bind.dig("www.cloud.test"), bind.dig_x("172.16.0.9")        # ("172.16.0.9",), ()
        Record("www.cloud.test.", 60, "A", "172.16.0.9") in bind.records("cloud.test")

Every key may change and transfer every zone that does not say otherwise. Elsewhere than here it
listens on all addresses of the place and on port 53: Bind(Path("/srv/named"), zones, keys,
at=On(host)). With `skew_s` its clock is off by so much: 301 s are too many (BADTIME). Its own hand
is a key besides, `lab-hand`. See daemon.py for kill, freeze and so on.
"""

import ipaddress
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.lab.daemon import Daemon
from tests.live.lab.place import HERE, On, Place, free_port
from tests.live.lab.tsig import Key

_DNS_PORT = 53
_LOOPBACK = "127.0.0.1"
_SKEW_SOURCE = Path(__file__).parent / "skew.c"
_HEAD = """\
$TTL 60
@ IN SOA ns.{main}. hostmaster.{main}. 1 3600 900 604800 60
@ IN NS ns.{main}.
"""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone, by name or as a network; who may change it and who may read all of it.

    Both are names of keys, None for all keys.
    """

    of: str
    update: tuple[str, ...] | None = None
    transfer: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Without the last dot."""
        return reverse_zone(self.of) if "/" in self.of else self.of


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """A record; `name` ends with a dot, `data` is as dig prints it."""

    name: str
    ttl_s: int
    type: str
    data: str


class Bind(Daemon):
    """A name server; see the module."""

    ready = " running\n"

    def __init__(
        self,
        folder: Path,
        zones: Sequence[str | Zone] = ("cloud.test",),
        keys: Sequence[Key] = (),
        *,
        at: Place = HERE,
        skew_s: int = 0,
    ) -> None:
        super().__init__(folder, at)
        self.zones = tuple(zone if isinstance(zone, Zone) else Zone(zone) for zone in zones)
        self.keys = tuple(keys)
        self.skew_s = skew_s
        self.port = free_port() if at is HERE else _DNS_PORT
        self._hand = Key.generate("lab-hand")

    @property
    def server(self) -> str:
        """Its address: a host's own, or the loopback of where it is."""
        return self.at.host.address if isinstance(self.at, On) else _LOOPBACK

    def dig(self, name: str, kind: str = "A") -> tuple[str, ...]:
        """The data of the records that it answers with, none for none; RuntimeError: silence."""
        return tuple(sorted(self._dig(f"+short {name} {kind}").splitlines()))

    def dig_x(self, address: str) -> tuple[str, ...]:
        """The names of an address."""
        return tuple(sorted(self._dig(f"+short -x {address}").splitlines()))

    def records(self, zone: str) -> tuple[Record, ...]:
        """All records of a zone (a name or a network), sorted, but for SOA and NS of itself."""
        name = Zone(zone).name
        text = self._dig(f"-y {self._secret('dig')} +noall +answer {name} AXFR")
        found = []
        for line in text.splitlines():
            owner, ttl, _, kind, data = line.split(maxsplit=4)
            if not (owner == f"{name}." and kind in ("SOA", "NS")):
                found.append(Record(owner, int(ttl), kind, data))
        return tuple(sorted(found))

    def put(self, zone: str, *lines: str) -> None:
        """Adds records as somebody else would, as `www 60 A 172.16.0.9`; `@` is the zone itself."""
        self._update(zone, "add", lines)

    def drop(self, zone: str, *lines: str) -> None:
        """Removes records by hand: `www`, `www A` or `www A 172.16.0.9`."""
        self._update(zone, "delete", lines)

    # helpers

    def _dig(self, words: str) -> str:
        dig = f"{self._clock()} dig @{_LOOPBACK} -p {self.port} +tries=1 +time=3 {words}"
        done = self.at.run(dig)
        if done.returncode != 0 or "Transfer failed" in done.stdout:
            raise RuntimeError(f"{dig}: {done.stdout}{done.stderr}")
        return done.stdout

    def _update(self, zone: str, verb: str, lines: Sequence[str]) -> None:
        name = Zone(zone).name
        text = f"server {_LOOPBACK} {self.port}\nzone {name}\nkey {self._secret('nsupdate')}\n"
        for line in lines:
            owner, _, rest = line.partition(" ")
            full = f"{name}." if owner == "@" else f"{owner}.{name}."
            text += f"update {verb} {owner if owner.endswith('.') else full} {rest}\n"
        self.at.run(f"{self._clock()} nsupdate -v", text=f"{text}send\n", check=True)

    def _secret(self, form: str) -> str:
        hand = self._hand
        if form == "dig":
            return f"{hand.algorithm}:{hand.name}:{hand.secret}"
        return f"{hand.algorithm}:{hand.name} {hand.secret}"

    def _clock(self) -> str:
        """Start of a command that sees the server's clock: BADTIME is for others."""
        return shlex.join(self._skewing())

    def _skewing(self) -> list[str]:
        if not self.skew_s:
            return []
        return ["env", f"LD_PRELOAD={self.folder}/skew.so"]

    def _prepare(self) -> None:
        self._write("data/.made", "")
        self._write("named.conf", self._conf(), 0o600)
        if self.skew_s:
            library = self.at.path(self.folder / "skew.so")
            argv = ["gcc", "-shared", "-fPIC", f"-DSKEW=({self.skew_s})", "-o", str(library)]
            subprocess.run([*argv, str(_SKEW_SOURCE)], check=True, capture_output=True)
        for zone in self.zones:
            # Its journal goes with it: whoever is there already has been written to.
            if not self.at.path(self.folder / f"data/{zone.name}").exists():
                self._write(f"data/{zone.name}", self._zone_text(zone))

    def _argv(self) -> list[str]:
        named = [self._copy_of("named"), "-g", "-n", "1", "-c", str(self.folder / "named.conf")]
        return [*self._skewing(), *named]

    def _conf(self) -> str:
        where = _LOOPBACK if self.at is HERE else "any"
        v6 = "none" if self.at is HERE else "any"
        text = "".join(key.conf for key in (*self.keys, self._hand))
        text += f"""options {{
  directory "{self.folder}/data"; pid-file "{self.folder}/named.pid"; lock-file none;
  session-keyfile none;
  listen-on port {self.port} {{ {where}; }}; listen-on-v6 port {self.port} {{ {v6}; }};
  recursion no; dnssec-validation no; notify no; allow-query {{ any; }};
}};
controls {{ }};
"""
        for zone in self.zones:
            update, transfer = self._allowed(zone.update), self._allowed(zone.transfer)
            text += (
                f'zone "{zone.name}" {{ type primary; file "{zone.name}"; '
                f"allow-update {{ {update} }}; allow-transfer {{ {transfer} }}; }};\n"
            )
        return text

    def _allowed(self, names: tuple[str, ...] | None) -> str:
        wanted = [key.name for key in self.keys] if names is None else list(names)
        return " ".join(f'key "{name}";' for name in (*wanted, self._hand.name))

    def _zone_text(self, zone: Zone) -> str:
        main = next((one.name for one in self.zones if "/" not in one.of), "lab.test")
        text = _HEAD.format(main=main)
        return text + (f"ns IN A {_LOOPBACK}\n" if zone.name == main else "")


def reverse_zone(network: str) -> str:
    """The zone of a network's addresses; raises ValueError where it would be several or a part."""
    found = ipaddress.ip_network(network)
    bits = 8 if found.version == 4 else 4
    if found.prefixlen % bits:
        raise ValueError(f"{network} is not one reverse zone")
    labels = found.network_address.reverse_pointer.split(".")
    own = found.prefixlen // bits
    return ".".join(labels[-own - 2 :])
