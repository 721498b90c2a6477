"""`--count N`: the names, what N VMs cannot share, and which names are taken."""

import pytest

from tashictl.planning import count
from tashictl.planning.request import RawVm


def asked(number: str, name: str = "web", **values: tuple[str, ...]) -> RawVm:
    return RawVm(**{"name": name, "disks": ("demo",), "count": number, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "first", "last"),
    [
        ("1", "web-0", "web-0"),
        ("2", "web-0", "web-1"),
        ("10", "web-0", "web-9"),
        ("11", "web-00", "web-10"),
        ("101", "web-000", "web-100"),
    ],
)
def test_names_count_from_zero_and_are_equally_wide(number: str, first: str, last: str) -> None:
    names, problems = count.names_of(asked(number))

    assert (names[0], names[-1], len(names)) == (first, last, int(number))
    assert problems == []


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "1.5", "251", "99999999", "²", "٣"])
def test_a_count_that_makes_no_sense_is_told(number: str) -> None:
    names, (problem,) = count.names_of(asked(number))

    assert names == ()
    assert problem.code == "E-COUNT"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"nics": ("lan:1.2.3.4",)}, "E-NIC"),
        ({"nics": ("lan::52:54:00:00:00:01",)}, "E-NIC"),
        ({"disks": ("demo:persistent",)}, "E-DISK"),
        ({"disks": ("demo:True",)}, "E-DISK"),
    ],
)
def test_what_is_for_one_vm_is_not_given_to_several(
    parts: dict[str, tuple[str, ...]], code: str
) -> None:
    assert [p.code for p in count.names_of(asked("2", **parts))[1]] == [code]
    assert count.names_of(asked("1", **parts))[1] == []


def test_a_nic_that_is_no_nic_is_told_elsewhere() -> None:
    assert count.names_of(asked("2", nics=("lan:1:2:3:4:5:6:7:8:9",)))[1] == []


def test_all_names_that_are_taken_are_in_one_conflict() -> None:
    names, _ = count.names_of(asked("12"))

    assert count.taken(names, ["web", "other-01"]) == []
    (one,) = count.taken(names, ["web-03", "db"])
    assert one.what == "there is a VM named web-03"
    (some,) = count.taken(names, ["web-03", "web-00"])
    assert some.what == "there are VMs named web-00, web-03"
    (many,) = count.taken(names, names)
    assert many.what.endswith("web-07 and 4 more")
    assert {e.exit_code for e in (one, some, many)} == {5}
