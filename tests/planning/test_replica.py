"""The replica of the state: what is in it, who keeps it."""

import gzip
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import NotPermitted, OperationFailed
from tashictl.model.host import HostConfig, HostRecord
from tashictl.model.settings import Secret
from tashictl.model.state import Meta, Quarantined, State
from tashictl.model.vm import Observed, OperationKind, OperationRef, Seen, Wanted
from tashictl.planning import replica
from tests.planning import cases

CLUSTER = "0123456789ab"


def a_state(**values: Any) -> State:
    """Two VMs on one host, an image, an address in quarantine."""
    usual: dict[str, Any] = {
        "meta": Meta(cluster=CLUSTER, epoch=2, generation=41, last_vm_id=2, last_operation_id=17),
        "vms": {1: cases.vm(1), 2: cases.vm(2, operation=None)},
        "hosts": {"node1": HostRecord(id=1, name="node1", up=True, facts=cases.facts())},
        "images": {"demo.qcow2": cases.image()},
        "quarantine": {
            "1/10.0.0.9": Quarantined(
                network=1, ip="10.0.0.9", until="2026-03-02T12:00:00Z", why="web9 is gone"
            )
        },
    }
    return State(**{**usual, **values})


def test_what_is_read_of_a_replica_is_the_state() -> None:
    assert replica.read(replica.content(a_state()), CLUSTER) == a_state()


def test_the_seal_says_whose_it_is_and_how_new() -> None:
    data = replica.content(a_state())
    first, _, packed = data.partition(b"\n")
    seal = msgspec.json.decode(first)
    assert (seal["format"], seal["schema"]) == ("tashictl-replica", 4)
    assert (seal["cluster"], seal["epoch"], seal["generation"]) == (CLUSTER, 2, 41)
    assert len(gzip.decompress(packed)) == seal["size"]
    assert data == replica.content(a_state())


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_replica_with_any_bit_changed_is_refused_or_the_same(place: int, flip: int) -> None:
    data = bytearray(replica.content(a_state()))
    data[place % len(data)] ^= flip
    try:
        found = replica.read(bytes(data), CLUSTER)
    except OperationFailed as error:
        assert error.code == "E-REPLICA"
    except NotPermitted as error:
        assert error.code == "E-SCHEMA"
    else:
        assert found == a_state()  # a bit that says nothing: gzip's time, an epoch of the seal


@given(st.binary(max_size=200))
def test_nonsense_is_no_replica(data: bytes) -> None:
    with pytest.raises(OperationFailed):
        replica.read(data, CLUSTER)


def test_a_replica_of_another_cluster_is_refused() -> None:
    with pytest.raises(OperationFailed, match="damaged"):
        replica.read(replica.content(a_state()), "ffffffffffff")


def test_a_replica_that_was_cut_is_refused() -> None:
    data = replica.content(a_state())
    for size in range(len(data) - 10):  # gzip's own check of the end is not needed
        with pytest.raises(OperationFailed):
            replica.read(data[:size], CLUSTER)


def test_no_field_of_the_state_can_hold_a_secret() -> None:
    names = set(_fields(State, set()))
    words = ("secret", "password", "passwd", "key", "token", "userdata", "user_data", "cloud")
    assert [n for n in names if any(w in n for w in words)] == []


def _fields(kind: Any, seen: set[Any]) -> Iterator[str]:
    assert kind is not Secret
    if kind in seen:
        return
    seen.add(kind)
    for part in get_args(kind):
        yield from _fields(part, seen)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.name
            yield from _fields(field.type, seen)


def test_the_digest_is_deaf_to_what_every_sweep_changes() -> None:
    state = a_state()
    seen = Observed(what=Seen.RUNNING, at="2026-03-01T13:00:00Z", boot_id="b-1")
    record = state.hosts["node1"]
    later = replace(
        state,
        meta=replace(state.meta, generation=99, last_operation_id=18),
        vms={i: replace(vm, observed=seen, pid=7, reason="x") for i, vm in state.vms.items()},
        hosts={"node1": replace(record, up=False, last_contact="x", facts=None, seen_operation=9)},
    )
    assert replica.digest(later) == replica.digest(state)


def _changed() -> Iterator[State]:
    state = a_state()
    vm = state.vms[2]
    for other in (
        replace(vm, name="other"),
        replace(vm, wanted=Wanted.PAUSED),
        replace(vm, host="node2"),
        replace(vm, held=True),
        replace(vm, generation=2),
        replace(vm, user="ops"),
        replace(vm, spec=replace(vm.spec, memory_mib=4096)),
        replace(vm, operation=OperationRef(id=18, kind=OperationKind.DESTROY, started="x")),
    ):
        yield replace(state, vms={**state.vms, 2: other})
    yield replace(state, vms={1: state.vms[1]})
    yield replace(state, images={})
    yield replace(state, quarantine={})
    yield replace(state, hosts={"node1": replace(state.hosts["node1"], notes="the fan is loud")})
    yield replace(state, meta=replace(state.meta, epoch=3))
    yield replace(state, meta=replace(state.meta, last_vm_id=3))


@pytest.mark.parametrize("changed", list(_changed()))
def test_the_digest_hears_of_what_a_rebuild_needs(changed: State) -> None:
    assert replica.digest(changed) != replica.digest(a_state())


racks = st.sampled_from([None, "r1", "r2", "r3", "r4"])
clusters = st.dictionaries(st.from_regex(r"n[0-9]{1,3}", fullmatch=True), racks, max_size=12)


def hosts_of(found: dict[str, str | None]) -> list[HostConfig]:
    return [HostConfig(name=name, address=name, rack=rack) for name, rack in found.items()]


@given(clusters)
def test_as_many_keep_it_as_can_and_on_different_racks_if_there_are(
    found: dict[str, str | None],
) -> None:
    kept = replica.keepers(hosts_of(found))
    assert len(set(kept)) == len(kept) == min(3, len(found))
    places = [found[name] or name for name in kept]
    every = {rack or name for name, rack in found.items()}
    assert len(set(places)) == min(3, len(every))


@given(clusters, st.randoms(use_true_random=False))
def test_the_order_of_the_hosts_does_not_matter(found: dict[str, str | None], chance: Any) -> None:
    hosts = hosts_of(found)
    before = replica.keepers(hosts)
    chance.shuffle(hosts)
    assert replica.keepers(hosts) == before


@given(clusters)
def test_a_host_that_goes_moves_only_its_own_copy(found: dict[str, str | None]) -> None:
    bare = dict.fromkeys(found)
    kept = replica.keepers(hosts_of(bare))
    for gone in bare:
        rest = replica.keepers(hosts_of({n: None for n in bare if n != gone}))
        assert set(kept) - {gone} <= set(rest)
