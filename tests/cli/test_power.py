"""The verbs of power from the command line: words, exit codes, one table, a dry run."""

from __future__ import annotations

import pytest

from tests.cli.office import CREATE, Office
from tests.ops.hosts import Trouble

COUNT = ("vm", "create", "web", "--count", "3", "--disk", "demo.qcow2")


def test_each_verb_says_what_is_true_then(office: Office) -> None:
    office.ok(*CREATE)

    assert office.ok("vm", "pause", "web1").out == "web1 is Paused on node1\n"
    assert office.ok("vm", "unpause", "web1").out == "web1 is Running on node1\n"
    assert office.ok("vm", "reset", "web1").out == "web1 is reset on node1\n"
    assert office.ok("vm", "shutdown", "web1").out == "web1 is shut down on node1\n"
    assert office.ok("vm", "list", "-o", "json").json() == []


def test_programs_get_the_records(office: Office) -> None:
    office.ok(*CREATE)

    (paused,) = office.ok("vm", "pause", "web1", "-o", "json").json()
    assert (paused["state"], paused["wanted"]) == ("Paused", "paused")
    office.ok("vm", "unpause", "web1")
    assert office.ok("vm", "shutdown", "web1", "-o", "json").json() == []


def test_several_are_told_in_one_table(office: Office) -> None:
    office.ok(*COUNT)

    done = office.ok("vm", "pause", "--basename", "web")

    rows = [line.split() for line in done.out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [[f"web-{n}", "is", "Paused"] for n in range(3)]


def test_some_in_the_wrong_state_are_a_partial_result(office: Office) -> None:
    office.ok(*COUNT)
    office.ok("vm", "pause", "web-1")

    done = office.run("vm", "reset", "web*")

    assert done.code == 4
    assert "web-1 is Paused: no reset now" in done.err
    assert "tashictl vm unpause web-1" in done.err


def test_one_in_the_wrong_state_is_a_conflict_and_nothing_was_changed(office: Office) -> None:
    office.ok(*CREATE)
    office.ok("vm", "pause", "web1")
    before = office.everything()

    done = office.run("vm", "shutdown", "web1")

    assert done.code == 5
    assert done.err.endswith("nothing was changed\n")
    assert office.everything() == before


def test_a_dry_run_of_what_is_so_already_ends_as_the_real_run_does(office: Office) -> None:
    office.ok(*COUNT)
    office.ok("vm", "pause", "web-1")

    done = office.ok("vm", "unpause", "web-0", "--dry-run")
    some = office.ok("vm", "pause", "web*", "--dry-run", "-o", "json").json()

    assert done.out.startswith("would unpause not web-0, which is Running already\n")
    assert [s["name"] for s in some["steps"]] == ["QmpCommand", "QmpCommand"]
    assert "web-0 is Running already" in office.ok("vm", "unpause", "web-0").err


@pytest.mark.parametrize("verb", ["pause", "unpause", "reset", "shutdown"])
def test_a_dry_run_prints_the_plan_and_changes_nothing(office: Office, verb: str) -> None:
    office.ok(*CREATE)
    before = office.everything()
    if verb == "unpause":
        office.ok("vm", "pause", "web1")
        before = office.everything()

    done = office.ok("vm", verb, "web1", "--dry-run")

    assert done.out.startswith(f"would {verb} web1 (id 1) on node1")
    steps = office.ok("vm", verb, "web1", "--dry-run", "-o", "json").json()["steps"]
    wanted = ["PressPowerButton", "AwaitExit", "RemoveTap", "RemoveDir"]
    assert [s["name"] for s in steps] == (wanted if verb == "shutdown" else ["QmpCommand"])
    assert office.everything() == before


def test_a_dry_run_of_what_is_refused_has_the_exit_code_of_the_real_one(office: Office) -> None:
    office.ok(*CREATE)
    office.ok("vm", "pause", "web1")

    assert office.run("vm", "reset", "web1", "--dry-run").code == 5


@pytest.mark.parametrize("text", ["0", "-1", "x", "25h", "nan", "99999999999999999999"])
def test_a_timeout_that_makes_no_sense_is_refused(office: Office, text: str) -> None:
    office.ok(*CREATE)

    done = office.run("vm", "shutdown", "web1", f"--timeout={text}")

    assert done.code == 2
    assert "--timeout" in done.err


def test_a_guest_that_stays_is_told_with_three_ways_on(office: Office) -> None:
    office.ok(*CREATE)
    office.remote.hosts["node1"].presses = 10**9

    done = office.run("vm", "shutdown", "web1", "--timeout", "1")

    assert done.code == 1
    assert "error[E-SHUTDOWN-TIMEOUT]: web1: the guest did not go within 1 s" in done.err
    for way in ("console --log web1", "shutdown web1 --timeout 600", "destroy web1"):
        assert f"tashictl vm {way}" in done.err


def test_a_command_that_may_be_done_names_the_operation(office: Office) -> None:
    office.ok(*CREATE)
    office.remote.upon("monitor", Trouble.MUTE)

    done = office.run("vm", "pause", "web1")

    assert done.code == 6
    assert "left: the pause of web1 may be done" in done.err
    assert "tashictl op resume 2" in done.err


# -- the console


def a_log(office: Office, text: bytes | None) -> None:
    """What the host answers when it is asked for a console's log."""

    def answer(nonce: str) -> bytes:
        head = b"noise\n\n@" + nonce.encode() + b" B "
        tail = f"\n@{nonce} Z\n".encode()
        if text is None:
            return head + b"missing\n" + tail
        return head + f"log {len(text)}\n".encode() + text + tail

    office.remote.probes = dict.fromkeys(("node1", "node2"), answer)


def test_the_log_is_printed_with_what_a_terminal_would_act_upon_made_visible(
    office: Office,
) -> None:
    office.ok(*CREATE)
    a_log(office, b"one\r\n10 %\r20 %\r\n\x1b[2Jtwo\tx\r\n@no frame\r\nlogin: ")

    done = office.ok("vm", "console", "web1", "--log")

    assert done.out.splitlines() == [
        *("one", "20 %", "\\x1b[2Jtwo    x", "@no frame", "login: "),
    ]
    assert office.ok("vm", "console", "web1", "--log", "--lines", "1").out == "login: \n"
    shown = office.ok("vm", "console", "web1", "--log", "-o", "json", "--lines", "2").json()
    assert shown == {"name": "web1", "lines": ["@no frame", "login: "]}


def test_a_vm_without_a_log_or_a_host_says_so(office: Office) -> None:
    office.ok(*CREATE)
    a_log(office, None)
    assert office.run("vm", "console", "web1", "--log").code == 1

    office.remote.down.add("node1")
    assert office.run("vm", "console", "web1", "--log").code == 6


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nobody", "--log"), 3),
        (("web1",), 2),
        (("web1", "--lines", "3"), 2),
        (("web1", "--log", "--lines", "0"), 2),
        (("web1", "--log", "--lines", "x"), 2),
    ],
)
def test_a_console_that_cannot_be_is_refused(
    office: Office, words: tuple[str, ...], code: int
) -> None:
    office.ok(*CREATE)

    assert office.run("vm", "console", *words).code == code
