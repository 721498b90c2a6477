"""What was typed: every mistake is seen, all of them at once, with the contract's exit code."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import Conflict, InvalidRequest, Problems, TashiError, exit_code_of, raise_all
from tashictl.model import names
from tashictl.model.cluster import Host
from tashictl.model.state import Quarantined
from tashictl.model.vm import DiskSpec, NicSpec, VmSpec
from tashictl.planning import request
from tashictl.planning.request import Picture, RawVm
from tests.planning.cases import LAB, LAN, SETTINGS, cluster, host, image, inventory, vm

HOSTS = (host("node1", 1), host("node2", 2))
MACS = ("52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c")


def picture(*hosts: Host, **values: object) -> Picture:
    some = hosts or HOSTS
    known: dict[str, Any] = {
        "a": image("demo.qcow2"),
        "b": image("data/big.img", format="raw", sha256="9f3a"),
    }
    usual: dict[str, object] = {
        "cluster": cluster(*some, **known),
        "inventory": inventory(*some),
        "settings": SETTINGS,
    }
    return Picture(**{**usual, **values})  # type: ignore[arg-type]


def check(held_against: Picture | None = None, **typed: object) -> tuple[VmSpec, list[TashiError]]:
    raw = RawVm(**{"name": "web1", "disks": ("demo.qcow2",), **typed})  # type: ignore[arg-type]
    wish, problems = request.read(raw)
    spec, more = request.check(wish, held_against or picture(), iter(MACS))
    return spec, [*problems, *more]


def codes(problems: Iterable[TashiError]) -> list[str]:
    return [p.code for p in problems]


def test_a_small_request_becomes_a_spec_with_the_defaults() -> None:
    spec, problems = check()

    assert problems == []
    assert spec == VmSpec(
        cores=1,
        memory_mib=128,
        disks=(DiskSpec(index=0, name="demo.qcow2"),),
        nics=(NicSpec(index=0, network=1, mac=MACS[0]),),
    )


def test_a_full_request_becomes_a_spec() -> None:
    spec, problems = check(
        disks=("demo.qcow2", "data/big.img:persistent"),
        nics=("lab:10.0.0.7:52:54:00:12:34:56", "1"),
        cores="4",
        memory="2G",
        hints=("noAcpi=True", "targetHost=node2", "__internal=1"),
        host="2",
    )

    assert problems == []
    assert (spec.cores, spec.memory_mib) == (4, 2048)
    assert spec.disks[1] == DiskSpec(
        index=1, name="data/big.img", persistent=True, format="raw", sha256="9f3a"
    )
    assert spec.nics == (
        NicSpec(index=0, network=7, mac="52:54:00:12:34:56", ip="10.0.0.7"),
        NicSpec(index=1, network=1, mac=MACS[0]),
    )
    assert spec.hints == {"noAcpi": "True", "targetHost": "node2"}


# -- each part that is wrong

BAD_NAMES = [
    "",
    " ",
    "web 1",
    "web/1",
    "../web",
    "it's",
    'we"b',
    "$(reboot)",
    "`reboot`",
    "web\n1",
    "web1\n",
    "-web",
    "web-",
    "wéb",
    "ｗｅｂ",
    "²",
    "42",
    "x" * 64,
    "x" * 300,
    "Web",
    "web_1",
    "web.1",
    "web;rm",
    "\0",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    _, problems = check(name=name)

    assert codes(problems) == ["E-NAME"]
    assert repr(name) in problems[0].what
    assert problems[0].cause == names.NAME_RULE
    assert exit_code_of(problems[0]) == 2


@pytest.mark.parametrize(
    "memory",
    ["0", "-1", "2X", "0.5", "1.5", "", "G", "1e3", "0x10", "1 G B", "½", "²", "9" * 400, "nan"],
)
def test_a_bad_memory_is_refused(memory: str) -> None:
    _, problems = check(memory=memory)

    assert codes(problems) == ["E-MEMORY"]


@pytest.mark.parametrize("cores", ["0", "-1", "1.5", "", "two", "²", "٣", "9" * 400, " 1"])
def test_bad_cores_are_refused(cores: str) -> None:
    _, problems = check(cores=cores)

    assert codes(problems) == ["E-CORES"]


def test_more_than_the_limits_is_refused_and_the_option_named() -> None:
    _, problems = check(memory="8193", cores="9")

    assert codes(problems) == ["E-MEMORY", "E-CORES"]
    assert "maxMemory" in problems[0].what
    assert "maxCores" in problems[1].what


def test_the_limits_themselves_are_allowed() -> None:
    assert check(memory="8G", cores="8")[1] == []


@pytest.mark.parametrize(
    "disk",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        ".hidden",
        "a/.hidden",
        "a//b",
        "a/",
        "",
        "a b",
        "a,b",
        "it's",
        "$(reboot)",
        "a\nb",
        "a\n",
        "wéb",
        "-a",
        "x" * 201,
    ],
)
def test_a_disk_that_is_no_image_name_is_refused(disk: str) -> None:
    _, problems = check(disks=(disk,))

    assert codes(problems) == ["E-IMAGE"]
    assert repr(disk) in problems[0].what


@pytest.mark.parametrize("disk", ["demo.qcow2:", "demo.qcow2:ro", "demo.qcow2:true", "a:b:c"])
def test_a_disk_mode_that_is_unknown_is_refused(disk: str) -> None:
    assert codes(check(disks=(disk,))[1]) == ["E-DISK"]


def test_a_vm_needs_a_disk() -> None:
    assert codes(check(disks=())[1]) == ["E-DISK"]


def test_an_unknown_image_is_refused_with_those_that_are_near() -> None:
    _, problems = check(disks=("demo.raw",))

    assert codes(problems) == ["E-IMAGE"]
    assert problems[0].hint.startswith("demo.qcow2, data/big.img")
    assert exit_code_of(problems[0]) == 2


def test_an_unknown_network_is_refused_with_those_that_are_known() -> None:
    _, problems = check(nics=("dmz",))

    assert codes(problems) == ["E-NETWORK"]
    assert "lan" in problems[0].hint


@pytest.mark.parametrize("nic", ["lan:10.0.0", "lan:fd00::1", "lan:[x]", "lan:10.0.0.1:52:54"])
def test_a_nic_that_cannot_be_read_is_refused(nic: str) -> None:
    _, problems = check(nics=(nic,))

    assert codes(problems)[0] == "E-NIC"
    assert problems[0].hint == "NET[:IP[:MAC]]"


def test_without_a_default_network_one_must_be_named() -> None:
    plain = (replace(LAN, default=False), LAB)
    held = picture(inventory=inventory(*HOSTS, networks=plain))

    assert codes(check(held)[1]) == ["E-NETWORK"]
    assert check(held, nics=("lab",))[1] == []


def test_the_configured_default_network_is_taken() -> None:
    plain = (replace(LAN, default=False), LAB)
    limits = replace(SETTINGS.cluster, default_network=7)
    held = picture(
        inventory=inventory(*HOSTS, networks=plain), settings=replace(SETTINGS, cluster=limits)
    )

    assert check(held)[0].nics[0].network == 7


def test_two_interfaces_on_one_network_are_refused() -> None:
    assert codes(check(nics=("lan", "1"))[1]) == ["E-NIC"]


@pytest.mark.parametrize("typed", [{"host": "node9"}, {"hints": ("targetHost=node9",)}])
def test_an_unknown_host_is_refused_with_those_that_are_known(typed: dict[str, Any]) -> None:
    _, problems = check(**typed)

    assert codes(problems) == ["E-HOST"]
    assert problems[0].hint.startswith("node1, node2")


@pytest.mark.parametrize("hint", ["", "x", "=x"])
def test_a_hint_that_is_no_pair_is_refused(hint: str) -> None:
    assert codes(check(hints=(hint,))[1]) == ["E-HINT"]


def test_a_hint_that_is_unknown_or_has_no_meaning_is_refused() -> None:
    _, problems = check(hints=("nonesuch=1", "diskInterface=floppy"))

    assert len(problems) == 2
    assert {exit_code_of(p) for p in problems} == {2}


# -- conflicts


def with_vm(**values: object) -> Picture:
    there = vm(1, frozen=False, **{"name": "other", **values})
    return picture(cluster=cluster(*HOSTS, vms=(there,), a=image(), b=image("data/big.img")))


def test_a_name_that_is_taken_is_a_conflict() -> None:
    _, problems = check(with_vm(name="web1"))

    assert [type(p) for p in problems] == [Conflict]
    assert problems[0].code == "E-EXISTS"


@pytest.mark.parametrize(
    ("theirs", "ours", "conflicts"),
    [
        (True, "data/big.img:persistent", True),
        (True, "data/big.img", True),
        (False, "data/big.img:persistent", True),
        (False, "data/big.img", False),
    ],
)
def test_a_persistent_disk_has_one_user_and_no_overlay_upon_it(
    theirs: bool, ours: str, conflicts: bool
) -> None:
    spec = VmSpec(disks=(DiskSpec(index=0, name="data/big.img", persistent=theirs),))

    _, problems = check(with_vm(spec=spec), disks=(ours,))

    assert codes(problems) == ["E-DISK-IN-USE"] * conflicts


def test_a_disk_given_twice_is_refused_when_one_of_them_is_persistent() -> None:
    twice = ("data/big.img:persistent", "data/big.img")

    assert set(codes(check(disks=twice)[1])) == {"E-DISK"}
    assert check(disks=("demo.qcow2", "demo.qcow2"))[1] == []


def test_a_mac_that_is_taken_is_a_conflict_and_a_fresh_one_is_not_taken_again() -> None:
    spec = VmSpec(nics=(NicSpec(index=0, network=1, mac=MACS[0]),))
    held = with_vm(spec=spec)

    assert codes(check(held, nics=(f"lan::{MACS[0]}",))[1]) == ["E-MAC-IN-USE"]
    assert check(held)[0].nics[0].mac == MACS[1]


# -- all at once


def test_all_problems_come_at_once_and_usage_decides_the_code() -> None:
    _, problems = check(
        with_vm(name="web1"),
        disks=("debian-13", "demo.qcow2:x", "../x"),
        nics=("dmz", "lan:x"),
        cores="0",
        memory="2X",
        hints=("x",),
        host="node9",
    )

    assert set(codes(problems)) == {
        "E-IMAGE",
        "E-DISK",
        "E-NETWORK",
        "E-NIC",
        "E-CORES",
        "E-MEMORY",
        "E-HINT",
        "E-HOST",
        "E-EXISTS",
    }
    with pytest.raises(Problems) as caught:
        raise_all(problems)
    assert exit_code_of(caught.value) == 2


texts = st.text(max_size=30)


@given(texts, texts, texts, texts, texts, texts, texts)
@example("a\0b", "$(reboot)", "lan:[::1%$(x)]", "9" * 5000, "9" * 5000, "targetHost=\n", "\ud800")
def test_no_text_at_all_makes_it_raise(
    name: str, disk: str, nic: str, cores: str, memory: str, hint: str, on: str
) -> None:
    _, problems = check(
        name=name,
        disks=(disk,),
        nics=(nic,),
        cores=cores,
        memory=memory,
        hints=(hint,),
        host=on,
    )

    assert problems
    assert all(isinstance(p, InvalidRequest | Conflict) for p in problems)


def test_an_address_that_is_asked_for_lies_in_its_network_and_is_nobody_elses() -> None:
    lan = replace(LAN, cidr="10.0.0.0/24")
    there = vm(
        "db1",
        id=7,
        spec=VmSpec(nics=(NicSpec(index=0, network=lan.id, mac=MACS[2], ip="10.0.0.9"),)),
    )
    held = picture()
    held = replace(
        held,
        inventory=replace(held.inventory, networks=(lan,)),
        cluster=replace(held.cluster, vms=(there,), networks=(lan,)),
    )

    assert codes(check(held, nics=("lan:10.0.0.5",))[1]) == []
    outside, taken = (check(held, nics=(f"lan:{ip}",))[1] for ip in ("10.0.1.5", "10.0.0.9"))
    assert (codes(outside), exit_code_of(outside[0])) == (["E-NIC"], 2)
    assert (codes(taken), exit_code_of(taken[0])) == (["E-ADDRESS-IN-USE"], 5)
    assert "db1" in taken[0].what


def test_an_address_in_quarantine_is_refused_on_its_network_only() -> None:
    kept = Quarantined(network=1, ip="10.0.0.9", until="2026-03-02T12:00:00Z", why="web9 is gone")
    held = replace(picture(), quarantine=(kept,))

    (error,) = check(held, nics=("lan:10.0.0.9",))[1]
    assert (error.code, exit_code_of(error)) == ("E-QUARANTINE", 5)
    assert check(held, nics=("lan:10.0.0.8",))[1] == []
    assert check(held, nics=("lab:10.0.0.9",))[1] == []
