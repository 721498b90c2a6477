"""Addresses from ranges: which is next, what is never given out, and the numbers of a full one."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.state import Quarantined
from tashictl.planning import pool
from tashictl.planning.pool import Held

LAN = Network(id=7, name="lan", cidr="10.7.0.0/24", range="10.7.0.10-10.7.0.19")
SIX = Network(id=8, name="six", cidr6="2001:db8::/64", range6="2001:db8::10-2001:db8::1f")
NOBODY = Held()
NONE = Inventory()


def test_the_first_vm_gets_the_first_address_and_each_next_one_the_next() -> None:
    found = [pool.choose(LAN, NONE, NOBODY, v6=False, turn=t) for t in range(12)]
    assert found[:3] == ["10.7.0.10", "10.7.0.11", "10.7.0.12"]
    assert found[10:] == ["10.7.0.10", "10.7.0.11"]


def test_an_address_that_is_held_rests_or_waits_is_passed_over() -> None:
    resting = Quarantined(network=7, ip="10.7.0.11", until="2026-01-01T00:00:00Z", why="")
    taken = Held(
        vms={"10.7.0.10": "web"},
        resting={"10.7.0.11": resting},
        waiting=frozenset({"10.7.0.12"}),
    )
    assert pool.choose(LAN, NONE, taken, v6=False, turn=0) == "10.7.0.13"
    assert pool.choose(LAN, NONE, taken, v6=False, turn=10) == "10.7.0.13"


def test_what_belongs_to_the_network_its_servers_and_its_hosts_is_never_given_out() -> None:
    network = Network(
        **{**_fields(LAN), "range": "10.7.0.0-10.7.0.7", "exclude": ("10.7.0.4-10.7.0.5",)},
        gateway="10.7.0.1",
        dns=("10.7.0.2",),
    )
    inventory = Inventory(
        hosts=(
            HostConfig(name="node1", address="10.7.0.3"),
            HostConfig(name="node2", address="node2", host_addresses=("lan=10.7.0.6/24",)),
        ),
        networks=(network,),
    )
    found = {pool.choose(network, inventory, NOBODY, v6=False, turn=t) for t in range(30)}
    assert found == {"10.7.0.7"}


def test_ipv6_ranges_may_be_larger_than_anything_that_can_be_counted() -> None:
    huge = Network(id=8, name="six", range6="2001:db8::1-2001:db8:0:0:ffff:ffff:ffff:ffff")
    taken = Held(vms={f"2001:db8::{n:x}": "x" for n in range(1, 500)})
    assert pool.choose(huge, NONE, taken, v6=True, turn=0) == "2001:db8::1f4"
    assert pool.choose(SIX, NONE, NOBODY, v6=True, turn=3) == "2001:db8::13"


def test_a_full_range_is_told_with_numbers() -> None:
    resting = Quarantined(network=7, ip="10.7.0.19", until="2026-01-01T00:00:00Z", why="")
    network = Network(**{**_fields(LAN), "exclude": ("10.7.0.10-10.7.0.11",)})
    taken = Held(vms={f"10.7.0.{n}": "x" for n in range(12, 19)}, resting={"10.7.0.19": resting})
    assert pool.choose(network, NONE, taken, v6=False, turn=4) == ""
    said = pool.count(network, NONE, taken, v6=False)
    assert said == (
        "10 addresses, 7 of VMs, 2 kept out, 1 resting, the first until 2026-01-01T00:00:00Z"
    )


@given(
    size=st.integers(1, 40),
    taken=st.sets(st.integers(0, 39)),
    spans=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 6)), max_size=4),
    turn=st.integers(0, 200),
    v6=st.booleans(),
)
def test_the_choice_is_the_first_free_one_from_the_turn_on_as_a_plain_loop_finds_it(
    size: int, taken: set[int], spans: list[tuple[int, int]], turn: int, v6: bool
) -> None:
    base = int(ip_address("2001:db8::100" if v6 else "10.0.0.100"))

    def text(n: int) -> str:
        return str(ip_address(base + n) if not v6 else ip_address((base + n).to_bytes(16, "big")))

    span = f"{text(0)}-{text(size - 1)}"
    out = tuple(f"{text(a)}-{text(a + b)}" for a, b in spans)
    network = Network(
        id=1,
        name="n",
        range=None if v6 else span,
        range6=span if v6 else None,
        exclude=out,
    )
    shut = {n for a, b in spans for n in range(a, a + b + 1)}
    held = Held(vms={text(n): "x" for n in taken})
    order = [(turn + k) % size for k in range(size)]
    free = [text(n) for n in order if n not in taken and n not in shut]
    assert pool.choose(network, NONE, held, v6=v6, turn=turn) == (free[0] if free else "")


def _fields(network: Network) -> dict[str, object]:
    return {"id": network.id, "name": network.name, "cidr": network.cidr, "range": network.range}
