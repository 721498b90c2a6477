"""Clusters as a state and as what their hosts show, for the tests of the rebuild."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.host import HostFacts, HostRecord, VmFact
from tashictl.model.rebuild import Counters, Evidence
from tashictl.model.state import Meta, State
from tashictl.model.vm import (
    DiskSpec,
    NicSpec,
    Observed,
    OperationKind,
    OperationRef,
    Seen,
    Vm,
    VmSpec,
    Wanted,
)
from tashictl.planning import manifest
from tests.planning import cases

CLUSTER = "0123456789ab"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEEN = Observed(what=Seen.RUNNING, at="2026-03-01T11:00:00Z", boot_id="b-1", generation=1)


def uuid(number: int) -> str:
    return f"7c1e0000-0000-4000-8000-{number:012x}"


def vm(number: int, **values: Any) -> Vm:
    """A VM that runs on node1, with an address."""
    nic = NicSpec(
        index=0, network=1, mac=f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",
        ip=f"10.0.{number >> 8}.{number & 255}",
    )  # fmt: skip
    usual: dict[str, Any] = {
        "id": number,
        "name": f"web{number}",
        "uuid": uuid(number),
        "user": "dev",
        "created": f"2026-03-01T10:{number % 60:02d}:00Z",
        "host": "node1",
        "spec": VmSpec(disks=(DiskSpec(index=0, name="demo.qcow2"),), nics=(nic,)),
        "observed": SEEN,
        "pid": 4000 + number,
    }
    return Vm(**{**usual, **values})


def state(*vms: Vm, hosts: tuple[str, ...] = ("node1", "node2"), **meta: Any) -> State:
    """A state of these VMs, in which no id is wasted."""
    last = max([0, *(v.id for v in vms)])
    usual: dict[str, Any] = {
        "cluster": CLUSTER, "epoch": 1, "generation": 40, "last_vm_id": last,
        "last_operation_id": last, "last_host_id": len(hosts),
    }  # fmt: skip
    return State(
        meta=Meta(**{**usual, **meta}),
        vms={v.id: v for v in vms},
        hosts={n: HostRecord(id=i, name=n, up=True) for i, n in enumerate(hosts, 1)},
        images={},
    )


def fact(vm: Vm, alive: bool = True, phase: str = "running", **values: Any) -> VmFact:
    """What its host shows of a VM; `values` as of VmFact."""
    text = manifest.text(vm, CLUSTER, phase, values.pop("operation", vm.id))
    usual: dict[str, Any] = {
        "uuid": vm.uuid,
        "alive": alive,
        "pid": vm.pid if alive else None,
        "manifest": msgspec.json.decode(text),
    }
    return VmFact(**{**usual, **values})


def look(*facts: VmFact, **values: Any) -> HostFacts:
    """What a host shows."""
    usual = {"claimed_by": CLUSTER, "claimed_epoch": 2, "claimed_counter": 0}
    return cases.facts(at="2026-03-01T12:00:00Z", vms=facts, **{**usual, **values})


def evidence(base: State | None, looks: dict[str, HostFacts], **values: Any) -> Evidence:
    usual: dict[str, Any] = {
        "cluster": CLUSTER,
        "epoch": 2,
        "now": NOW,
        "without": frozenset(),
        "counters": Counters(),
        "settings": cases.SETTINGS,
    }
    return Evidence(base=base, looks=looks, **{**usual, **values})


def looks_of(found: State) -> dict[str, HostFacts]:
    """What the hosts of a state show when everything is as it is recorded."""
    return {
        host: look(
            *(
                fact(v, alive=v.observed.what in (Seen.RUNNING, Seen.PAUSED))
                for v in found.vms.values()
                if v.host == host
            )
        )
        for host in found.hosts
    }


# -- any cluster at all

_HOSTS = ("node1", "node2", "node3")


@st.composite
def _vms(draw: st.DrawFn) -> list[Vm]:
    found = []
    numbers = draw(st.lists(st.integers(1, 400), unique=True, max_size=8))
    for number in numbers:
        host = draw(st.sampled_from((*_HOSTS, None)))
        if host is None:
            held = draw(st.booleans())
            found.append(vm(number, host=None, observed=Observed(), held=held, pid=None))
            continue
        what = draw(st.sampled_from((Seen.RUNNING, Seen.PAUSED, Seen.STOPPED)))
        wanted = Wanted.PAUSED if what is Seen.PAUSED else Wanted.RUNNING
        pid = 4000 + number if what is not Seen.STOPPED else None
        one = vm(number, host=host, wanted=wanted, observed=replace(SEEN, what=what), pid=pid)
        found.append(replace(one, generation=draw(st.integers(1, 3))))
    return found


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any state in which nothing is under way."""
    return state(*draw(_vms()), hosts=_HOSTS)


@st.composite
def damaged(draw: st.DrawFn) -> Evidence:
    """Any evidence: an older or newer base or none, VMs twice, clashing, gone, unreadable."""
    truth = draw(states())
    base = draw(st.sampled_from((None, truth, state(*draw(_vms()), hosts=_HOSTS[:2]))))
    without = draw(st.sets(st.sampled_from(_HOSTS), max_size=2))
    looks = {}
    for host, seen in looks_of(truth).items():
        if host not in without:
            shown = [_spoilt(draw, one) for one in seen.vms if draw(st.integers(0, 5))]
            looks[host] = replace(seen, vms=tuple(shown))
    for host in looks:  # what another host shows as well
        for other in list(looks.values()):
            more = tuple(o for o in other.vms if not draw(st.integers(0, 5)))
            there = {one.uuid for one in looks[host].vms}
            fresh = tuple(o for o in more if o.uuid not in there)
            looks[host] = replace(looks[host], vms=(*looks[host].vms, *fresh))
    if base is not None and draw(st.booleans()):
        base = replace(base, vms={i: _under_way(draw, v) for i, v in base.vms.items()})
    return evidence(base, looks, without=frozenset(without))


def _spoilt(draw: st.DrawFn, one: VmFact) -> VmFact:
    found: dict[str, Any] = dict(one.manifest or {})
    match draw(st.integers(0, 9)):
        case 0:
            found["id"] = draw(st.integers(1, 5))
        case 1:
            found["name"] = f"web{draw(st.integers(1, 5))}"
        case 2:
            found["spec"] = msgspec.to_builtins(vm(draw(st.integers(1, 5))).spec)
        case 3:
            return replace(one, manifest=draw(st.sampled_from((None, {}, {"spec": 7}))))
        case 4:
            found["cluster"] = "ffffffffffff"
        case 5:
            found["phase"] = "creating"
        case 6:
            found["generation"] = draw(st.integers(1, 9))
        case 7:
            return replace(one, uuid=uuid(draw(st.integers(1000, 1004))))
    alive = draw(st.booleans()) if not draw(st.integers(0, 3)) else one.alive
    return replace(one, manifest=found, alive=alive)


def _under_way(draw: st.DrawFn, one: Vm) -> Vm:
    if one.host is None or draw(st.booleans()):
        return one
    kind = draw(st.sampled_from((OperationKind.CREATE, OperationKind.DESTROY)))
    hold = draw(st.booleans()) and kind is OperationKind.CREATE
    wanted = Wanted.ABSENT if kind is OperationKind.DESTROY else one.wanted
    operation = OperationRef(id=one.id, kind=kind, started="2026-03-01T11:00:00Z", hold=hold)
    return replace(one, operation=operation, wanted=wanted)
