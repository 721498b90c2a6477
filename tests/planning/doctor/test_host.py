"""What is said of a host: the requirements of `host check` under their ids, and what is more."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.script import Fault
from tashictl.model.vm import Machine, NicSpec, Vm, VmSpec
from tashictl.planning.doctor import host, reading, table
from tashictl.planning.doctor.findings import Finding, Severity
from tashictl.planning.doctor.reading import Examined
from tests.planning.doctor import cases
from tests.planning.doctor.cases import LAN, TAGGED

OK, NOTE, WARNING, ERROR = Severity.OK, Severity.NOTE, Severity.WARNING, Severity.ERROR


def seen(facts: dict[str, Any] | None = None, ground: dict[str, Any] | None = None) -> Examined:
    """The golden answer with facts changed."""
    found = cases.read()
    assert found.reading.ground is not None
    changed = replace(
        found.reading,
        facts=replace(found.reading.facts, **{"claimed_by": None, **(facts or {})}),
        ground=replace(found.reading.ground, **(ground or {})),
    )
    return replace(found, reading=changed)


def vm(name: str, machine: str | None = "pc-i440fx-7.2", network: int = 1) -> Vm:
    frozen = Machine(type=machine, cpu="x") if machine else None
    spec = VmSpec(machine=frozen, nics=(NicSpec(index=0, network=network, mac="52:54:00:0:0:1"),))
    return Vm(
        id=1, name=name, uuid="u", user="dev", spec=spec, created="2026-01-01T00:00:00Z", host="h1"
    )


def of(check: str, at: Examined, subject: Any = None) -> Finding:
    return cases.found(at, subject or cases.subject())[check]


def test_a_host_of_the_lab_has_nothing_but_the_file_that_was_spoilt() -> None:
    assert cases.unwell(seen(), cases.subject()) == ["net.ifup"]


def test_every_id_is_in_the_table_and_every_one_of_hosts_can_be_found() -> None:
    known = {c.id for c in table.HOST}
    everything = {f.id for f in cases.found(seen(), cases.subject(LAN, TAGGED)).values()}

    assert everything <= known
    # Where no systemd is, nobody ends anything at a logout; the others are found below.
    rest = {"host.added", "host.logout", "kvm.hangs", "kvm.cpu"}
    assert known - everything == rest


def test_ids_are_told_once_and_what_is_a_fault_has_a_remedy() -> None:
    assert len({c.id for c in table.CHECKS}) == len(table.CHECKS)
    cases.found(cases.read("sick"), cases.subject(LAN, TAGGED, vms=(vm("a", "pc-9"),), added=False))


@pytest.mark.parametrize(
    ("check", "severity", "at"),
    [
        ("host.login", ERROR, seen(ground={"uid": 5, "user": "ops"})),
        ("host.tools", ERROR, seen({"missing": ("flock",)})),
        ("host.tun", ERROR, seen(ground={"tun": "absent"})),
        ("host.claim", ERROR, seen({"claimed_by": "f" * 12})),
        ("qemu.version", ERROR, seen({"qemu_version": "6.2.0"})),
        ("host.memory", ERROR, seen({"memory_mib": 300})),
        ("ssh.sockets", ERROR, seen(ground={"forwarding": "no", "relay": ""})),
        ("ssh.sockets", NOTE, seen(ground={"forwarding": "no", "relay": "socat"})),
        ("host.memory-free", WARNING, seen(ground={"available_mib": 100})),
        ("host.systemd", NOTE, seen(ground={"systemd": False})),
        ("host.systemd", OK, seen(ground={"systemd": True})),
        ("host.logout", ERROR, seen(ground={"uid": 5, "systemd": True, "kills_at_logout": True})),
    ],
)
def test_requirements_have_ids_of_the_doctor(check: str, severity: Severity, at: Examined) -> None:
    assert of(check, at).severity is severity


def test_little_room_is_a_warning_and_none_an_error() -> None:
    def folder(free_mib: int) -> Finding:
        whole = seen().reading.ground
        assert whole is not None
        images = replace(whole.folders["images"], free_mib=free_mib)
        return of("disk.images", seen(ground={"folders": {**whole.folders, "images": images}}))

    assert folder(9000).severity is OK
    assert folder(500).severity is WARNING
    assert folder(3).severity is ERROR
    assert "df -h" in folder(3).remedy


def test_a_host_that_was_not_added_is_a_note() -> None:
    found = of("host.added", seen(), cases.subject(added=False))

    assert (found.severity, found.remedy) == (NOTE, "tashictl host add h1")


def test_a_host_that_gave_no_answer_is_an_error_with_the_remedy_of_host_check() -> None:
    found = host.unreached(cases.subject(), Fault.REFUSED, "connection refused", "")

    assert (found.id, found.severity) == ("host.reach", ERROR)
    assert "openssh-server" in found.remedy


# -- the clock


def clock(ahead_s: float, late_s: float = 0.0, took_s: float = 2.0) -> Finding:
    """A host that is ahead, whose answer is read `late_s` after its end."""
    answer = cases.out()
    end = cases.clock_of(answer)
    answer = answer.replace(
        b"B basics\ntime " + str(int(end.timestamp())).encode(),
        f"B basics\ntime {int(end.timestamp() - took_s)}".encode(),
    )
    ours = end - timedelta(seconds=ahead_s)
    found = reading.read(answer, cases.NONCE, ours + timedelta(seconds=late_s))
    assert found is not None
    return of("host.clock", found, cases.subject(asked_s=ours.timestamp() - took_s))


@pytest.mark.parametrize(
    ("ahead_s", "severity"),
    [
        (0, OK),
        (2, OK),
        (-2, OK),
        (4, WARNING),
        (-4, WARNING),
        (50, WARNING),
        (70, ERROR),
        (-70, ERROR),
    ],
)
def test_a_clock_is_judged_by_seconds(ahead_s: int, severity: Severity) -> None:
    assert clock(ahead_s).severity is severity


def test_an_answer_that_is_read_late_makes_no_clock_wrong() -> None:
    assert clock(0, late_s=20).severity is OK
    assert clock(-30, late_s=20).severity is WARNING
    assert clock(30, late_s=20).severity is WARNING
    assert clock(0, took_s=30).severity is OK


# -- memory, QEMU, KVM


def test_swap_is_told_when_half_of_it_is_used() -> None:
    def swap(total: int, free: int) -> Finding:
        words = f"swaptotal_kib {total << 20}\nswapfree_kib {free << 20}"
        return of("host.swap", cases.read(doctor=words))

    assert swap(0, 0).evidence == "none"
    assert swap(4, 3).severity is OK
    assert swap(4, 1).severity is WARNING
    assert "3 GiB of 4 GiB used" in swap(4, 1).evidence


def test_machine_types_that_a_host_lost_are_told_with_their_vms() -> None:
    at = cases.subject(vms=(vm("web1"), vm("web2", "pc-i440fx-9.9"), vm("web3", "pc-i440fx-9.9")))
    found = of("qemu.machines", seen(), at)

    assert found.severity is ERROR
    assert "does not have pc-i440fx-9.9 (web2, web3)" in found.evidence
    others = (vm("web1"), vm("fresh", None), vm("adopted", "microvm"))
    assert of("qemu.machines", seen(), cases.subject(vms=others)).severity is OK


def test_without_machine_types_the_missing_qemu_is_told_and_nothing_more() -> None:
    bare = seen({"machine_types": (), "qemu_version": None})
    found = cases.found(bare, cases.subject(vms=(vm("web1"),)))

    assert "qemu.machines" not in found
    assert found["qemu.version"].severity is ERROR


@pytest.mark.parametrize(
    ("kvm", "check", "severity", "forced"),
    [
        ("absent", "kvm.present", WARNING, ERROR),
        ("forbidden", "kvm.present", WARNING, ERROR),
        ("hangs", "kvm.hangs", WARNING, ERROR),
        ("refused", "kvm.cpu", NOTE, ERROR),
    ],
)
def test_each_way_to_be_without_kvm_has_an_id(
    kvm: str, check: str, severity: Severity, forced: Severity
) -> None:
    at = seen(ground={"cpu_flag": "vmx"})
    at = replace(at, reading=replace(at.reading, kvm=kvm))
    found = cases.found(at, cases.subject())

    assert found[check].severity is severity
    assert [i for i in found if i.startswith("kvm.") and found[i].severity is not OK] == [
        check,
        f"{check}/",
    ]
    assert of(check, at, cases.subject(accel="kvm")).severity is forced


def test_kvm_that_hangs_is_told_in_words_and_numbers() -> None:
    answer = cases.read(kvm="hangs")
    found = cases.found(answer, cases.subject())

    assert "did not end in 3 s" in found["kvm.hangs"].evidence
    assert found["kvm.present"].severity is OK


def test_kvm_is_well_where_it_is_used_or_not_wanted() -> None:
    usable = cases.found(cases.read(kvm="usable"), cases.subject())
    assert [usable[i].severity for i in ("kvm.present", "kvm.hangs", "kvm.cpu")] == [OK] * 3
    assert of("kvm.present", cases.read(), cases.subject(accel="tcg")).severity is OK


# -- sshd, AppArmor, the module of VLANs


@pytest.mark.parametrize(
    ("told", "check", "severity"),
    [
        ("by effective\nmaxsessions 10\nmaxstartups 10:30:100", "ssh.max-sessions", OK),
        ("by effective\nmaxsessions 9", "ssh.max-sessions", WARNING),
        ("by effective\nmaxstartups 4:30:10", "ssh.max-startups", WARNING),
        ("by files\nmaxstartups 3", "ssh.max-startups", WARNING),
        ("by files", "ssh.max-sessions", OK),
        ("", "ssh.max-sessions", OK),
        ("by files\nmaxsessions lots", "ssh.max-sessions", OK),
    ],
)
def test_limits_of_sshd_that_are_too_small_are_told(
    told: str, check: str, severity: Severity
) -> None:
    found = of(check, cases.read(sshd=told))

    assert found.severity is severity
    assert severity is OK or "systemctl reload ssh" in found.remedy


def test_a_host_without_ssh_is_not_asked_for_its_sshd() -> None:
    found = cases.found(cases.read(), cases.subject(transport="local"))

    assert not [i for i in found if i.startswith("ssh.")]


@pytest.mark.parametrize(
    ("profiles", "severity"),
    [
        ("/usr/bin/qemu-system-x86_64 (enforce)", WARNING),
        ("qemu-system-x86_64 (enforce)", WARNING),
        ("/usr/bin/qemu-system-x86_64 (complain)", OK),
        ("libvirtd (enforce)\nlibvirt-7c1e//qemu_bridge_helper (enforce)", OK),
        ("", OK),
    ],
)
def test_apparmor_is_told_where_it_confines_qemu(profiles: str, severity: Severity) -> None:
    seen_ = cases.read(doctor="apparmor Y", profiles=profiles)

    assert of("host.apparmor", seen_).severity is severity


def test_what_apparmor_enforces_is_nothing_where_it_is_off() -> None:
    found = of("host.apparmor", cases.read(profiles="qemu-system-x86_64 (enforce)"))

    assert (found.severity, found.evidence) == (OK, "not enabled")


@pytest.mark.parametrize(
    ("state", "severity", "steps"),
    [("loaded", OK, 0), ("loadable", WARNING, 1), ("absent", ERROR, 0), ("unknown", ERROR, 0)],
)
def test_the_module_of_vlans_is_asked_for_only_by_vlans(
    state: str, severity: Severity, steps: int
) -> None:
    seen_ = cases.read(doctor=f"vlan {state}")

    found = of("net.vlan-module", seen_, cases.subject(LAN, TAGGED))
    assert (found.severity, len(found.steps)) == (severity, steps)
    assert "net.vlan-module" not in cases.found(seen_, cases.subject(LAN))
