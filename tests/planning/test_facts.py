from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.settings import QemuSettings
from tashictl.planning import facts
from tashictl.planning.facts import Probe
from tests.planning.cases import SETTINGS

GOLDEN = Path(__file__).parent / "golden" / "facts"  # captured on hosts of the lab
NONCE = "00112233aabbccdd"
EMPTY = (GOLDEN / "empty.txt").read_bytes()
TWO = (GOLDEN / "two-vms.txt").read_bytes()
NOW = datetime(2026, 11, 23, 7, 47, tzinfo=UTC)


def told(name: str, *lines: str) -> bytes:
    """A probe's answer with one section."""
    body = "\n".join(lines)
    return f"\n@{NONCE} B {name}\n{body}\n\n@{NONCE} Z\n".encode()


def test_a_host_without_vms_is_read() -> None:
    reading = facts.read(EMPTY, NONCE, NOW)

    assert reading is not None
    assert reading.kvm == "absent"
    found = reading.facts
    assert (found.arch, found.cores, found.memory_mib, found.accel) == ("x86_64", 2, 24105, "tcg")
    assert found.qemu_bin == "/usr/bin/qemu-system-x86_64"
    assert found.qemu_version == "7.2.22"
    assert {"pc=pc-i440fx-7.2", "pc-i440fx-7.2", "q35=pc-q35-7.2"} <= set(found.machine_types)
    assert (found.claimed_by, found.claimed_epoch, found.claimed_counter) == (
        "0123456789ab",
        1,
        2,
    )
    assert (found.missing, found.bridges, found.vms) == ((), ("vmbr",), ())
    (image,) = found.images
    assert (image.name, image.format, image.virtual_size_bytes) == (
        "demo.qcow2",
        "qcow2",
        0x1500000,
    )
    assert found.at == "2026-11-23T07:47:00Z"
    assert found.boot_id


@pytest.mark.parametrize(
    ("up", "booted"),
    [
        ("up 90", "2026-11-23T07:45:30Z"),
        ("up x", None),
        ("up 999999999999999999", None),
        ("", None),
    ],
)
def test_when_it_booted_is_known_by_its_uptime(up: str, booted: str | None) -> None:
    reading = facts.read(told("basics", up), NONCE, NOW)

    assert reading is not None
    assert reading.facts.booted == booted


def test_a_host_with_a_living_and_a_dead_vm_is_read() -> None:
    reading = facts.read(TWO, NONCE, NOW, accel="kvm")

    assert reading is not None
    assert (reading.kvm, reading.facts.accel) == ("", "kvm")  # it was not asked, and is kept
    living, dead = sorted(reading.facts.vms, key=lambda v: not v.alive)
    assert (living.alive, living.pid, living.starttime) == (True, 181, 537427)
    assert (dead.alive, dead.pid, dead.starttime) == (False, None, None)
    assert living.manifest is not None
    assert (living.manifest["name"], living.manifest["uuid"]) == ("web1", living.uuid)
    assert (living.fence, dead.fence) == ((1, 3, 1), (1, 4, 1))
    assert {i.name: i.format for i in reading.facts.images} == {
        "demo.qcow2": "qcow2",
        "sub dir/a b.img": "raw",
    }


@pytest.mark.parametrize("answer", [EMPTY, TWO])
def test_an_answer_that_is_cut_short_is_none(answer: bytes) -> None:
    whole = answer.rindex(b"Z")
    for length in (*range(0, whole, 97), whole - 1, whole):
        assert facts.read(answer[:length], NONCE, NOW) is None


def test_an_answer_of_another_question_is_none() -> None:
    assert facts.read(EMPTY, "ffeeddccbbaa9988", NOW) is None


def test_the_offset_is_the_hosts_clock_minus_ours() -> None:
    reading = facts.read(told("basics", f"time {int(NOW.timestamp()) + 90}"), NONCE, NOW)

    assert reading is not None
    assert reading.facts.clock_offset_s == 90


@pytest.mark.parametrize(
    ("answer", "accel"),
    [
        ("usable", "kvm"),
        ("absent", "tcg"),
        ("forbidden", "tcg"),
        ("hangs", "tcg"),
        ("refused", "tcg"),
    ],
)
def test_only_a_kvm_that_ran_a_guest_is_used(answer: str, accel: str) -> None:
    reading = facts.read(told("kvm", answer), NONCE, NOW, accel="kvm")

    assert reading is not None
    assert (reading.kvm, reading.facts.accel) == (answer, accel)


def test_each_port_that_something_listens_on_is_read_once() -> None:
    reading = facts.read(told("basics", "port 22007", "port 22001", "port 22007"), NONCE, NOW)

    assert reading is not None
    assert reading.facts.ports == (22001, 22007)


def test_without_qemu_there_is_neither_binary_nor_version() -> None:
    reading = facts.read(told("qemu"), NONCE, NOW)

    assert reading is not None
    assert (reading.facts.qemu_bin, reading.facts.qemu_version) == (None, None)
    assert reading.facts.machine_types == ()


@pytest.mark.parametrize(
    "lines",
    [
        ("",),
        ("x",),
        ("1 2",),
        ("1 514649fb", "garbage"),
        ("-1 514649fb 0 a",),
        ("² 514649fb 0 a",),
        ("1 514649fb zz a",),
        ("9" * 5000 + " 514649fb 0 a",),
        ("1 514649fb " + "f" * 400 + " a",),
    ],
)
def test_a_line_that_is_no_image_is_left_out(lines: tuple[str, ...]) -> None:
    reading = facts.read(told("images", *lines, "0   empty.img", "7 61 61 a b"), NONCE, NOW)

    assert reading is not None
    assert [(i.name, i.size_bytes) for i in reading.facts.images] == [("empty.img", 0), ("a b", 7)]


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\N{SNOWMAN}", '{"a":' * 5000]
)
def test_a_manifest_that_cannot_be_read_hides_no_vm(manifest: str) -> None:
    reading = facts.read(told("vm some-uuid", "alive 1", f"manifest {manifest}"), NONCE, NOW)

    assert reading is not None
    (vm,) = reading.facts.vms
    assert (vm.uuid, vm.alive, vm.manifest) == ("some-uuid", True, None)


@pytest.mark.parametrize("fence", ["", "1", "1 2", "1 x 2", "² 2 3", "1 2 " + "9" * 5000, "-1 2 3"])
def test_a_fence_that_cannot_be_read_is_none(fence: str) -> None:
    reading = facts.read(told("vm u", "alive 0", f"fence {fence}"), NONCE, NOW)

    assert reading is not None
    assert reading.facts.vms[0].fence is None


lines = st.lists(st.text(max_size=40), max_size=12)
heads = st.sampled_from(
    ["B basics", "B qemu", "B images", "B kvm", "B vm", "B vm u", "B", "", "E 0 0", "R late", "Z"]
)
words = st.sampled_from(["time ", "cores ", "cluster ", "alive ", "pid ", "fence ", "machine ", ""])


@given(st.lists(st.tuples(heads, st.lists(st.tuples(words, st.text(max_size=20)), max_size=5))))
@example([("B vm", [])])
@example([("B basics", [("cores ", "²"), ("cluster ", "c ² ³")])])
@example([("B basics", [("time ", "9" * 5000)])])
@example([("B qemu", [("", "version"), ("", "QEMU version")])])
def test_no_answer_at_all_makes_it_raise(
    sections: list[tuple[str, list[tuple[str, str]]]],
) -> None:
    out = "".join(
        f"\n@{NONCE} {head}\n" + "".join(f"{word}{text}\n" for word, text in body)
        for head, body in sections
    )

    facts.read(f"{out}\n@{NONCE} Z\n".encode(), NONCE, NOW)


@given(st.integers(0, len(TWO) - 1), st.binary(min_size=1, max_size=3))
def test_no_broken_byte_makes_it_raise(place: int, put: bytes) -> None:
    facts.read(TWO[:place] + put + TWO[place + len(put) :], NONCE, NOW)


# -- the question


def test_the_probe_asks_for_kvm_only_when_told() -> None:
    asked = facts.script(Probe(settings=SETTINGS, cpu="qemu64,enforce"), NONCE)
    unasked = facts.script(Probe(settings=SETTINGS, cpu="qemu64", kvm=False), NONCE)

    assert "/dev/kvm" in asked.text
    assert "CPU=qemu64,enforce\n" in asked.text
    assert "/dev/kvm" not in unasked.text
    for script in (asked, unasked):
        assert not script.changing
        assert (script.steps, script.fence) == ((), None)


def test_a_configured_binary_is_the_one_that_is_looked_for() -> None:
    own = replace(SETTINGS, qemu=QemuSettings(qemu_bin="/opt/qemu"))

    assert "BINARIES=/opt/qemu\n" in facts.script(Probe(settings=own, cpu="x"), NONCE).text
