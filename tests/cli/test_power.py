"""The verbs of power from the command line: words, exit codes, one table, a dry run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tashictl.model.vm import Observed, Seen
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


# -- starting again


def ended(office: Office, *names: str) -> None:
    """The QEMUs of all VMs are gone, and a look has said it of those that are named."""
    for host in office.remote.hosts.values():
        host.running.clear()
    with office.store().transaction() as tx:
        for vm in list(tx.state.vms.values()):
            if vm.name in names:
                tx.put_vm(replace(vm, observed=Observed(what=Seen.STOPPED), pid=None))


def test_one_that_has_exited_is_started_and_its_steps_are_told(office: Office) -> None:
    office.ok(*CREATE)
    ended(office, "web1")

    done = office.ok("vm", "start", "web1")

    assert done.out == "web1 is Running on node1\n"
    assert "disk0.qcow2, as it was" in done.err
    assert "web1 is Running already" in office.ok("vm", "start", "web1").err


def test_several_are_started_with_one_table_and_programs_get_the_records(office: Office) -> None:
    office.ok(*COUNT)
    ended(office, "web-0", "web-1", "web-2")

    done = office.ok("vm", "start", "web-[0-1]")
    some = office.ok("vm", "start", "--basename", "web", "-o", "json").json()

    rows = [line.split() for line in done.out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [[f"web-{n}", "is", "Running"] for n in range(2)]
    assert [(vm["name"], vm["state"]) for vm in some] == [(f"web-{n}", "Running") for n in range(3)]


def test_a_start_of_what_is_paused_names_the_way_on(office: Office) -> None:
    office.ok(*CREATE)
    office.ok("vm", "pause", "web1")
    before = office.everything()

    done = office.run("vm", "start", "web1")

    assert done.code == 5
    assert "web1 is Paused: no start now" in done.err
    assert "tashictl vm unpause web1" in done.err
    assert office.run("vm", "start", "web1", "--dry-run").code == 5
    assert office.everything() == before


def test_what_has_exited_says_that_it_can_be_started(office: Office) -> None:
    office.ok(*CREATE)
    ended(office, "web1")

    assert "tashictl vm start web1" in office.run("vm", "pause", "web1").err


def test_a_dry_run_of_a_start_prints_the_plan_and_changes_nothing(office: Office) -> None:
    office.ok(*COUNT)
    ended(office, "web-0", "web-1")
    office.ok("vm", "start", "web-1")
    before = office.everything()

    done = office.ok("vm", "start", "web-0", "web-2", "--dry-run")
    steps = office.ok("vm", "start", "web-0", "--dry-run", "-o", "json").json()["steps"]

    assert done.out.startswith("would start web-0 (id 1) on node")
    assert "not web-2, which is Running already; the disks stay" in done.out
    assert [s["name"] for s in steps] == [
        *("CheckDisk", "WriteManifest", "WriteIfup", "AddTap"),
        *("StartQemu", "WriteManifest", "AwaitQmp"),
    ]
    assert "\nGEN=2\n" in steps[0]["script"]
    assert office.everything() == before


def test_a_start_that_fails_says_why_and_so_does_the_list(office: Office) -> None:
    office.ok(*CREATE)
    ended(office, "web1")
    office.remote.upon("StartQemu", Trouble.FAILS)

    done = office.run("vm", "start", "web1")

    assert done.code == 1
    assert "StartQemu failed on node1" in done.err
    (vm,) = office.ok("vm", "list", "-o", "json").json()
    assert (vm["state"], vm["operation"]) == ("Exited", None)
    assert vm["reason"] == "not started: StartQemu failed on node1: no space left"


def test_an_interrupted_start_is_taken_back_by_its_number(office: Office) -> None:
    office.ok(*CREATE)
    ended(office, "web1")
    office.remote.upon("StartQemu", Trouble.MUTE)
    office.remote.upon("KillQemu", Trouble.LOST)
    office.run("vm", "start", "web1")

    done = office.ok("op", "undo", "2")

    assert done.out == "operation 2 is undone: web1 is Exited on node1\n"


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
