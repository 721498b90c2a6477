"""QEMU's command line: the guest is what was frozen, and every text arrives as it was meant."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import InvalidRequest, Problems
from tashictl.model.vm import DiskSpec, Machine, NicSpec, VmSpec
from tashictl.planning import machine, qemu, qemu_hints
from tests.planning import qemu_cases as cases

# Text with all that means something to QEMU's options, to JSON or to a shell.
NASTY = st.text(
    st.one_of(st.sampled_from(",,==\"'\\ $()`;&|{}[]%#:/.~*?"), st.sampled_from("aZ0-é漢")),
    min_size=1,
    max_size=12,
)


def argv(spec: VmSpec, name: str = "web1", vm_id: int = 42, **other: object) -> tuple[str, ...]:
    arguments = {**cases.FOLDERS, "version": (7, 2, 22), "accel": "tcg", **other}
    return qemu.argv(cases.vm_of(spec, name, vm_id), **arguments)  # type: ignore[arg-type]


def refused(spec: VmSpec, **other: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        argv(spec, **other)  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize("version", cases.VERSIONS)
@pytest.mark.parametrize("name", cases.CASES)
def test_a_vm_frozen_earlier_gets_the_golden_command_line(name: str, version: str) -> None:
    spec = replace(cases.CASES[name][0], machine=cases.kept_machine(name))
    assert cases.argv_of(name, version, spec) == cases.kept_argv(name, version)


@pytest.mark.parametrize("version", cases.VERSIONS)
@pytest.mark.parametrize("name", cases.CASES)
def test_what_the_guest_sees_is_what_was_frozen(name: str, version: str) -> None:
    spec = cases.frozen(name)
    machine = cases.kept_machine(name)
    cores = str(spec.cores)
    assert cases.guest_visible(cases.argv_of(name, version, spec)) == {
        "machine": {"type": machine.type, **dict(machine.options)},
        "devices": list(machine.devices),
        "nodefaults": True,
        "-uuid": [cases.UUID],
        "-cpu": [machine.cpu],
        "-smp": [f"cpus={cores},maxcpus={cores},sockets=1,cores={cores},threads=1"],
        "-m": [f"size={spec.memory_mib}M"],
        "-rtc": ["base=utc,clock=host"],
        "-boot": ["strict=on,menu=off"],
    }


def test_a_forwarded_port_is_the_hosts_business_and_changes_nothing_in_the_guest() -> None:
    spec = cases.frozen("user")
    bridged = replace(spec, nics=tuple(replace(nic, ssh_port=None) for nic in spec.nics))
    user, tap = (json.loads(text) for text in cases.values(argv(spec), "-netdev"))

    assert user == {
        "type": "user",
        "id": "net0",
        "restrict": False,
        "hostfwd": [{"str": "tcp:127.0.0.1:22000-:22"}],
    }
    assert (tap["type"], tap["ifname"]) == ("tap", "tashi42.1")
    assert cases.guest_visible(argv(spec)) == cases.guest_visible(argv(bridged))
    assert (
        machine.freeze(
            replace(bridged, machine=None),
            uuid=cases.UUID,
            facts=cases.facts(),
            settings=cases.settings(),
        ).machine
        == spec.machine
    )


@pytest.mark.parametrize("name", cases.CASES)
def test_another_host_makes_the_same_guest(name: str) -> None:
    spec = cases.frozen(name)
    here = argv(spec)
    there = argv(spec, folder="/a", run_folder="/b", image_folder="/c", version=(10, 0, 3))
    assert here != there
    assert cases.guest_visible(here) == cases.guest_visible(there)


@pytest.mark.parametrize("name", cases.CASES)
@pytest.mark.parametrize("version", cases.VERSIONS)
def test_every_golden_file_says_whether_it_was_run(name: str, version: str) -> None:
    first = (cases.GOLDEN / f"{name}-{version}.argv").read_text(encoding="utf-8").split("\n")[0]
    assert first == f"# QEMU {version}: {cases.VERSIONS[version]}"


@given(name=NASTY, folder=NASTY, run_folder=NASTY, image_folder=NASTY)
def test_every_text_reaches_qemu_as_it_was_meant(
    name: str, folder: str, run_folder: str, image_folder: str
) -> None:
    words = argv(
        cases.frozen("plain"),
        name,
        folder=f"/{folder}",
        run_folder=f"/{run_folder}",
        image_folder=f"/{image_folder}",
    )
    assert cases.options(cases.values(words, "-name")[0])["guest"] == name
    assert cases.options(cases.values(words, "-vnc")[0])["vnc"] == f"unix:/{run_folder}/vnc.sock"
    monitor, button, console = (cases.options(text) for text in cases.values(words, "-chardev"))
    assert monitor["path"] == f"/{run_folder}/qmp.sock"
    assert button["path"] == f"/{run_folder}/monitor"
    assert console["path"] == f"/{run_folder}/serial.sock"
    assert console["logfile"] == f"/{folder}/console.log"
    assert cases.values(words, "-pidfile") == [f"/{run_folder}/qemu.pid"]
    disk = json.loads(cases.values(words, "-blockdev")[0])
    assert disk["file"]["filename"] == f"/{folder}/disk0.qcow2"
    assert disk["backing"]["file"]["filename"] == f"/{image_folder}/demo.qcow2"


def test_the_uuid_stands_in_a_word_of_its_own_behind_its_option() -> None:
    # The scripts recognise a VM's QEMU in /proc by exactly this.
    words = argv(cases.frozen("plain"))
    assert words[words.index("-uuid") + 1] == cases.UUID


def test_nothing_is_left_to_a_default_that_opens_something() -> None:
    words = argv(cases.frozen("q35"))
    assert {"-nodefaults", "-no-user-config"} <= set(words)
    assert cases.values(words, "-display") == ["none"]
    assert "-daemonize" not in words and "-D" not in words
    assert not [word for word in words if re.search(r"tcp|telnet|hostfwd|0\.0\.0\.0", word)]


def test_the_sandbox_denies_all_that_it_can() -> None:
    assert cases.values(argv(cases.frozen("plain")), "-sandbox") == [
        "enable=on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    ]


@pytest.mark.parametrize(
    ("memory_mib", "accel", "text"),
    [
        (128, "tcg", "accel=tcg,tb-size=32"),
        (1024, "tcg", "accel=tcg,tb-size=256"),
        (8192, "tcg", "accel=tcg,tb-size=512"),
        (128, "kvm", "kvm"),
    ],
)
def test_the_accelerator_is_always_said(memory_mib: int, accel: str, text: str) -> None:
    spec = replace(cases.frozen("plain"), memory_mib=memory_mib)
    assert cases.values(argv(spec, accel=accel), "-accel") == [text]


def test_an_unknown_accelerator_is_refused() -> None:
    assert refused(cases.frozen("plain"), accel="auto") == "E-ACCEL"


def test_an_overlay_lies_on_the_image_of_this_host_which_is_never_written() -> None:
    disk = json.loads(cases.values(argv(cases.frozen("plain")), "-blockdev")[0])
    assert (disk["driver"], disk["read-only"], disk["detect-zeroes"]) == ("qcow2", False, "unmap")
    base = disk["backing"]
    assert base["read-only"] is True and base["file"]["read-only"] is True
    assert base["driver"] == "qcow2"


def test_a_persistent_disk_is_the_image_itself() -> None:
    disk = json.loads(cases.values(argv(cases.frozen("pc-scsi")), "-blockdev")[1])
    assert disk["driver"] == "raw" and "backing" not in disk
    assert disk["file"]["filename"] == "/var/lib/tashi/shared/images/data/big.img"


@pytest.mark.parametrize("name", cases.CASES)
def test_every_file_is_locked_and_cached_with_flushes(name: str) -> None:
    for text in cases.values(argv(cases.frozen(name)), "-blockdev"):
        nodes = [json.loads(text)]
        nodes += [node["backing"] for node in nodes if "backing" in node]
        for node in nodes:
            assert node["file"]["locking"] == "on"
            assert node["cache"] == node["file"]["cache"] == {"direct": False, "no-flush": False}


def test_a_nic_finds_the_tap_that_was_made_for_it() -> None:
    words = argv(cases.frozen("q35"))
    taps = [json.loads(text) for text in cases.values(words, "-netdev")]
    assert [tap["ifname"] for tap in taps] == ["tashi42.0", "tashi42.1"]
    assert all(tap["script"] == tap["downscript"] == "no" for tap in taps)
    nics = [json.loads(text) for text in cases.values(words, "-device") if '"netdev"' in text]
    assert [nic["netdev"] for nic in nics] == [tap["id"] for tap in taps]


def test_a_tap_name_ends_at_fifteen_characters() -> None:
    words = argv(cases.frozen("plain"), vm_id=12345678)
    assert json.loads(cases.values(words, "-netdev")[0])["ifname"] == "tashi12345678.0"
    assert refused(cases.frozen("plain"), vm_id=123456789) == "E-TAP-NAME"


def test_a_socket_path_ends_at_107_bytes() -> None:
    longest = "/" + "r" * (107 - len("//serial.sock"))
    argv(cases.frozen("plain"), run_folder=longest)
    assert refused(cases.frozen("plain"), run_folder=longest + "r") == "E-SOCKET-PATH"
    assert refused(cases.frozen("plain"), run_folder=longest[:-1] + "é") == "E-SOCKET-PATH"


@pytest.mark.parametrize("folder", ["relative", "/a\nb", "/a\0", "/a\udcff", ""])
def test_a_folder_that_qemu_cannot_be_told_is_refused(folder: str) -> None:
    assert refused(cases.frozen("plain"), folder=folder) == "E-PATH"


def test_an_older_qemu_than_the_machine_is_refused() -> None:
    machine = replace(cases.kept_machine("plain"), type="pc-i440fx-9.1")
    spec = replace(cases.frozen("plain"), machine=machine)
    assert refused(spec, version=(8, 2)) == "E-QEMU-VERSION"
    argv(spec, version=(9, 1))
    argv(spec, version=(10, 0))


def test_a_qemu_before_7_2_is_refused() -> None:
    assert refused(cases.frozen("plain"), version=(7, 1, 9)) == "E-QEMU-VERSION"


def test_a_vm_that_is_not_frozen_has_no_command_line() -> None:
    assert refused(cases.CASES["plain"][0]) == "E-MACHINE"


def test_a_firmware_that_is_not_known_is_refused() -> None:
    machine = replace(cases.kept_machine("plain"), firmware="uefi")
    assert refused(replace(cases.frozen("plain"), machine=machine)) == "E-MACHINE"


def test_a_disk_that_was_not_frozen_is_refused() -> None:
    spec = cases.frozen("plain")
    more = (*spec.disks, DiskSpec(index=1, name="b.img"))
    assert refused(replace(spec, disks=more)) == "E-MACHINE"
    assert refused(replace(spec, nics=())) == "E-MACHINE"


@pytest.mark.parametrize(
    ("text", "version"),
    [("7.2.22", (7, 2, 22)), ("10.0.2 (Debian 1:10)", (10, 0, 2)), ("9.2.50-rc1", (9, 2, 50))],
)
def test_a_version_is_read_from_its_front(text: str, version: tuple[int, ...]) -> None:
    assert qemu.version_of(text) == version


@pytest.mark.parametrize("text", [None, "", "unknown", "7"])
def test_an_unknown_version_is_an_error(text: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        qemu.version_of(text)
    assert caught.value.code == "E-QEMU-VERSION"


def codes(**spec: object) -> list[str]:
    return sorted(problem.code for problem in qemu.problems(VmSpec(**spec)))  # type: ignore[arg-type]


def test_a_sound_request_has_no_problems() -> None:
    for name in cases.CASES:
        assert qemu.problems(cases.CASES[name][0]) == []


def test_all_problems_of_a_request_are_told_at_once() -> None:
    disks = (
        DiskSpec(index=0, name="../shadow"),
        DiskSpec(index=0, name="a", format="vmdk"),
        DiskSpec(index=1, name="b", source="iscsi"),
    )
    nics = (NicSpec(index=0, network=1, mac="01:00:5e:00:00:01"),)
    assert codes(disks=disks, nics=nics, arch="vax", cores=0, hints={"kernel": "x"}) == [
        "E-ARCH", "E-CORES", "E-DISK", "E-FORMAT", "E-HINT", "E-IMAGE-NAME", "E-INDEX", "E-MAC",
    ]  # fmt: skip


def test_more_nics_than_places_are_refused() -> None:
    nics = tuple(NicSpec(index=i, network=i, mac="52:54:00:00:00:01") for i in range(9))
    assert codes(nics=nics) == ["E-TOO-MANY"]
    assert codes(nics=nics[:8]) == []


def test_an_argv_of_a_bad_request_is_refused() -> None:
    spec = replace(cases.frozen("plain"), hints={"a": "b", "nicModel": "ne1"})
    with pytest.raises(Problems):
        argv(spec)


@pytest.mark.parametrize(
    "hints",
    [
        {"targetHost": "node3"}, {"targetHost": "17"}, {"allowElsewhere": "True"},
        {"densePack": "no"}, {"cpumodel": "Nehalem-v1,+aes,vendor=GenuineIntel"},
        {"diskInterface": "ide"}, {"nicModel": "e1000"}, {"noAcpi": "1"}, {"scratchSpace": "0"},
        {"subDomain": "lab.east"}, {"clock": "dynticks"}, {"__resume_source": "x"},
    ],
)  # fmt: skip
def test_a_known_hint_passes(hints: dict[str, str]) -> None:
    assert qemu.problems(VmSpec(hints=hints)) == []


@pytest.mark.parametrize(
    "hints",
    [
        {"targethost": "a"}, {"targetHost": "-a"}, {"allowElsewhere": "maybe"},
        {"densePack": ""}, {"cpumodel": "host,"}, {"cpumodel": "a -daemonize"},
        {"diskInterface": "virtio,addr=3"}, {"nicModel": "Virtio"}, {"noAcpi": "tru"},
        {"scratchSpace": "10"}, {"subDomain": "a..b"}, {"vmType": "pv"}, {"": ""},
        {"ramdisk": "/boot/x"},
    ],
)  # fmt: skip
def test_a_hint_that_means_nothing_is_told(hints: dict[str, str]) -> None:
    (problem,) = qemu.problems(VmSpec(hints=hints))
    assert problem.code == "E-HINT" and problem.hint


def test_the_clock_hint_is_noted_as_obsolete() -> None:
    (line,) = qemu_hints.notes(VmSpec(hints={"clock": "dynticks"}))
    assert line == "the hint clock is ignored: QEMU has no -clock any more"
    assert qemu_hints.notes(VmSpec()) == ()


def test_a_machine_survives_its_json() -> None:
    machine = cases.frozen("q35").machine
    assert isinstance(machine, Machine) and machine == cases.kept_machine("q35")
