from tashictl.model.steps import KillQemu, RemoveDir, RemoveTap, StepClass
from tashictl.planning import destroy
from tests.planning.cases import SETTINGS, vm


def test_the_qemu_ends_before_its_tap_and_its_folder_go() -> None:
    plan = destroy.plan(vm(), SETTINGS, ())

    assert [type(s) for s in plan] == [KillQemu, RemoveTap, RemoveDir]
    assert {s.step_class for s in plan} == {StepClass.FORWARD}
    assert {(s.host, s.uuid) for s in plan} == {("node1", vm().uuid)}


def test_a_vm_without_a_host_needs_no_step() -> None:
    assert destroy.plan(vm(host=None), SETTINGS, ()) == ()
