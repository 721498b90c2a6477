"""Names and addresses in operations: registered before QEMU starts, removed after it is gone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.network import Network
from tashictl.model.settings import DhcpSettings, DnsSettings, Server
from tashictl.ops import deferred, recover
from tashictl.ops import vm as ops
from tests.ops.looks import nothing_is_left
from tests.ops.stage import Stage, raw

NETWORK = Network(id=5, name="named", bridge="vmbr5", range="10.5.0.10-10.5.0.12", dhcp="isc-omapi")
FAR_S = 1e9


@pytest.fixture
def named(stage: Stage) -> Stage:
    """The stage with servers of names and a network of three addresses."""
    return with_servers(stage)


def with_servers(stage: Stage, policy: str = "required") -> Stage:
    settings = replace(
        stage.context.settings,
        dns=DnsSettings(
            server=Server(host="192.0.2.53", port=53), domain="ops.test", policy=policy
        ),
        dhcp=DhcpSettings(server=Server(host="192.0.2.67", port=7911), policy=policy),
    )
    networks = (*stage.context.inventory.networks, NETWORK)
    inventory = replace(stage.context.inventory, networks=networks)
    stage.context = replace(stage.context, settings=settings, inventory=inventory)
    return stage


def wish(name: str = "web1", nic: str = "named") -> ops.RawVm:
    return raw(name=name, nics=(nic,))


def test_a_created_vm_has_an_address_a_name_and_both_servers_know_it(named: Stage) -> None:
    vm = ops.create(named.world, named.context, wish())
    nic = vm.spec.nics[0]
    assert (nic.ip, nic.fqdn) == ("10.5.0.10", "web1.ops.test")
    assert nic.mac.startswith("52:54:00:" + named.context.settings.tashictl.cluster_id[:2])
    assert named.tables.dns["web1.ops.test"].addresses == ("10.5.0.10",)
    assert named.tables.dhcp["web1"].mac == nic.mac
    assert str(named.tables.dns["web1.ops.test"].owner).endswith(vm.uuid)


def test_registration_comes_before_anything_on_the_host_in_one_script_as_ever(
    named: Stage,
) -> None:
    ops.create(named.world, named.context, wish())
    view = named.journals.read(1)
    assert view is not None
    names = [s.name for s in view.header.plan]
    assert names[:3] == ["AddDhcp", "AddDns", "WriteManifest"]
    assert named.events.count("run") == 1


def test_a_destroyed_vm_leaves_no_name_and_its_address_rests(named: Stage) -> None:
    ops.create(named.world, named.context, wish())
    ops.destroy(named.world, named.context, "web1")
    assert (named.tables.dns, named.tables.dhcp) == ({}, {})
    kept = named.state.quarantine["5/10.5.0.10"]
    assert kept.resting
    again = ops.create(named.world, named.context, wish())
    assert again.spec.nics[0].ip == "10.5.0.11"


def test_who_asks_for_an_address_that_rests_may_have_it(named: Stage) -> None:
    ops.create(named.world, named.context, wish())
    ops.destroy(named.world, named.context, "web1")
    again = ops.create(named.world, named.context, wish(nic="named:10.5.0.10"))
    assert again.spec.nics[0].ip == "10.5.0.10"


def test_a_full_range_is_exit_8_with_numbers_and_nothing_is_recorded(named: Stage) -> None:
    for number in range(3):
        ops.create(named.world, named.context, wish(f"web{number}"))
    with pytest.raises(errors.NoCapacity) as caught:
        ops.create(named.world, named.context, wish("web9"))
    assert caught.value.code == "E-RANGE-FULL"
    assert "3 addresses, 3 of VMs" in caught.value.cause
    assert named.state.vm_named("web9") is None


def test_a_name_that_is_somebody_elses_fails_and_leaves_nothing(named: Stage) -> None:
    named.tables.foreign.add("web1.ops.test")
    with pytest.raises(errors.Conflict) as caught:
        ops.create(named.world, named.context, wish())
    assert caught.value.code == "E-DNS-FOREIGN"
    assert (named.tables.dns, named.tables.dhcp) == ({}, {})
    nothing_is_left(named)
    assert named.events.count("run") == 0  # no host heard of it
    assert named.state.hosts["node1"].up is True


@pytest.mark.parametrize("server", ["dns", "dhcp"])
def test_a_required_server_that_is_down_fails_a_creation_cleanly(named: Stage, server: str) -> None:
    named.tables.down.add(server)
    with pytest.raises(errors.Unreachable):
        ops.create(named.world, named.context, wish())
    assert (named.tables.dns, named.tables.dhcp) == ({}, {})
    nothing_is_left(named)
    assert named.state.hosts["node1"].up is True


def test_a_removal_that_a_required_server_does_not_answer_is_never_forgotten(
    named: Stage,
) -> None:
    vm = ops.create(named.world, named.context, wish())
    named.tables.down.add("dns")
    with pytest.raises(errors.Unreachable):
        ops.destroy(named.world, named.context, "web1")
    assert named.state.vms[vm.id].wanted.value == "absent"
    assert named.host().running == set()
    named.tables.down.clear()
    outcome = recover.settle(named.world, named.context, vm.id)
    assert outcome is not None and outcome.vm is None
    assert (named.tables.dns, named.tables.dhcp) == ({}, {})


def test_with_deferred_servers_a_vm_starts_and_the_work_waits(stage: Stage) -> None:
    late = with_servers(stage, "deferred")
    late.tables.down |= {"dns", "dhcp"}
    vm = ops.create(late.world, late.context, wish())
    assert vm.state.name == "Running"
    assert {key: work.add for key, work in late.state.deferred.items()} == {
        "dns/web1.ops.test": True,
        f"dhcp/{vm.spec.nics[0].mac}": True,
    }
    tried = deferred.work(late.world, late.context, FAR_S)
    assert [one.error is not None for one in tried] == [True, True]
    assert {work.tries for work in late.state.deferred.values()} == {2}
    late.tables.down.clear()
    deferred.work(late.world, late.context, FAR_S)
    assert late.state.deferred == {}
    assert set(late.tables.dns) == {"web1.ops.test"}
    assert set(late.tables.dhcp) == {"web1"}


def test_a_deferred_removal_keeps_its_address_and_mac_from_everybody(stage: Stage) -> None:
    late = with_servers(stage, "deferred")
    ops.create(late.world, late.context, wish())
    late.tables.down.add("dns")
    ops.destroy(late.world, late.context, "web1")
    assert late.state.vms == {}
    work = late.state.deferred["dns/web1.ops.test"]
    assert not work.add
    with late.store.transaction() as tx:
        tx.remove_quarantine("5/10.5.0.10")
    with pytest.raises(errors.Conflict) as caught:
        ops.create(late.world, late.context, wish("web2", "named:10.5.0.10"))
    assert caught.value.code == "E-QUARANTINE"
    late.tables.down.clear()
    deferred.work(late.world, late.context, FAR_S)
    assert (late.state.deferred, late.tables.dns) == ({}, {})


def test_a_removal_takes_the_place_of_a_registration_that_still_waits(stage: Stage) -> None:
    late = with_servers(stage, "deferred")
    late.tables.down.add("dns")
    ops.create(late.world, late.context, wish())
    assert late.state.deferred["dns/web1.ops.test"].add
    late.tables.down.clear()
    ops.destroy(late.world, late.context, "web1")
    assert (late.state.deferred, late.tables.dns) == ({}, {})


def test_a_waiting_registration_of_a_vm_that_is_gone_is_dropped(stage: Stage) -> None:
    late = with_servers(stage, "deferred")
    late.tables.down.add("dns")
    ops.create(late.world, late.context, wish())
    work = late.state.deferred["dns/web1.ops.test"]
    late.tables.down.clear()
    ops.destroy(late.world, late.context, "web1")
    with late.store.transaction() as tx:
        tx.put_deferred(work)
    deferred.work(late.world, late.context, FAR_S)
    assert (late.state.deferred, late.tables.dns) == ({}, {})
