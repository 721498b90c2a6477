"""An audit of 1,000 VMs against the bare reading of what it looks at.

The floor is a transfer of both zones by dnspython and a read of dhcpd's leases file. Ours is the
whole audit: state, transfers, leases and hosts read and understood, and all of it compared. What
SSH costs is in neither: the leases file is here, and the hosts answer at once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.query
import dns.tsig
import dns.xfr
import dns.zone
from msgspec.structs import replace

from bench import timing
from bench.timing import Figure
from tashictl.adapters.dns.keys import ALGORITHMS
from tashictl.cli.servers import SystemNames
from tashictl.model.naming import DhcpEntry
from tashictl.model.settings import DhcpSettings, DnsSettings, Secret, Server
from tashictl.model.vm import NicSpec, Vm, VmSpec
from tashictl.ops import audit
from tashictl.planning import naming
from tests.live.lab import needs
from tests.live.lab.bind import Bind
from tests.live.lab.tsig import Key
from tests.ops import audits
from tests.ops.stage import Stage

COUNT = 1000
PAIRS = 7
LIMIT = 3.0
ALGORITHM = "hmac-sha256"
_ZONE, _NETWORK, _REVERSE = "cloud.test", "172.16.0.0/16", "16.172.in-addr.arpa"
_TIMEOUT_S = 60.0


def figures() -> Iterator[Figure]:
    """The figures of this file; none, with the reason, where there is no BIND."""
    lacking = needs.missing_for_names()
    if lacking:
        print(f"audit: left out, no servers can stand here: {needs.explain(lacking)}")
        return
    key = Key.generate("tashi", ALGORITHM)
    with (
        tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made,
        Bind(Path(made) / "named", (_ZONE, _NETWORK), (key,)) as bind,
    ):
        bench = _Bench(Path(made), bind, key)
        pairs = timing.by_turns(_timed(bench.ours), _timed(bench.bare), PAIRS)
        yield Figure(
            name=f"audit of {COUNT} VMs, wall / bare transfers and leases file",
            value=pairs.ratio,
            limit=LIMIT,
            detail=pairs.detail,
        )


def _timed(work: Callable[[], None]) -> Callable[[], float]:
    def timed() -> float:
        began_s = time.perf_counter()
        work()
        return time.perf_counter() - began_s

    return timed


def _vm(number: int) -> Vm:
    nic = NicSpec(
        index=0,
        network=1,
        mac=f"52:54:00:00:{number >> 8:02x}:{number & 0xFF:02x}",
        ip=f"172.16.{number // 250}.{number % 250 + 1}",
        fqdn=f"vm{number}.{_ZONE}",
    )
    return Vm(
        id=number,
        name=f"vm{number}",
        uuid=f"9b2f6a34-0000-4000-8000-{number:012x}",
        user="dev",
        host="node1",
        created="2026-03-01T09:00:00Z",
        spec=VmSpec(nics=(nic,)),
    )


class _Bench:
    def __init__(self, folder: Path, bind: Bind, key: Key) -> None:
        self._bind, self._key = bind, key
        self._leases = folder / "dhcpd.leases"
        stage = Stage(folder)
        network = replace(
            stage.context.inventory.networks[0], cidr=_NETWORK, domain=_ZONE, dhcp=naming.OMAPI
        )
        dns_settings = DnsSettings(
            server=Server(host=bind.server, port=bind.port),
            key_name=key.name,
            secret_key=Secret(key.secret),
            key_algorithm=ALGORITHM,
            timeout_s=_TIMEOUT_S,
        )
        self._context = replace(
            stage.context,
            settings=replace(
                stage.context.settings,
                dns=dns_settings,
                dhcp=DhcpSettings(server=Server(host="node1", port=7911)),
            ),
            inventory=replace(stage.context.inventory, networks=(network,)),
        )
        self._world = replace(stage.world, names=SystemNames())
        vms = [_vm(number) for number in range(1, COUNT + 1)]
        with stage.store.transaction() as tx:
            tx.put_all(vms, ())
        self._register(vms)
        for name in stage.remote.hosts:
            stage.remote.probes[name] = self._answer

    def _register(self, vms: list[Vm]) -> None:
        """At the name server, and in the leases file."""
        settings = self._context.settings
        entries = [entry for vm in vms for entry in naming.dns_entries(vm, settings)]
        errors = self._world.names.dns(settings.dns).add(entries)
        if any(errors):
            raise RuntimeError(str(next(filter(None, errors))))
        networks = self._context.inventory.networks
        leases: list[DhcpEntry] = []
        for vm in vms:
            leases += naming.dhcp_entries(vm, networks, settings)
        self._leases.write_text(audits.leases(leases), encoding="utf-8")

    def _answer(self, nonce: str) -> bytes:
        return audits.answer(nonce, leases_text=self._leases.read_text(encoding="utf-8"))

    def ours(self) -> None:
        """The whole audit, which finds nothing."""
        found = audit.audit(self._world, self._context)
        if found.rows or found.seen.unseen:
            raise RuntimeError(str(found.rows or found.seen.unseen))

    def bare(self) -> None:
        """Both zones, and the file."""
        key = dns.tsig.Key(self._key.name, self._key.secret, ALGORITHMS[ALGORITHM])
        for name in (_ZONE, _REVERSE):
            zone = dns.zone.Zone(name, relativize=False)
            query, _ = dns.xfr.make_query(zone, keyring=key)
            dns.query.inbound_xfr(
                self._bind.server, zone, query=query, port=self._bind.port, timeout=_TIMEOUT_S
            )
        self._leases.read_text(encoding="utf-8")
