"""What `host check` writes down of the VMs on the hosts that it looks at."""

from collections.abc import Callable

from msgspec.structs import replace

from tashictl.model.vm import TashiState, Vm, Wanted
from tashictl.ops import host as ops
from tashictl.ops import vm as vm_ops
from tests.ops.stage import CLUSTER, Stage, raw
from tests.ops.test_host import answer

BASICS = "time 1772366400\nboot_id {boot}\nup 60\ncores 4\nmemory_kib 4194304\nbridge vmbr"


def made(stage: Stage) -> Vm:
    """A VM that runs on node1."""
    vm = vm_ops.create(stage.world, stage.context, raw(host="node1"))
    stage.report.notes.clear()
    return vm


def a_host(vm: Vm, *lines: str, boot: str = "b-1", claim: str = CLUSTER) -> Callable[[str], bytes]:
    """A probe's answer with a section for the VM."""
    basics = BASICS.format(boot=boot) + f"\ncluster {claim} 1 1"
    return answer(**{"basics": basics, f"vm {vm.uuid}": "\n".join(lines)})


def look(stage: Stage, vm: Vm) -> Vm:
    """The VM's record after `host check node1`."""
    ops.check(stage.world, stage.context, stage.context.inventory.hosts[:1])
    return stage.state.vms[vm.id]


def test_a_vm_that_has_ended_is_exited_and_told(stage: Stage) -> None:
    vm = made(stage)
    stage.remote.probes["node1"] = a_host(vm, "alive 0", boot=vm.observed.boot_id or "")

    seen = look(stage, vm)

    assert (seen.state, seen.reason) == (TashiState.Exited, "its QEMU ended")
    assert stage.report.notes == [f"{vm.name} on node1 is Exited: its QEMU ended"]


def test_a_reboot_of_the_host_is_the_reason(stage: Stage) -> None:
    vm = made(stage)
    stage.clock.passed_s += 3600
    stage.remote.probes["node1"] = a_host(vm, "alive 0", boot="another")

    assert look(stage, vm).reason == "host rebooted 2026-03-01 12:59 UTC"


def test_a_host_that_does_not_answer_orphans_it_until_it_does(stage: Stage) -> None:
    vm = made(stage)
    stage.remote.probes["node1"] = lambda _nonce: b"half an answer"

    lost = look(stage, vm)
    stage.remote.probes["node1"] = a_host(vm, "alive 1", "pid 5")
    found = look(stage, vm)

    assert (lost.state, found.state) == (TashiState.Orphaned, TashiState.Running)
    assert stage.report.notes == [
        f"{vm.name} on node1 is Orphaned: its host does not answer",
        f"{vm.name} on node1 is Running",
    ]


def test_what_is_as_it_was_is_not_told(stage: Stage) -> None:
    vm = made(stage)
    stage.clock.passed_s += 60
    stage.remote.probes["node1"] = a_host(vm, "alive 1", "pid 5")

    seen = look(stage, vm)

    assert (seen.state, seen.observed.at) == (TashiState.Running, "2026-03-01T12:01:00Z")
    assert stage.report.notes == []


def test_a_record_that_changed_while_the_host_was_asked_is_newer(stage: Stage) -> None:
    vm = made(stage)

    def meanwhile(nonce: str) -> bytes:
        with stage.store.transaction() as tx:
            tx.put_vm(replace(tx.state.vms[vm.id], wanted=Wanted.PAUSED))
        return a_host(vm, "alive 0")(nonce)

    stage.remote.probes["node1"] = meanwhile

    assert look(stage, vm).state is TashiState.Running


def test_vms_of_other_hosts_are_not_spoken_for(stage: Stage) -> None:
    vm = vm_ops.create(stage.world, stage.context, raw(host="node2"))
    stage.remote.probes["node1"] = answer()

    assert look(stage, vm) == vm


def test_a_host_that_another_cluster_took_says_nothing_of_ours(stage: Stage) -> None:
    vm = made(stage)
    stage.remote.probes["node1"] = a_host(vm, "alive 0", claim="f" * 12)

    assert look(stage, vm) == vm


def test_when_half_of_the_hosts_are_silent_at_once_nothing_of_that_is_written_down(
    stage: Stage,
) -> None:
    vm = made(stage)
    for name in ("node1", "node2"):
        stage.remote.probes[name] = lambda _nonce: b"half an answer"

    ops.check(stage.world, stage.context, stage.context.inventory.hosts)

    assert stage.state.vms[vm.id].state is TashiState.Running
    assert stage.state.hosts["node1"].up is not False
    assert "this machine may be the one that is cut off" in stage.report.warnings[0]
