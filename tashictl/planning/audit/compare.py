"""The database against all that was seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tashictl.model.audit import Disagreement, Seen
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.state import State
from tashictl.planning.audit import dhcp, dns, hosts, zones
from tashictl.planning.audit.claims import Claims, claims
from tashictl.planning.audit.table import ORDER


def compare(
    state: State,
    networks: Collection[Network],
    settings: Settings,
    seen: Seen,
    busy: Collection[str] = (),
) -> tuple[Disagreement, ...]:
    """All that disagrees, by kind and subject.

    `busy` are uuids of VMs that changed while it was looked around: nothing is said of them.
    """
    wanted = claims(state, networks, settings, {*busy, *_lost(state, seen)})
    found = [
        *_deferred(wanted),
        *dns.compare(wanted, zones.index(seen.zones)),
        *(row for server in seen.dhcp for row in dhcp.compare(wanted, server, networks)),
        *hosts.compare(state, wanted, networks, seen),
    ]
    return tuple(sorted(found, key=lambda row: (ORDER[row.kind], row.subject, row.source)))


def _lost(state: State, seen: Seen) -> set[str]:
    """VMs that hosts have and the database lacks: a sweep takes them in, or says why not."""
    there = {uuid for host in seen.hosts for uuid in host.folders}
    there |= {qemu.uuid for host in seen.hosts for qemu in host.qemus}
    return there - {vm.uuid for vm in state.vms.values()}


def _deferred(wanted: Claims) -> Iterator[Disagreement]:
    for key, work in wanted.waiting.items():
        yield Disagreement(
            kind="deferred",
            subject=work.entry.name,
            source="dns" if isinstance(work.entry, DnsEntry) else "dhcp",
            database=_wish(work),
            found=f"waits since {work.since}, tried {work.tries} times: {work.why}"
            if work.tries > 1
            else f"waits since {work.since}: {work.why}",
            repair="do it",
            waits=key,
        )


def _wish(work: Deferred) -> str:
    what = ", ".join(work.entry.addresses)
    if isinstance(work.entry, DhcpEntry):
        what = f"{work.entry.mac} {what}"
    return f"{'add' if work.add else 'remove'} {what}"
