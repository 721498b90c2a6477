"""VMs on networks of mode user: a port of the host each, another where it is taken."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.steps import AddTap, CheckPort
from tashictl.model.vm import DiskSpec, NicSpec, TashiState, Vm, VmSpec
from tashictl.ops import doors, vm
from tashictl.ops import host as host_ops
from tests.ops.hosts import Trouble
from tests.ops.stage import Stage, raw
from tests.ops.test_host import answer


@pytest.fixture
def user(stage: Stage) -> Stage:
    """The stage with one host and one network of mode user."""
    inventory = replace(
        stage.context.inventory,
        hosts=stage.context.inventory.hosts[:1],
        networks=(Network(id=1, name="user", mode="user", default=True),),
    )
    stage.context = replace(stage.context, inventory=inventory)
    return stage


def create(stage: Stage, name: str) -> Vm:
    world, context = stage.world, stage.context
    return doors.past_taken_ports(world, lambda: vm.create(world, context, raw(name)))


def looked_at(*more: str) -> Callable[[str], bytes]:
    """What a look at the host finds: the image, room, and `more`."""
    basics = "\n".join(("time 1772366400", "arch x86_64", "cores 4", "memory_kib 4194304", *more))
    return answer(basics=basics, images="5 514649fb 0000000000100000 demo.qcow2")


def vm_that_waits(stage: Stage) -> Vm:
    """A VM that no host had room for."""
    spec = VmSpec(
        disks=(DiskSpec(index=0, name="demo.qcow2"),),
        nics=(NicSpec(index=0, network=1, mac="52:54:00:00:00:01"),),
    )
    with stage.store.transaction() as tx:
        made = Vm(
            id=tx.next_vm_id(),
            name="web1",
            uuid="7c1e0000-0000-4000-8000-0000000000aa",
            user="dev",
            spec=spec,
            created="2026-03-01T12:00:00Z",
        )
        tx.put_vm(made)
    return made


def port(made: Vm) -> int | None:
    return made.spec.nics[0].ssh_port


def test_each_vm_of_a_host_has_a_port_and_a_destroyed_one_gives_it_back(user: Stage) -> None:
    assert [port(create(user, name)) for name in ("web1", "web2")] == [22000, 22001]
    vm.destroy(user.world, user.context, "web1")
    assert port(create(user, "web3")) == 22000
    steps = [step for script in user.remote.scripts for step in script.steps]
    assert not [step for step in steps if isinstance(step, AddTap)]
    assert '"ssh_port":22000' in "".join(user.host().manifests.values())


def test_a_taken_port_is_found_out_and_another_is_tried(user: Stage) -> None:
    user.remote.upon("CheckPort", Trouble.FAILS, Trouble.FAILS)

    made = create(user, "web1")

    assert (port(made), made.state) == (22002, TashiState.Running)
    checked = [
        step.port
        for script in user.remote.scripts
        for step in script.steps
        if isinstance(step, CheckPort)
    ]
    assert checked == [22000, 22001, 22002]
    assert list(user.state.vms) == [made.id]
    assert port(create(user, "web2")) == 22003


def test_where_every_port_is_taken_it_is_an_error_and_nothing_is_left(user: Stage) -> None:
    user.remote.upon("CheckPort", *[Trouble.FAILS] * 9)

    with pytest.raises(errors.StepFailed) as caught:
        create(user, "web1")

    assert caught.value.code == "E-CHECKPORT"
    assert user.state.vms == {}
    assert user.host().empty


def test_what_waits_takes_another_port_the_next_time(user: Stage) -> None:
    held = replace(vm_that_waits(user), held=True)
    with user.store.transaction() as tx:
        tx.put_vm(held)
    user.remote.upon("CheckPort", Trouble.FAILS)

    ((made, error),) = vm.schedule(user.world, user.context)
    assert error is not None and made.state is TashiState.Held
    ((made, error),) = vm.schedule(user.world, user.context)

    assert (error, made.state, port(made)) == (None, TashiState.Running, 22001)


def test_another_failure_is_not_tried_again(user: Stage) -> None:
    user.remote.upon("StartQemu", Trouble.FAILS)

    with pytest.raises(errors.StepFailed):
        create(user, "web1")

    assert not user.remote.asked


def test_a_look_at_the_host_does_not_take_its_own_vms_for_strangers(user: Stage) -> None:
    create(user, "web1")
    user.remote.probes["node1"] = looked_at("port 22000", "port 22001")

    host_ops.check(user.world, user.context, user.context.inventory.hosts)

    facts = user.state.hosts["node1"].facts
    assert facts is not None
    assert facts.ports == (22001,)


def test_a_network_that_became_a_bridge_gives_no_port_to_what_was_held(user: Stage) -> None:
    user.remote.upon("StartQemu", Trouble.FAILS)
    vm_that_waits(user)
    ((held, error),) = vm.schedule(user.world, user.context)
    assert error is not None and held.state is TashiState.Held and port(held) == 22000
    lan = Network(id=1, name="lan", bridge="vmbr", default=True)
    inventory = replace(user.context.inventory, networks=(lan,))

    ((runs, error),) = vm.schedule(user.world, replace(user.context, inventory=inventory))

    assert (error, runs.state, port(runs)) == (None, TashiState.Running, None)


def test_the_way_in_is_said_as_it_is_typed_on_the_host(user: Stage) -> None:
    made = create(user, "web1")
    here = replace(
        user.context.inventory,
        hosts=(HostConfig(name="node1", address="node1", transport="local"),),
    )

    assert doors.ways_in(made, here) == ["ssh -p 22000 root@127.0.0.1"]
    assert doors.ways_in(made, user.context.inventory) == ["on node1: ssh -p 22000 root@127.0.0.1"]
    assert doors.ways_in(replace(made, host=None), here) == []


def test_a_create_that_could_not_be_undone_is_not_tried_again(user: Stage) -> None:
    user.remote.upon("CheckPort", Trouble.FAILS)
    user.remote.upon("RemoveDir", Trouble.UNSENT)

    with pytest.raises(errors.StepFailed) as caught:
        create(user, "web1")

    assert caught.value.leftovers
    assert [v.name for v in user.state.vms.values()] == ["web1"]
