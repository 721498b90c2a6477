"""1,000 names registered forward and reverse in BIND, against what could be done without tashictl.

The floor is a bare loop over dnspython: the same groups of 200 of a zone, the same prerequisites
and records, a message for each, nothing looked at but the answer's code. It and ours run by turns,
each on zones that are empty of these names. Tashi registered VM by VM: an `nsupdate` that removes
and one that adds, and an omshell; its `gethostbyname`, and its omshells that remove first, are left
out. Of that a part is run and multiplied.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dns.query
import dns.rcode
import dns.reversename
import dns.tsig
import dns.update

from bench import names_dhcp, timing
from bench.timing import Figure
from tashictl.adapters.dns import batches
from tashictl.adapters.dns.keys import ALGORITHMS
from tashictl.adapters.dns.server import DnsServer
from tashictl.model.naming import DhcpEntry, DnsEntry
from tashictl.model.settings import DnsSettings, Secret, Server
from tests.live.lab import needs
from tests.live.lab.bind import Bind
from tests.live.lab.dhcpd import OMAPI_PORT, Dhcpd
from tests.live.lab.place import Space
from tests.live.lab.tsig import Key

COUNT = 1000
PAIRS = 7
TASHI_PAIRS = 3
BY_TASHI = 20  # of 1,000: each costs two processes
LIMIT = 1.3
LIMIT_TASHI = 1 / 5
ALGORITHM = "hmac-md5"
_ZONE, _NETWORK, _REVERSE = "cloud.test", "172.16.0.0/16", "16.172.in-addr.arpa"
_TTL_S = 300
_TIMEOUT_S = 60.0


def figures() -> Iterator[Figure]:
    """The figures of this file; none, with the reason, where there is no BIND."""
    lacking = needs.missing_for_names()
    if lacking:
        print(f"names: left out, no servers can stand here: {needs.explain(lacking)}")
        return
    key = Key.generate("tashi", ALGORITHM)
    with (
        tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made,
        Bind(Path(made) / "named", (_ZONE, _NETWORK), (key,)) as bind,
        Space() as space,
    ):
        space.add_bridge("lan")
        with Dhcpd(Path(made) / "dhcpd", key, at=space):
            print(f"names: {COUNT} with A, PTR and two marks, BIND on 127.0.0.1, {ALGORITHM}")
            yield from _Bench(bind, key, space.way_in(OMAPI_PORT)).figures()


class _Bench:
    def __init__(self, bind: Bind, key: Key, omapi_port: int) -> None:
        self._bind = bind
        self._key = key
        self._omapi_port = omapi_port
        self._hosts = 0  # that dhcpd has: every round makes new ones
        self._entries = [
            DnsEntry(
                name=f"vm{n}.{_ZONE}",
                addresses=(f"172.16.{n // 250}.{n % 250 + 1}",),
                owner=f"tashictl:0123456789ab:9b2f6a34-0000-4000-8000-{n:012x}",
                ttl_s=_TTL_S,
            )
            for n in range(COUNT)
        ]

    def figures(self) -> Iterator[Figure]:
        """Ours against the floor, and against Tashi's way."""
        pairs = timing.by_turns(self._timed(self._ours), self._timed(self._bare), PAIRS)
        yield Figure(
            name=f"{COUNT} names registered, wall / bare batched dnspython",
            value=pairs.ratio,
            limit=LIMIT,
            detail=pairs.detail,
        )
        again = timing.by_turns(self._timed(self._twice), self._timed(self._bare), TASHI_PAIRS)
        yield Figure(
            name="registered and repeated, all there already, wall / bare, registered once",
            value=again.ratio,
            limit=None,
            detail=again.detail,
        )
        times = COUNT / BY_TASHI
        halves = timing.by_turns(
            lambda: self._timed(self._ours)() + self._leases(names_dhcp.ours, COUNT),
            lambda: times * (self._by_tashi_s() + self._leases(names_dhcp.by_omshell, BY_TASHI)),
            TASHI_PAIRS,
        )
        yield Figure(
            name=f"{COUNT} VMs registered in DNS and dhcpd, wall / nsupdate and omshell per VM",
            value=halves.ratio,
            limit=LIMIT_TASHI,
            detail=f"{BY_TASHI} VMs in Tashi's way, times {times:g}; {halves.detail}",
        )

    def _leases(self, way: Callable[[Sequence[DhcpEntry], Key, int], float], count: int) -> float:
        """Seconds to give dhcpd so many hosts that it does not have yet."""
        some = names_dhcp.entries(count, self._hosts)
        self._hosts += count
        return way(some, self._key, self._omapi_port)

    def _timed(self, work: Callable[[], None]) -> Callable[[], float]:
        def timed() -> float:
            began_s = time.perf_counter()
            work()
            took_s = time.perf_counter() - began_s
            self._empty()
            return took_s

        return timed

    def _server(self) -> DnsServer:
        return DnsServer(
            DnsSettings(
                server=Server(host=self._bind.server, port=self._bind.port),
                key_name=self._key.name,
                secret_key=Secret(self._key.secret),
                key_algorithm=ALGORITHM,
                timeout_s=_TIMEOUT_S,
            )
        )

    def _ours(self) -> None:
        failed = [error for error in self._server().add(self._entries) if error is not None]
        if failed:
            raise RuntimeError(str(failed[0]))

    def _twice(self) -> None:
        self._ours()
        self._ours()

    def _empty(self) -> None:
        """The zones are without these names."""
        self._server().remove(self._entries)

    def _bare(self) -> None:
        key = dns.tsig.Key(self._key.name, self._key.secret, ALGORITHMS[ALGORITHM])
        size = batches.GROUP
        groups = [self._entries[at : at + size] for at in range(0, COUNT, size)]
        for zone, pointers in ((_ZONE, False), (_REVERSE, True)):
            for group in groups:
                update = dns.update.UpdateMessage(zone, keyring=key)
                for entry in group:
                    _bare_entry(update, entry, pointer=pointers)
                answer = dns.query.tcp(
                    update, self._bind.server, port=self._bind.port, timeout=_TIMEOUT_S
                )
                if answer.rcode() != dns.rcode.NOERROR:
                    raise RuntimeError(dns.rcode.to_text(answer.rcode()))

    def _by_tashi_s(self) -> float:
        """Seconds for some VMs, which are gone then: it leaves no marks for ours to go by."""
        some = self._entries[:BY_TASHI]
        began_s = time.perf_counter()
        for entry in some:
            self._run_nsupdate(_removal(entry))
            self._run_nsupdate(_addition(entry))
        took_s = time.perf_counter() - began_s
        self._run_nsupdate("".join(_removal(entry) for entry in some))
        return took_s

    def _run_nsupdate(self, lines: str) -> None:
        secret = f"{ALGORITHM}:{self._key.name}:{self._key.secret}"
        subprocess.run(
            ["nsupdate", "-y", secret],
            input=f"server {self._bind.server} {self._bind.port}\n{lines}",
            capture_output=True,
            text=True,
            check=True,
        )


def _bare_entry(update: dns.update.UpdateMessage, entry: DnsEntry, *, pointer: bool) -> None:
    name, kind, value = f"{entry.name}.", "A", entry.addresses[0]
    if pointer:
        name, kind, value = dns.reversename.from_address(value).to_text(), "PTR", name
    update.absent(name)
    update.absent(f"_tashictl.{name}")
    update.add(name, _TTL_S, kind, value)
    update.add(f"_tashictl.{name}", _TTL_S, "TXT", f'"{entry.owner}"')


def _removal(entry: DnsEntry) -> str:
    pointer = dns.reversename.from_address(entry.addresses[0])
    return f"update delete {pointer} PTR\n\nupdate delete {entry.name} A\n\n"


def _addition(entry: DnsEntry) -> str:
    pointer = dns.reversename.from_address(entry.addresses[0])
    return (
        f"update add {entry.name} {_TTL_S} A {entry.addresses[0]}\n\n"
        f"update add {pointer} {_TTL_S} IN PTR {entry.name}.\n\n"
    )
