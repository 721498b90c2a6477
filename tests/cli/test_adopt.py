"""`state adopt` from the command line: the table, JSON, exit codes, what a dry run shows."""

from __future__ import annotations

import pytest

from tests.cli.office import Office
from tests.ops.test_adopt import OTHER, UUID, argv

FRAME = "\n@{nonce} {part}\n"


def by_hand(office: Office, *lines: tuple[int, tuple[str, ...]]) -> None:
    """node1 tells of these QEMUs, which run."""

    def probe(nonce: str) -> bytes:
        parts = []
        for pid, words in lines:
            data = b"".join(w.encode() + b"\0" for w in words).hex()
            parts.append(f"B qemu {pid} 99 1\n{data}\n2f\n")
        return "".join(FRAME.format(nonce=nonce, part=p) for p in (*parts, "Z")).encode()

    office.remote.probes["node1"] = probe
    office.remote.hosts["node1"].running |= {UUID, OTHER}


GOOD = (815, argv(UUID, "web7"))
BAD = (7, argv("", "old"))


def test_all_that_are_taken_in_are_listed_and_the_exit_code_is_0(office: Office) -> None:
    by_hand(office, GOOD)
    done = office.ok("state", "adopt", "node1")

    head, row = done.out.splitlines()
    assert head.split() == ["PID", "RESULT", "NAME", "ID", "CORES", "MEMORY"]
    assert row.split() == ["815", "adopted", "web7", "1", "1", "256", "MiB"]
    shown = office.ok("vm", "show", "web7", "-o", "json").json()
    assert (shown["state"], shown["disks"][0]["path"]) == ("Running", "/srv/a.img")
    assert office.ok("vm", "pause", "web7").out
    assert "no QEMUs that are not known" in office.ok("state", "adopt", "node1").err


def test_some_that_are_refused_are_partial(office: Office) -> None:
    by_hand(office, GOOD, BAD)
    done = office.run("state", "adopt", "node1", "-o", "json")

    assert done.code == 4
    assert done.error["code"] == "E-PARTIAL"
    assert done.json() == [
        {
            "pid": 7, "result": "refused", "name": "old", "id": None, "uuid": None,
            "host": "node1", "hint": done.json()[0]["hint"],
            "reason": "it was started without -uuid: nothing tells it from others for sure",
        },
        {
            "pid": 815, "result": "adopted", "name": "web7", "id": 1, "uuid": UUID,
            "host": "node1", "reason": None, "hint": None,
        },
    ]  # fmt: skip
    assert "tashictl event ack foreign-qemu:node1:7" in done.json()[0]["hint"]


def test_all_that_are_refused_are_a_conflict_with_why(office: Office) -> None:
    by_hand(office, BAD)
    done = office.run("state", "adopt", "node1")
    assert done.code == 5
    assert "7  refused  old" in done.out
    assert "cause: it was started without -uuid" in done.err
    assert "nothing was changed" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("node9",), 3),
        (("node3",), 3),
        (("node1", "9"), 3),
        (("node1", "0"), 2),
        (("node1", "x"), 2),
        (("node1", "-c", "nonsense"), 2),
        ((), 2),
    ],
)
def test_what_makes_no_sense_is_refused(office: Office, words: tuple[str, ...], code: int) -> None:
    by_hand(office, GOOD)
    assert office.run("state", "adopt", *words).code == code
    assert office.ok("vm", "list", "-o", "json").json() == []


def test_columns_are_told_without_asking_the_host(office: Office) -> None:
    assert "result" in office.ok("state", "adopt", "node1", "-c", "help").out
    assert office.remote.asked == []


def test_a_dry_run_shows_the_plan_and_changes_nothing(office: Office) -> None:
    by_hand(office, GOOD, BAD)
    before = office.everything()

    done = office.run("state", "adopt", "node1", "--dry-run")
    steps = office.run("state", "adopt", "node1", "--dry-run", "-o", "json").json()["steps"]

    assert done.code == 4
    assert "not pid 7, since it was started without -uuid" in done.out
    assert "would take in pid 815 as web7 (id 1)" in done.out
    assert "pid 815 with its monitor /run/q.sock; it runs on" in done.out
    assert [s["name"] for s in steps] == ["WriteManifest", "AdoptQemu", "WriteManifest", "AwaitQmp"]
    assert "run.lock" in steps[1]["script"]
    assert office.everything() == before
    by_hand(office, BAD)
    assert office.run("state", "adopt", "node1", "--dry-run").code == 5


def test_what_is_not_recorded_as_it_is_is_said(office: Office) -> None:
    by_hand(office, (815, (*argv(UUID, "My VM"), "-nic", "tap,ifname=t9")))
    done = office.ok("state", "adopt", "node1")
    assert "! adopted-7c1e0000: its -name 'My VM' is none of a VM" in done.err
    assert "is not recorded: it is on no network of the inventory" in done.err
