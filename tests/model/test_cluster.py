from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.model.cluster import snapshot
from tashictl.model.host import HostConfig, HostRecord
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.state import Meta, State
from tashictl.model.vm import Observed, Seen, Vm, VmSpec, Wanted
from tests.planning.cases import facts

META = Meta(cluster="0123456789ab")


def a_vm(vm_id: int, host: str | None, cores: int = 1, memory_mib: int = 128, **more: Any) -> Vm:
    spec = VmSpec(cores=cores, memory_mib=memory_mib)
    return Vm(
        id=vm_id, name=f"v{vm_id}", uuid="", user="", created="", host=host, spec=spec, **more
    )


def state(*vms: Vm, added: tuple[str, ...] = ("a", "b"), **hosts: HostRecord) -> State:
    records = {n: HostRecord(id=i, name=n, facts=facts()) for i, n in enumerate(added, 1)}
    return State(meta=META, vms={v.id: v for v in vms}, hosts={**records, **hosts})


def hosts(*configs: HostConfig) -> Inventory:
    return Inventory(hosts=configs)


A, B, C = (HostConfig(name=n, address=n) for n in "abc")


def test_a_host_is_one_that_is_in_the_inventory_and_was_added() -> None:
    found = snapshot(state(added=("b", "gone")), hosts(A, B, C), 512)

    assert [h.name for h in found.hosts] == ["b"]
    assert found.host("b") is found.hosts[0]
    assert found.host("a") is None


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 4), st.integers(1, 999)))
)
def test_claims_are_summed_where_they_are(claims: list[tuple[str | None, int, int]]) -> None:
    vms = [a_vm(n, host, cores, mib) for n, (host, cores, mib) in enumerate(claims)]

    found = snapshot(state(*vms), hosts(A, B), 512)

    for host in found.hosts:
        mine = [c for c in claims if c[0] == host.name]
        assert host.vms == len(mine)
        assert host.used_cores == sum(c[1] for c in mine)
        assert host.free_cores == 4 - host.used_cores
        assert host.free_memory_mib == 4096 - 512 - sum(c[2] for c in mine)


def test_what_was_not_seen_to_end_still_claims() -> None:
    tombstone = a_vm(1, "a", wanted=Wanted.ABSENT, observed=Observed(what=Seen.UNKNOWN))

    assert snapshot(state(tombstone), hosts(A), 512).hosts[0].used_memory_mib == 128


@pytest.mark.parametrize(
    ("keys", "cores", "memory_mib", "reserved_mib"),
    [
        ({}, 4, 4096, 512),
        ({"cores": 2}, 2, 4096, 512),
        ({"cores": 99}, 4, 4096, 512),
        ({"memory_mib": 1024}, 4, 1024, 0),
        ({"memory_mib": 99999}, 4, 4096, 0),
        ({"reserved_memory_mib": 100}, 4, 4096, 100),
        ({"memory_mib": 1024, "reserved_memory_mib": 100}, 4, 1024, 100),
        ({"reserved_memory_mib": 0}, 4, 4096, 0),
    ],
)
def test_the_inventory_caps_what_a_host_offers(
    keys: dict[str, Any], cores: int, memory_mib: int, reserved_mib: int
) -> None:
    config = HostConfig(name="a", address="a", **keys)

    (host,) = snapshot(state(added=("a",)), hosts(config), 512).hosts

    assert (host.cores, host.memory_mib, host.reserved_memory_mib) == (
        cores,
        memory_mib,
        reserved_mib,
    )


def test_a_host_that_was_never_probed_offers_nothing() -> None:
    unseen = HostRecord(id=1, name="a")

    (host,) = snapshot(state(added=(), a=unseen), hosts(A), 512).hosts

    assert (host.cores, host.free_memory_mib) == (0, -512)


# -- looking things up


def test_a_vm_is_found_by_name_or_id() -> None:
    there = state(a_vm(7, None))

    assert there.vm_named("v7") is there.vm_named("7") is there.vms[7]
    assert there.vm_named("8") is None
    assert there.vm_named("v8") is None
    assert there.vm_named("") is None


def test_a_host_is_found_by_name_or_id() -> None:
    there = state()

    assert there.host_named("b") is there.host_named("2") is there.hosts["b"]
    assert there.host_named("9") is None


@pytest.mark.parametrize("text", ["²", "9" * 5000])
def test_a_digit_that_is_no_number_is_no_vm_and_no_host(text: str) -> None:
    assert state().vm_named(text) is None
    assert state().host_named(text) is None


LAN, LAB = Network(id=1, name="lan"), Network(id=7, name="lab")


def test_a_network_is_found_by_name_or_id() -> None:
    inventory = Inventory(networks=(LAN, LAB))

    assert inventory.network("lab") is inventory.network("7") is LAB
    assert inventory.network("07") is None
    assert inventory.host("a") is None


@pytest.mark.parametrize(
    ("networks", "configured", "found"),
    [
        ((), None, None),
        ((LAN,), None, 1),
        ((LAN, LAB), None, None),
        ((LAN, LAB), 7, 7),
        ((LAN, LAB), 9, None),
        ((LAN, Network(id=9, name="x", default=True)), 1, 9),
        (
            (Network(id=8, name="y", default=True), Network(id=9, name="x", default=True)),
            None,
            None,
        ),
        ((Network(id=8, name="y", default=True), Network(id=9, name="x", default=True)), 9, 9),
    ],
)
def test_the_default_network_is_the_flagged_the_configured_or_the_only_one(
    networks: tuple[Network, ...], configured: int | None, found: int | None
) -> None:
    network = Inventory(networks=networks).default_network(configured)

    assert (network.id if network else None) == found
