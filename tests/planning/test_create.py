import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import InvalidRequest
from tashictl.model.settings import QemuSettings
from tashictl.model.steps import (
    AddTap,
    AwaitQmp,
    CheckImage,
    CreateOverlay,
    KillQemu,
    RemoveDir,
    RemoveTap,
    StartQemu,
    StepClass,
    WriteIfup,
    WriteManifest,
)
from tashictl.model.vm import DiskSpec, NicSpec, VmSpec
from tashictl.planning import create, destroy, scripts
from tests.planning.cases import IFUP, LAB, LAN, SETTINGS, facts, host, vm

TWO = VmSpec(
    disks=(
        DiskSpec(index=0, name="demo.qcow2"),
        DiskSpec(index=1, name="data/big.img", persistent=True, format="raw"),
    ),
    nics=(
        NicSpec(index=0, network=1, mac="52:54:00:00:00:01"),
        NicSpec(index=1, network=7, mac="52:54:00:00:00:02"),
    ),
)
VM = vm(spec=TWO)
PLAN = create.plan(VM, host(), (LAN, LAB), SETTINGS, IFUP)
FOLDER = f"/var/lib/tashi/0123456789ab/{VM.uuid}"


def test_the_manifest_comes_first_and_the_greeting_last() -> None:
    assert [s.name for s in PLAN] == [
        "WriteManifest",
        "CreateOverlay",
        "CheckImage",
        "WriteIfup",
        "WriteIfup",
        "AddTap",
        "AddTap",
        "StartQemu",
        "WriteManifest",
        "AwaitQmp",
    ]


def test_there_is_one_pivot_and_all_before_it_can_be_undone() -> None:
    *before, last = PLAN

    assert last.step_class is StepClass.PIVOT
    assert {s.step_class for s in before} == {StepClass.REVERSIBLE}


def test_every_step_names_the_vm_and_its_folders() -> None:
    for step in PLAN:
        assert (step.host, step.uuid, step.folder) == ("node1", VM.uuid, FOLDER)
        assert step.run_folder == f"/run/tashi/0123456789ab/{VM.uuid}"


def test_the_manifest_holds_all_that_a_rebuild_needs() -> None:
    first = PLAN[0]

    assert isinstance(first, WriteManifest)
    found = json.loads(first.manifest)
    assert (found["uuid"], found["generation"], found["phase"]) == (VM.uuid, 1, "creating")
    assert (found["cluster"], found["operation"], found["id"]) == ("0123456789ab", 17, 1)
    assert found["spec"]["machine"]["type"] == "pc-i440fx-7.2"
    assert "\n" not in first.manifest
    assert f'"uuid":"{VM.uuid}"' in first.manifest
    assert '"generation":1,' in first.manifest


def test_the_running_manifest_is_open_for_what_only_the_host_knows() -> None:
    step = PLAN[8]

    assert isinstance(step, WriteManifest)
    assert step.add_started
    assert json.loads(step.manifest + ',"started":{}}')["phase"] == "running"


def test_an_overlay_lies_in_the_vms_folder_and_a_persistent_disk_where_it_is() -> None:
    overlay, check = PLAN[1], PLAN[2]

    assert isinstance(overlay, CreateOverlay)
    assert overlay.path == f"{FOLDER}/disk0.qcow2"
    assert overlay.base == "/var/lib/tashi/shared/images/demo.qcow2"
    assert isinstance(check, CheckImage)
    assert check.path == "/var/lib/tashi/shared/images/data/big.img"
    assert check.image_folder == overlay.image_folder == "/var/lib/tashi/shared/images"


def test_each_network_has_its_script_and_each_interface_its_tap() -> None:
    ifups = [s for s in PLAN if isinstance(s, WriteIfup)]
    taps = [s for s in PLAN if isinstance(s, AddTap)]

    assert [s.path for s in ifups] == ["/etc/qemu-ifup.1", "/etc/qemu-ifup.7"]
    assert ["vmbr\n" in s.content for s in ifups] == [True, False]
    assert [(s.tap, s.ifup) for s in taps] == [
        ("tashi1.0", "/etc/qemu-ifup.1"),
        ("tashi1.1", "/etc/qemu-ifup.7"),
    ]


@pytest.mark.parametrize(
    ("configured", "of_host", "seen", "accel"),
    [
        ("auto", None, "tcg", "tcg"),
        ("auto", None, "kvm", "kvm"),
        ("auto", "auto", "kvm", "kvm"),
        ("tcg", None, "kvm", "tcg"),
        ("tcg", "kvm", "tcg", "kvm"),
        ("auto", "tcg", "kvm", "tcg"),
    ],
)
def test_the_accelerator_is_the_hosts_unless_somebody_says_which(
    configured: str, of_host: str | None, seen: str, accel: str
) -> None:
    settings = replace(SETTINGS, qemu=QemuSettings(accel=configured))
    on = host(config={"accel": of_host}, record={"facts": facts(accel=seen)})

    argv = create.start(vm(), on, settings).argv

    text = argv[argv.index("-accel") + 1]
    assert text.split(",")[0].removeprefix("accel=") == accel


def test_a_hosts_shutdown_waits_for_the_guest_as_configured() -> None:
    settings = replace(SETTINGS, qemu=QemuSettings(powerdown_timeout_s=7.0))

    assert create.start(VM, host(), SETTINGS).powerdown_s == 60
    assert create.start(VM, host(), settings).powerdown_s == 7
    text = scripts.body(create.start(VM, host(), settings))
    assert "TimeoutStopSec=17" in text and '[ "$i" -lt 14 ]' in text


def test_the_binaries_are_the_configured_one_or_those_of_the_architecture() -> None:
    own = replace(SETTINGS, qemu=QemuSettings(qemu_bin="/opt/qemu"))

    assert create.binaries(own) == ("/opt/qemu",)
    assert create.binaries(SETTINGS, "aarch64")[0] == "qemu-system-aarch64"


def test_a_network_without_a_bridge_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        create.plan(VM, host(), (LAN, replace(LAB, bridge=None)), SETTINGS, IFUP)

    assert "lab" in caught.value.what


# -- undo


def test_the_undo_of_everything_is_the_destroy() -> None:
    undone = create.undo(PLAN, range(len(PLAN)))

    assert [s.name for s in undone] == ["KillQemu", "RemoveTap", "RemoveTap", "RemoveDir"]
    assert set(undone) == set(destroy.plan(VM, SETTINGS, ()))


def test_the_undo_is_newest_first_and_only_of_what_was_begun() -> None:
    assert create.undo(PLAN, ()) == ()
    assert [s.name for s in create.undo(PLAN, (0, 1, 2))] == ["RemoveDir"]
    assert [type(s) for s in create.undo(PLAN, (0, 5, 6))] == [RemoveTap, RemoveTap, RemoveDir]
    assert create.undo(PLAN, (5, 6))[0] == RemoveTap(
        host="node1",
        uuid=VM.uuid,
        folder=FOLDER,
        run_folder=PLAN[0].run_folder,
        tap="tashi1.1",
    )


@given(st.sets(st.integers(0, len(PLAN) - 1)))
def test_whatever_was_begun_nothing_of_it_is_forgotten(begun: set[int]) -> None:
    undone = create.undo(PLAN, begun)

    kinds = [type(PLAN[i]) for i in begun]
    assert sum(isinstance(s, KillQemu) for s in undone) == kinds.count(StartQemu)
    assert sum(isinstance(s, RemoveTap) for s in undone) == kinds.count(AddTap)
    assert sum(isinstance(s, RemoveDir) for s in undone) == (0 in begun)
    assert not undone or not isinstance(undone[-1], RemoveDir) or 0 in begun
    assert all(s.step_class is StepClass.FORWARD for s in undone)


def test_what_answers_is_asked_at_the_vms_own_socket() -> None:
    last = PLAN[-1]

    assert isinstance(last, AwaitQmp)
    assert last.socket == f"{last.run_folder}/qmp.sock"
