"""Ports to guests of user networks: the first free one of the host that the VM gets."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.cluster import Cluster
from tashictl.model.network import Network
from tashictl.model.settings import PortRange
from tashictl.model.steps import AddTap, CheckPort, RemoveTap, StartQemu, WriteIfup
from tashictl.model.vm import NicSpec, Vm, VmSpec
from tashictl.planning import create, destroy, placement, ports
from tashictl.planning.placement import Want
from tests.planning.cases import IFUP, LAN, SETTINGS, cluster, facts, host, vm

USER = Network(id=3, name="user", mode="user")
FOUR = PortRange(first=22000, last=22003)
NIC = NicSpec(index=0, network=3, mac="52:54:00:00:00:03")
SPEC = VmSpec(nics=(NIC,))
MIXED = VmSpec(nics=(NIC, NicSpec(index=1, network=1, mac="52:54:00:00:00:01")))


def with_port(vm_id: int, port: int, on: str | None = "node1") -> Vm:
    spec = VmSpec(nics=(replace(NIC, ssh_port=port),))
    return vm(vm_id, host=on, spec=spec, frozen=False)


def around(*vms: Vm, seen: tuple[int, ...] = ()) -> Cluster:
    one = host("node1", 1, record={"facts": facts(ports=seen)})
    return replace(cluster(one, host("node2", 2), vms=vms), networks=(LAN, USER))


def assigned(spec: VmSpec, picture: Cluster) -> list[int | None]:
    given_ = ports.assign(spec, picture.hosts[0], picture, FOUR)
    return [nic.ssh_port for nic in given_.nics]


def test_the_first_port_that_no_vm_of_the_host_and_nothing_else_there_has_is_taken() -> None:
    elsewhere, waiting = with_port(8, 22000, "node2"), with_port(9, 22000, None)

    assert assigned(SPEC, around(elsewhere, waiting)) == [22000]
    assert assigned(SPEC, around(with_port(7, 22000))) == [22001]
    assert assigned(SPEC, around(with_port(7, 22001), seen=(22000, 22002))) == [22003]


def test_only_interfaces_on_user_networks_get_one_and_an_old_one_does_not_stay() -> None:
    assert assigned(MIXED, around()) == [22000, None]
    moved = VmSpec(nics=(replace(NIC, network=1, ssh_port=22000),))
    assert assigned(moved, around()) == [None]


@given(taken=st.sets(st.integers(22000, 22003)), seen=st.sets(st.integers(22000, 22003)))
def test_no_port_is_given_twice_and_a_host_without_one_is_refused(
    taken: set[int], seen: set[int]
) -> None:
    vms = tuple(with_port(port - 21000, port) for port in taken)
    picture = around(*vms, seen=tuple(seen))
    want = Want(name="web", user="dev", spec=SPEC, ssh_ports=FOUR)

    refusal = placement.refuse(picture.hosts[0], want, picture)

    if len(taken | seen) == 4:
        assert refusal is not None
        assert (refusal.refused_by, refusal.lasting) == ("ports", False)
        assert "22000-22003" in refusal.text
    else:
        assert refusal is None
        (port,) = assigned(SPEC, picture)
        assert port is not None and port not in taken | seen


def test_a_vm_without_a_user_network_needs_no_port() -> None:
    picture = around(seen=(22000, 22001, 22002, 22003))
    bridged = VmSpec(nics=MIXED.nics[1:])

    want = Want(name="web", user="dev", spec=bridged, ssh_ports=FOUR)
    assert placement.refuse(picture.hosts[0], want, picture) is None


def test_what_vms_of_ours_listen_on_is_not_held_against_the_host() -> None:
    found = ports.foreign(
        facts(ports=(22000, 22001, 22002)),
        "node1",
        [with_port(7, 22000), with_port(8, 22001, "node2")],
    )

    assert found.ports == (22001, 22002)


def test_a_user_network_has_no_tap_and_no_script_and_its_port_is_checked_before_the_start() -> None:
    made = vm(spec=replace(MIXED, nics=(replace(NIC, ssh_port=22001), MIXED.nics[1])))
    plan = create.plan(made, host(), (LAN, USER), SETTINGS, IFUP)

    assert [s.path for s in plan if isinstance(s, WriteIfup)] == ["/etc/qemu-ifup.1"]
    assert [s.tap for s in plan if isinstance(s, AddTap)] == ["tashi1.1"]
    check = next(i for i, s in enumerate(plan) if isinstance(s, CheckPort))
    assert plan[check] == replace(plan[check], port=22001)
    assert isinstance(plan[check + 1], StartQemu)
    gone = destroy.plan(made, SETTINGS, ())
    assert [s.tap for s in gone if isinstance(s, RemoveTap)] == ["tashi1.1"]
