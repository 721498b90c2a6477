"""Verbs on several VMs: which are meant, what is asked, the table, the errors and the code."""

import re

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.cli import bulk
from tashictl.cli.tally import Tally, some_of
from tashictl.model.state import Meta, State
from tashictl.ops import vm as ops
from tashictl.ops.many import Result
from tests.cli import stage
from tests.cli.office import Office
from tests.ops.hosts import Trouble

DISK = ("--disk", "demo.qcow2")


def state(*names: str) -> State:
    vms = {n: replace(stage.vm(n), name=name) for n, name in enumerate(names, 1)}
    return State(meta=Meta(cluster="0123456789ab"), vms=vms)


def found(there: State, *words: str, basename: str | None = None) -> list[str]:
    return [vm.name for vm in bulk.chosen(there, words, basename)]


def test_names_ids_globs_and_ranges_stand_for_vms_each_once() -> None:
    there = state("web1", "web2", "web10", "db")

    assert found(there, "web1", "1", "web*") == ["web1", "web2", "web10"]
    assert found(there, "web[1-3]", "4") == ["web1", "web2", "db"]
    assert found(there, "web[1-2,10]", "d?") == ["web1", "web2", "web10", "db"]
    assert found(there, "[wd]*") == ["web1", "web2", "web10", "db"]


def test_a_basename_stands_for_all_that_count_made_of_it() -> None:
    there = state("web", "web-2", "web-10", "web-1", "web-x", "other-1", "web-1-1")

    assert found(there, basename="web") == ["web-1", "web-2", "web-10"]
    assert found(there, "other-1", basename="web-1") == ["other-1", "web-1-1"]
    with pytest.raises(errors.NoSuchTarget):
        found(there, basename="w.b")


def test_all_unknown_names_are_told_at_once() -> None:
    with pytest.raises(errors.Problems) as caught:
        found(state("web1"), "web1", "db", "x*", "web[2-3]", basename="none")

    assert [e.what for e in caught.value.problems] == [
        "no VM 'db'",
        "no VM 'x*'",
        "no VM 'web[2-3]'",
        "no VM of basename 'none'",
    ]
    assert errors.exit_code_of(caught.value) == 3


def test_nothing_named_is_refused(office: Office) -> None:
    done = office.run("vm", "destroy", "-y")

    assert done.code == 2
    assert "no VM is named" in done.err


def test_many_names_are_named_by_the_first_few() -> None:
    assert some_of(["a"]) == "a"
    assert some_of(["a", "b", "c", "d"]) == "a, b, c, d"
    assert some_of(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


# -- create --count


def test_count_prints_one_table_and_a_list(office: Office) -> None:
    done = office.ok("vm", "create", "web", *DISK, "--count", "3")

    assert [line.split()[:4] for line in done.out.splitlines()] == [
        ["NAME", "RESULT", "HOST", "SECONDS"],
        ["web-0", "is", "Running", "node1"],
        ["web-1", "is", "Running", "node2"],
        ["web-2", "is", "Running", "node1"],
    ]
    assert "web-0 … web-2: 2 on node1, 1 on node2" in done.err
    assert "3/3 web-" in done.err
    made = office.ok("vm", "create", "db", *DISK, "--count", "2", "-o", "json")
    assert [(vm["name"], vm["state"]) for vm in made.json()] == [
        ("db-0", "Running"),
        ("db-1", "Running"),
    ]
    assert made.err == ""
    assert office.ok("vm", "create", "one", *DISK, "--count", "1", "-o", "name").out == "one-0\n"


@pytest.mark.parametrize(("number", "code"), [("4", 0), ("5", 4)])
def test_with_too_few_slots_the_rest_is_pending(office: Office, number: str, code: int) -> None:
    words = ("vm", "create", "web", *DISK, "--cores", "2", "--count", number)
    planned = office.run(*words, "--dry-run")
    done = office.run(*words, "-o", "json")

    assert (planned.code, done.code) == (code, code)
    states = [vm["state"] for vm in done.json()]
    assert states == ["Running"] * 4 + ["Pending"] * (int(number) - 4)
    assert all(vm["reason"] for vm in done.json() if vm["state"] == "Pending")


def test_all_pending_is_code_8_and_hopeless_records_nothing(office: Office) -> None:
    office.ok("vm", "create", "full", *DISK, "--cores", "4", "--count", "2")

    done = office.run("vm", "create", "web", *DISK, "--count", "2")
    assert done.code == 8
    assert re.search(r"^ web-1 +is Pending +– +0.0 +· no host fits", done.out, re.M)
    assert office.run("vm", "create", "big", *DISK, "--cores", "5", "--count", "2").code == 8
    assert "big" not in office.ok("vm", "list", "-o", "name").out


def test_dense_pack_is_taken_from_the_hint_else_from_the_configuration(office: Office) -> None:
    office.env = {"TASHICTL_PRIMITIVE_DENSEPACK": "True"}
    packed = office.ok("vm", "create", "a", *DISK, "--count", "2", "-o", "json").json()
    assert [vm["host"] for vm in packed] == ["node1", "node1"]
    spread = office.ok("vm", "create", "b", *DISK, "--hint", "densePack=no", "-o", "json").json()
    assert spread["host"] == "node2"
    office.env = {}
    dense = office.ok("vm", "create", "c", *DISK, "--hint", "densePack=on", "-o", "json").json()
    assert dense["host"] == "node1"


def test_a_target_host_is_given_by_name_or_id_and_left_only_with_allow_elsewhere(
    office: Office,
) -> None:
    at_two = ("--hint", "targetHost=2", "--cores", "2")
    made = office.run("vm", "create", "a", *DISK, *at_two, "--count", "3", "-o", "json")
    assert made.code == 4
    assert [vm["host"] for vm in made.json()] == ["node2", "node2", None]
    assert "node2: cores" in made.json()[2]["reason"]
    elsewhere = (*at_two, "--hint", "allowElsewhere=yes")
    assert office.ok("vm", "create", "b", *DISK, *elsewhere, "-o", "json").json()["host"] == "node1"
    assert (
        office.ok("vm", "create", "c", *DISK, "--host", "1", "-o", "json").json()["host"] == "node1"
    )


def test_a_vm_that_waits_for_a_host_that_is_gone_goes_nowhere_else(office: Office) -> None:
    office.run("vm", "create", "full", *DISK, "--cores", "4", "--host", "node2")
    assert office.run("vm", "create", "a", *DISK, "--host", "node2").code == 8
    with office.store().transaction() as tx:
        tx.remove_host("node2")

    done = office.run("schedule", "-o", "json")

    assert done.code == 4
    (waiting,) = [vm for vm in done.json() if vm["name"] == "a"]
    assert (waiting["host"], waiting["state"]) == (None, "Pending")
    assert "no such host any more" in waiting["reason"]


# -- one table, the errors grouped


def test_the_question_names_how_many_and_the_first_few(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "6")

    done = office.run("vm", "destroy", "--basename", "web", tty=True, answer="n\n")

    assert done.code == 2
    assert "destroy 6 VMs (web-0, web-1, web-2 and 3 more): what their overlays hold" in done.err
    assert len(office.ok("vm", "list", "-o", "name").out.split()) == 6


def test_the_same_error_on_several_is_told_once_with_their_names(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "6")
    office.remote.down.add("node2")

    done = office.run("vm", "destroy", "web-*", "-y", "-o", "json")

    assert done.code == 4
    assert [vm["name"] for vm in done.json()] == ["web-0", "web-2", "web-4"]
    assert done.error["code"] == "E-PARTIAL"
    assert "3 of 6 failed" in done.error["message"]
    text = office.run("vm", "destroy", "web-*", "-y")
    assert text.code == 6  # those that are left all failed alike
    assert text.err.count("not reached") == 1
    assert "web-1, web-3, web-5: node2 not reached" in text.err
    assert text.err.count("left:") == 3


def test_guests_that_ignore_their_button_are_told_of_once_wherever_they_are(
    office: Office,
) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "3")
    for host in office.remote.hosts.values():
        host.presses = 10**9

    done = office.run("vm", "shutdown", "web-*", "--timeout", "1")

    assert done.code == 1
    assert done.err.count("E-SHUTDOWN-TIMEOUT") == 1
    assert "web-0, web-1, web-2: the guest did not go within 1 s\n" in done.err
    assert "tashictl vm shutdown NAME --timeout 600" in done.err
    assert " · the guest did not go within 1 s" in done.out


def test_all_that_fail_in_different_ways_give_the_code_of_the_contract(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "2")
    office.remote.down.add("node2")
    office.remote.upon("RemoveDir", Trouble.FAILS)

    done = office.run("vm", "destroy", "web-*", "-y")

    assert done.code == 6
    assert "RemoveDir failed" in done.err
    assert "not reached" in done.err
    assert "E-PARTIAL" not in done.err


def test_a_bug_in_one_keeps_the_results_of_the_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "3")
    real = ops.destroy

    def destroy(world: object, context: object, name: str) -> object:
        if name == "2":
            raise ZeroDivisionError("a bug")
        return real(world, context, name)  # type: ignore[arg-type]

    monkeypatch.setattr(ops, "destroy", destroy)
    done = office.run("vm", "destroy", "web-*", "-y")

    assert done.code == 4
    assert re.search(r"^ web-1 +failed ", done.out, re.M)
    assert done.out.count("destroyed") == 2
    assert "error[E-BUG]: web-1: ZeroDivisionError: a bug" in done.err


def test_a_column_that_does_not_exist_is_refused_before_anything(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "2")

    for words in (
        ("vm", "destroy", "web-*", "-y"),
        ("vm", "destroy", "web-0", "-y", "-o", "json"),
        ("vm", "create", "x", *DISK),
        ("vm", "create", "x", *DISK, "--count", "2"),
    ):
        assert office.run(*words, "-c", "none").code == 2, words
        assert office.ok(*words, "-c", "help").out
    assert len(office.ok("vm", "list", "-o", "name").out.split()) == 2


def test_a_dry_run_of_several_lists_every_step_and_changes_nothing(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "2")
    before = office.everything()

    done = office.ok("vm", "destroy", "--basename", "web", "--dry-run", "-o", "json").json()
    made = office.ok("vm", "create", "x", *DISK, "--count", "2", "--dry-run", "-o", "json").json()

    assert {s["host"] for s in done["steps"]} == {"node1", "node2"}
    assert [s["name"] for s in done["steps"]].count("KillQemu") == 2
    assert [s["name"] for s in made["steps"]].count("StartQemu") == 2
    assert office.everything() == before


def test_a_dry_run_says_once_why_many_would_wait(office: Office) -> None:
    done = office.run("vm", "create", "x", *DISK, "--cores", "2", "--count", "20", "--dry-run")

    assert done.code == 4
    title = done.out.splitlines()[0]
    assert title.count("would stay Pending") == 1
    assert re.search(r"x-\d\d and \d+ more would stay Pending: no host fits", title)


# -- progress


def test_on_a_terminal_one_line_is_updated_and_taken_away() -> None:
    face = stage.face(streams=stage.streams(tty=True))
    tally = Tally(face, lambda _result: "destroyed")
    vms = [stage.vm(1), stage.vm(2)]
    tally.begin(vms)

    tally.ended(Result(before=vms[0]))
    tally.report(vms[1], None).warn("that is odd")  # type: ignore[arg-type]
    tally.ended(Result(before=vms[1], error=errors.Conflict("E-X", "no")))
    tally.close()

    said = face.streams.stderr.getvalue()
    assert "\r\x1b[K1/2 …" in said
    assert "web2: that is odd\n1/2 …" in said
    assert said.endswith("\r\x1b[K2/2 …, 1 failed\r\x1b[K")


def test_elsewhere_each_is_a_short_note_and_steps_need_v() -> None:
    face = stage.face()
    tally = Tally(face, lambda _result: "destroyed")
    tally.begin([stage.vm(1)])
    aside = tally.report(stage.vm(1), None)  # type: ignore[arg-type]

    aside.note("web1: going back")
    aside.step("qemu", "pid 1")
    tally.ended(Result(before=stage.vm(1), seconds=0.44))

    assert face.streams.stderr.getvalue() == "· 1/1 web1 destroyed (0.4 s)\n"


def test_with_v_notes_and_steps_come_through_with_the_name() -> None:
    face = stage.face(verbose=1)
    aside = Tally(face, lambda _result: "").report(stage.vm(1), None)  # type: ignore[arg-type]

    aside.note("web1: going back")
    aside.step("qemu", "pid 1")

    assert face.streams.stderr.getvalue() == "· web1: going back\n  ✓ qemu      web1: pid 1\n"


def test_ctrl_c_on_one_of_several_is_code_130(office: Office) -> None:
    office.ok("vm", "create", "web", *DISK, "--count", "2")
    office.remote.upon("KillQemu", Trouble.CTRL_C)

    done = office.run("vm", "destroy", "web-0", "web-1", "-y")

    assert done.code == 130
    assert "error[E-INTERRUPTED]: interrupted:" in done.err
