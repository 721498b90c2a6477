"""The machine is frozen once, completely, and in places that have room for what is plugged in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.errors import InvalidRequest, Problems, TashiError
from tashictl.model.vm import DiskSpec, Machine, NicSpec, VmSpec
from tashictl.planning import machine
from tests.planning import qemu_cases as cases


def freeze(spec: VmSpec, type_: str = "pc", accel: str = "tcg") -> Machine:
    settings = cases.settings(type_)
    found = machine.freeze(spec, uuid=cases.UUID, facts=cases.facts(accel=accel), settings=settings)
    assert found.machine is not None
    return found.machine


def by_id(found: Machine) -> dict[str, dict[str, str | int | bool]]:
    return {str(device["id"]): device for device in found.devices}


def specs() -> st.SearchStrategy[VmSpec]:
    return st.builds(
        lambda disks, nics, interface, model: VmSpec(
            disks=tuple(DiskSpec(index=i, name="a.img") for i in range(disks)),
            nics=tuple(
                NicSpec(index=i, network=i, mac=f"52:54:00:00:00:0{i}") for i in range(nics)
            ),
            hints={"diskInterface": interface, "nicModel": model},
        ),
        st.integers(0, 3),
        st.integers(0, 8),
        st.sampled_from(["virtio", "scsi", "ide"]),
        st.sampled_from(["virtio", "e1000", "e1000e", "rtl8139"]),
    )


def test_an_alias_is_what_the_host_says_it_is() -> None:
    facts = cases.facts(machine_types=("pc=pc-i440fx-rhel7.6.0", "pc-i440fx-rhel7.6.0"))
    assert machine.machine_type("pc", facts) == "pc-i440fx-rhel7.6.0"


@pytest.mark.parametrize(
    ("alias", "version", "type_"),
    [("pc", "7.2.22", "pc-i440fx-7.2"), ("q35", "10.0.2", "pc-q35-10.0")],
)
def test_an_alias_that_the_host_does_not_list_follows_its_version(
    alias: str, version: str, type_: str
) -> None:
    assert machine.machine_type(alias, cases.facts(version, machine_types=())) == type_


def test_a_versioned_machine_type_is_kept() -> None:
    assert machine.machine_type("pc-q35-6.2", cases.facts()) == "pc-q35-6.2"


@pytest.mark.parametrize("wanted", ["microvm", "isapc", "pc-i440fx-", "pc,accel=kvm", "", "none"])
def test_a_machine_without_a_layout_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        machine.machine_type(wanted, cases.facts())
    assert caught.value.code == "E-MACHINE"


def test_a_machine_type_that_the_host_lacks_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"pc-i440fx-8\.0"):
        machine.machine_type("pc-i440fx-8.0", cases.facts())


def test_an_alias_of_a_host_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="pc"):
        machine.machine_type("pc", cases.facts(machine_types=(), qemu_version=None))


def test_the_default_baseline_is_written_out_without_a_vendor() -> None:
    assert machine.cpu_text("x86-64-v2", "tcg") == (
        "qemu64-v1,+cx16,+lahf-lm,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3,-svm,enforce=on"
    )


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("x86-64-v1", "qemu64-v1,-svm,enforce=on"),
        ("x86-64-v2,+aes", machine.cpu_text("x86-64-v2", "tcg").replace(",enf", ",+aes,enf")),
        ("Skylake-Server-v4", "Skylake-Server-v4"),
        ("Skylake-Server,-hle", "Skylake-Server-v1,-hle"),
        ("max", "max"),
    ],
)
def test_a_cpu_model_names_its_version(model: str, text: str) -> None:
    assert machine.cpu_text(model, "tcg") == text


def test_the_levels_contain_each_other() -> None:
    flags = [
        set(re.findall(r"\+[^,]+", machine.cpu_text(f"x86-64-v{n}", "kvm"))) for n in (1, 2, 3)
    ]
    assert flags[0] < flags[1] < flags[2]


@pytest.mark.parametrize("model", ["x86-64-v9", "base", "", "a b", "max,path=/etc,", "$(id)"])
def test_a_cpu_that_is_none_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        machine.cpu_text(model, "kvm")
    assert caught.value.code == "E-CPU"


def test_the_cpu_of_the_host_needs_kvm() -> None:
    assert machine.cpu_text("host", "kvm") == "host"
    with pytest.raises(InvalidRequest, match="host"):
        machine.cpu_text("host", "tcg")


def test_only_a_guest_with_the_cpu_of_its_host_cannot_migrate() -> None:
    assert freeze(VmSpec()).migratable
    assert not freeze(VmSpec(hints={"cpumodel": "max"})).migratable
    assert not freeze(VmSpec(hints={"cpumodel": "host,-vmx"}), accel="kvm").migratable


def test_a_frozen_spec_comes_back_unchanged_whatever_the_host() -> None:
    first = cases.frozen("plain")
    other = cases.facts("10.0.1")
    again = machine.freeze(first, uuid="another", facts=other, settings=cases.settings("q35"))
    assert again is first


def test_freezing_only_adds_the_machine() -> None:
    spec, _, _ = cases.CASES["q35"]
    frozen = cases.frozen("q35")
    assert (frozen.disks, frozen.nics, frozen.hints) == (spec.disks, spec.nics, spec.hints)
    assert frozen.cores == spec.cores and frozen.memory_mib == spec.memory_mib


@pytest.mark.parametrize("name", cases.CASES)
def test_new_vms_get_the_machine_of_the_golden_file(name: str) -> None:
    assert cases.frozen(name).machine == cases.kept_machine(name)


@given(specs(), st.sampled_from(["pc", "q35"]))
def test_every_device_has_an_id_and_a_place_of_its_own(spec: VmSpec, type_: str) -> None:
    found = freeze(spec, type_)
    assert len(by_id(found)) == len(found.devices)
    places = set()
    for device in found.devices:
        keys = ("addr", "unit", "scsi-id", "index")
        place = (device.get("bus"), *(device.get(key) for key in keys))
        assert place not in places and place[1:] != (None,) * 4
        places.add(place)
    functions = [d for d in found.devices if d.get("bus") in ("pci.0", "pcie.0")]
    slots = {str(d["addr"]).split(".")[0] for d in functions}
    assert all(0x02 <= int(slot, 16) <= 0x1E for slot in slots)


@given(specs(), st.sampled_from(["pc", "q35"]))
def test_a_device_keeps_its_place_when_others_come_and_go(spec: VmSpec, type_: str) -> None:
    alone = VmSpec(disks=spec.disks[-1:], nics=spec.nics[-1:], hints=spec.hints)
    most, least = by_id(freeze(spec, type_)), by_id(freeze(alone, type_))
    assert {id_: most[id_] for id_ in least} == least


@given(specs(), st.sampled_from(["pc", "q35"]))
def test_a_bus_stands_before_what_lies_on_it(spec: VmSpec, type_: str) -> None:
    seen = {"pci.0", "pcie.0", *(f"ide.{n}" for n in range(6))}
    for device in freeze(spec, type_).devices:
        if "bus" in device:
            assert str(device["bus"]) in seen
        seen |= {str(device["id"]), f"{device['id']}.0"}


def test_disk_serials_fit_virtio_and_differ_among_vms_and_disks() -> None:
    uuids = (cases.UUID, "1f8fad5b-d9cb-469f-a165-70867728950e")
    found = [machine.serial(uuid, index) for uuid in uuids for index in (0, 15)]
    assert len(set(found)) == 4 and all(len(text) <= 20 for text in found)


def test_no_nic_brings_a_boot_rom_of_the_host() -> None:
    assert by_id(cases.frozen("q35").machine or Machine(type="", cpu=""))["nic1"]["romfile"] == ""


def test_no_acpi_is_a_machine_option() -> None:
    assert ("acpi", "off") in freeze(VmSpec(hints={"noAcpi": "True"})).options
    assert ("acpi", "on") in freeze(VmSpec(hints={"noAcpi": "False"})).options


@pytest.mark.parametrize(
    ("interface", "type_", "room"),
    [
        (i, t, machine.MAX_DISKS[i, t == "q35"])
        for i in ("virtio", "scsi", "ide")
        for t in ("pc", "q35")
    ],
)
def test_as_many_disks_as_there_is_room_for(interface: str, type_: str, room: int) -> None:
    disks = tuple(DiskSpec(index=i, name="a") for i in range(room + 1))
    hints = {"diskInterface": interface}
    freeze(VmSpec(disks=disks[:room], hints=hints), type_)
    with pytest.raises(InvalidRequest) as caught:
        freeze(VmSpec(disks=disks, hints=hints), type_)
    assert caught.value.code == "E-TOO-MANY"


def test_two_disks_with_one_index_are_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        freeze(VmSpec(disks=(DiskSpec(index=0, name="a"), DiskSpec(index=0, name="b"))))
    assert caught.value.code == "E-INDEX"


def test_all_problems_are_told_at_once() -> None:
    spec = VmSpec(hints={"clok": "x"})
    settings = cases.settings("vax", cpu_model="x86-64-v9", nic_model="ne1")
    with pytest.raises(Problems) as caught:
        machine.freeze(spec, uuid=cases.UUID, facts=cases.facts(), settings=settings)
    assert {p.code for p in caught.value.problems} == {"E-HINT", "E-MACHINE", "E-CPU", "E-SETTING"}


@given(st.dictionaries(st.sampled_from(["cpumodel", "diskInterface", "nicModel"]), st.text()))
def test_a_hint_is_understood_or_refused_and_never_more(hints: dict[str, str]) -> None:
    try:
        found = freeze(VmSpec(hints=hints), accel="kvm")
    except TashiError as problem:
        assert problem.exit_code == 2 or isinstance(problem, Problems)
    else:
        assert re.fullmatch(r"[A-Za-z0-9.,+=_-]+", found.cpu)
