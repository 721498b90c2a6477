"""Databases and servers by chance: what is right, stale, of others, and in between."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tashictl.adapters.sim.names import NameTables, SimDns, SimOmapi
from tashictl.errors import TashiError
from tashictl.model.audit import Change, DhcpHost, DhcpSeen, Disagreement, Seen, ZoneSeen
from tashictl.model.naming import Deferred, DhcpEntry, DnsEntry, DnsRecord
from tashictl.model.network import Network
from tashictl.model.settings import (
    DhcpSettings,
    DnsSettings,
    Server,
    Settings,
    TashictlSettings,
)
from tashictl.model.state import Meta, State
from tashictl.model.vm import NicSpec, OperationKind, OperationRef, Vm, VmSpec, Wanted
from tashictl.planning.audit.compare import compare

CLUSTER = "0123456789ab"
DOMAIN = "lab.test"
NOW = "2026-03-01T12:00:00Z"
NETWORKS = (Network(id=1, name="lan", bridge="vmbr", cidr="10.0.0.0/24", dhcp="isc-omapi"),)
SETTINGS = Settings(
    tashictl=TashictlSettings(cluster_id=CLUSTER),
    dns=DnsSettings(server=Server(host="10.0.0.2", port=53), domain=DOMAIN),
    dhcp=DhcpSettings(server=Server(host="10.0.0.2", port=7911)),
)
OTHERS = "tashictl:ffffffffffff:7c1e0000-0000-4000-8000-000000000001"
GONE = f"tashictl:{CLUSTER}:dead0000-0000-4000-8000-000000000001"
NUMBERS = range(1, 6)


def uuid(number: int) -> str:
    return f"7c1e0000-0000-4000-8000-{number:012}"


def mark(number: int) -> str:
    return f"tashictl:{CLUSTER}:{uuid(number)}"


def fqdn(number: int) -> str:
    return f"web{number}.{DOMAIN}"


def mac(number: int) -> str:
    return f"52:54:00:00:00:{number:02x}"


def address(number: int) -> str:
    return f"10.0.0.{10 + number}"


def a_vm(number: int, **values: Any) -> Vm:
    """A VM that runs and is registered."""
    nic = NicSpec(index=0, network=1, mac=mac(number), ip=address(number), fqdn=fqdn(number))
    usual: dict[str, Any] = {
        "id": number,
        "name": f"web{number}",
        "uuid": uuid(number),
        "user": "dev",
        "host": "node1",
        "created": "2026-03-01T09:00:00Z",
        "spec": VmSpec(nics=(nic,)),
    }
    return Vm(**{**usual, **values})


OPERATION = OperationRef(id=7, kind=OperationKind.CREATE, started=NOW)


def a_state(*vms: Vm, deferred: tuple[Deferred, ...] = ()) -> State:
    """A database of these VMs."""
    return State(
        meta=Meta(cluster=CLUSTER, last_vm_id=9),
        vms={vm.id: vm for vm in vms},
        deferred={work.key: work for work in deferred},
    )


def dns_entry(number: int, **values: Any) -> DnsEntry:
    """What is registered of a VM."""
    usual: dict[str, Any] = {"addresses": (address(number),), "owner": mark(number)}
    return DnsEntry(name=fqdn(number), **{**usual, **values})


def dhcp_entry(number: int, **values: Any) -> DhcpEntry:
    """The same in DHCP."""
    usual: dict[str, Any] = {
        "driver": "isc-omapi",
        "network": 1,
        "name": f"web{number}",
        "mac": mac(number),
        "addresses": (address(number),),
        "owner": mark(number),
        "fqdn": fqdn(number),
        "domain": DOMAIN,
    }
    return DhcpEntry(**{**usual, **values})


def registered(*numbers: int) -> NameTables:
    """Servers that have these VMs."""
    tables = NameTables()
    for number in numbers:
        assert SimDns(tables).add([dns_entry(number)]) == [None]
        SimOmapi(tables).add(dhcp_entry(number))
    return tables


def seen(tables: NameTables, **values: Any) -> Seen:
    """What a look at the servers sees."""
    zones = (DOMAIN, "0.0.10.in-addr.arpa")
    usual: dict[str, Any] = {
        "at": NOW,
        "zones": tuple(ZoneSeen(zone=z, records=SimDns(tables).records(z)) for z in zones),
        "dhcp": (DhcpSeen(driver="isc-omapi", server="dhcp", hosts=hosts_of(tables)),),
    }
    return Seen(**{**usual, **values})


def hosts_of(tables: NameTables) -> tuple[DhcpHost, ...]:
    """The hosts that the DHCP server has."""
    return tuple(
        DhcpHost(driver=e.driver, name=e.name, mac=e.mac, addresses=e.addresses, owner=e.owner)
        for e in tables.dhcp.values()
    )


def told(state: State, tables: NameTables, **values: Any) -> tuple[Disagreement, ...]:
    """What an audit says."""
    return compare(state, NETWORKS, SETTINGS, seen(tables, **values))


def carry_out(tables: NameTables, changes: tuple[Change, ...]) -> list[TashiError]:
    """Have the servers do it; what they refuse."""
    refused = []
    for change in changes:
        match change.entry:
            case DnsEntry() as entry:
                dns = SimDns(tables)
                refused += (dns.add if change.add else dns.remove)([entry])
            case DhcpEntry() as entry:
                omapi = SimOmapi(tables)
                try:
                    (omapi.add if change.add else omapi.remove)(entry)
                except TashiError as error:
                    refused.append(error)
    return [error for error in refused if error is not None]


# -- by chance

_MARKS = st.one_of(st.sampled_from(NUMBERS).map(mark), st.sampled_from([GONE, OTHERS]))
_NUMBERS = st.sampled_from(NUMBERS)
_STANDING: tuple[dict[str, Any], ...] = (
    {},
    {"operation": OPERATION},
    {"wanted": Wanted.ABSENT},
    {"host": None},
)


@st.composite
def states(draw: st.DrawFn) -> State:
    """Some of the VMs, settled or not; some work that waits."""
    numbers = draw(st.sets(_NUMBERS, max_size=4))
    vms = [a_vm(n, **draw(st.sampled_from(_STANDING))) for n in sorted(numbers)]
    waiting = draw(st.lists(st.tuples(_NUMBERS, _MARKS, st.booleans()), max_size=2))
    works = []
    for number, owner, of_dns in waiting:
        entry = (dns_entry if of_dns else dhcp_entry)(number, owner=owner)
        mine = any(vm.uuid == uuid(number) for vm in vms) and owner == mark(number)
        if owner != OTHERS:
            works.append(Deferred(entry=entry, add=mine, since=NOW, why="down"))
    return a_state(*vms, deferred=tuple(works))


@st.composite
def servers(draw: st.DrawFn) -> NameTables:
    """What is right, and what is not."""
    tables = NameTables()
    some = st.sets(_NUMBERS, min_size=1, max_size=2)
    for number in NUMBERS:
        match draw(st.sampled_from(["none", "right", "ours", "foreign", "alias"])):
            case "right":
                tables.dns[fqdn(number)] = dns_entry(number)
            case "ours":
                addresses = tuple(sorted(address(n) for n in draw(some)))
                entry = dns_entry(number, owner=draw(_MARKS), addresses=addresses)
                tables.dns[fqdn(number)] = entry
            case "foreign":
                tables.records.add(record(fqdn(number), "A", address(draw(_NUMBERS))))
            case "alias":
                tables.records.add(record(fqdn(number), "CNAME", "www.lab.test"))
        match draw(st.sampled_from(["none", "right", "ours", "foreign"])):
            case "right":
                tables.pointers[address(number)] = dns_entry(number)
            case "ours":
                entry = dns_entry(draw(_NUMBERS), owner=draw(_MARKS))
                tables.pointers[address(number)] = entry
            case "foreign":
                name = f"{10 + number}.0.0.10.in-addr.arpa"
                tables.records.add(record(name, "PTR", fqdn(draw(_NUMBERS))))
        match draw(st.sampled_from(["none", "right", "other"])):
            case "right":
                tables.dhcp[f"web{number}"] = dhcp_entry(number)
            case "other":
                entry_ = dhcp_entry(
                    number,
                    owner=draw(st.one_of(_MARKS, st.just(""))),
                    mac=mac(draw(_NUMBERS)),
                    addresses=(address(draw(_NUMBERS)),),
                )
                tables.dhcp[f"web{number}"] = entry_
    return tables


def record(name: str, kind: str, value: str) -> DnsRecord:
    """A record that somebody else made."""
    return DnsRecord(zone="", name=name, kind=kind, value=value)
