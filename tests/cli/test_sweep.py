"""`sweep` on the command line: silent when well, else one text and the exit code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tashictl.adapters.locks import FileSweepLocks
from tests.cli.office import CREATE, Office

NODES = ("node1", "node2")


def look(
    office: Office, *alive: str, boot: str = "b-1", foreign: str = ""
) -> Callable[[str], bytes]:
    """What a host of ours answers: its VMs, those in `alive` running."""
    vms = {vm.name: vm for vm in office.store().read().vms.values()}
    seen = [f"seen {vms[n].uuid} 1 77 1 1" for n in alive]
    seen += [f"seen {vm.uuid} 0 - 1 0" for n, vm in vms.items() if n not in alive]
    meta = office.store().read().meta
    host = f"cluster {meta.cluster} 1 {meta.last_operation_id}\n"

    def answer(nonce: str) -> bytes:
        now_s = int(time.time())
        rows = [f"up {3600 if boot == 'b-1' else 20}.0 1", f"boot_id {boot}", "kernel 6.1.0"]
        rows += [*seen, *([foreign] if foreign else []), "end"]
        parts = [
            f"B host\n{host}",
            "B look\n" + "\n".join(rows) + "\n",
            f"B clock\n{now_s}\n",
            "Z\n",
        ]
        return "".join(f"\n@{nonce} {part}" for part in parts).encode()

    return answer


@pytest.fixture
def office(office: Office) -> Office:
    """web1 runs on node1, and both hosts are well."""
    office.ok(*CREATE)
    for name in NODES:
        office.remote.probes[name] = look(office)
        claim = office.remote.hosts[name].claimed
        meta = office.store().read().meta
        office.remote.hosts[name].claimed = claim or (meta.cluster, 1, 0, "host")
    office.remote.probes["node1"] = look(office, "web1", boot=boot_of(office))
    office.ok("sweep")
    return office


def boot_of(office: Office) -> str:
    (vm,) = office.store().read().vms.values()
    return vm.observed.boot_id or ""


def test_all_is_well_in_silence_and_on_a_terminal_in_one_line(office: Office) -> None:
    quiet = office.run("sweep")
    shown = office.run("sweep", tty=True)

    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert (shown.code, shown.out.startswith("2 hosts seen, all well")) == (0, True)


def test_what_is_wrong_is_one_text_with_its_id_and_the_next_step(office: Office) -> None:
    office.remote.probes["node1"] = look(office, boot=boot_of(office))

    done = office.run("sweep")

    assert done.code == 4
    first, event, problem, hint = done.out.splitlines()
    assert first.endswith(": 2 hosts, 1 problem (1 new)")
    assert event.startswith("· web1 on node1 is Exited, unasked: its QEMU ended")
    assert problem == "! web1 on node1 is not running: its QEMU ended"
    assert hint.split() == [
        "vm-exited:web1",
        *["tashictl", "vm", "start", "web1,", "or", "tashictl", "vm", "destroy", "web1"],
    ]


def test_quiet_tells_a_problem_once_and_keeps_the_exit_code(office: Office) -> None:
    office.remote.probes["node1"] = look(office, boot=boot_of(office))

    first, second = office.run("sweep", "--quiet"), office.run("sweep", "--quiet")
    loud = office.run("sweep")

    assert [first.code, second.code, loud.code] == [4, 4, 4]
    assert [bool(done.out) for done in (first, second, loud)] == [True, False, True]


def test_what_is_acknowledged_is_well(office: Office) -> None:
    office.remote.probes["node1"] = look(office, boot=boot_of(office))
    office.run("sweep")

    office.ok("event", "ack", "vm-exited:*", "--why", "on purpose")

    assert (office.run("sweep").code, office.run("sweep").out) == (0, "")


def test_programs_get_one_object_also_when_all_is_well(office: Office) -> None:
    well = office.run("sweep", "-o", "json")
    office.remote.down.add("node2")
    ill = office.run("sweep", "-o", "json", "--yes")

    assert (well.code, well.json()["problems"]) == (0, [])
    assert (ill.code, ill.json()["new"]) == (4, ["host-down:node2"])
    assert list(ill.json()["hosts"]["lost"]) == ["node2"]


def test_the_brake_asks_on_a_terminal_and_stops_elsewhere(office: Office) -> None:
    office.remote.down.add("node2")
    before = office.store().read()

    stopped = office.run("sweep")
    refused = office.run("sweep", tty=True, answer="n\n")
    shown = office.run("sweep", "--dry-run")

    assert (stopped.code, refused.code, shown.code) == (9, 9, 9)
    assert stopped.err.startswith("error[E-BRAKE]: the sweep stopped before it changed anything")
    assert "1 of 2 hosts that were up do not answer" in stopped.err
    assert office.store().read() == before
    assert office.run("sweep", tty=True, answer="y\n").code == 4
    assert office.store().read().hosts["node2"].up is False


def test_a_dry_run_shows_decisions_and_steps_and_changes_nothing(office: Office) -> None:
    office.env["TASHICTL_CLUSTERMANAGERSERVICE_ONHOSTREBOOT"] = "restart"
    office.remote.probes["node1"] = look(office, boot="b-9")
    before = office.store().read()

    text = office.run("sweep", "--dry-run")
    found = office.run("sweep", "--dry-run", "-o", "json").json()

    assert office.store().read() == before
    assert "would restart  web1 on node1: host rebooted" in text.out
    assert "StartQemu" in text.out
    assert text.out.splitlines()[-1].startswith("nothing was changed")
    assert [repair["kind"] for repair in found["repairs"]] == ["restart"]
    assert {step["name"] for step in found["steps"]} >= {"StartQemu", "AwaitQmp"}
    assert all(set(step) == {"host", "name", "script", "diff"} for step in found["steps"])


@pytest.mark.parametrize(
    "words",
    [
        ("--shard", "3/2"),
        ("--shard", "x"),
        ("--timeout", "1"),
        ("--timeout", "soon"),
        ("--watch", "0.1"),
        ("--watch", "15", "-o", "json"),
        ("-c", "name"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_host_is_asked(
    office: Office, words: tuple[str, ...]
) -> None:
    asked = len(office.remote.asked)

    done = office.run("sweep", *words)

    assert done.code == 2
    assert len(office.remote.asked) == asked


def test_a_sweep_beside_another_one_says_who_is_at_work(office: Office) -> None:
    locks = FileSweepLocks(f"{office.folder}/state/locks", office.clock, "ops@desk")
    with locks.sweep(None):
        done = office.run("sweep", "-o", "json")

    assert (done.code, done.error["code"]) == (5, "E-SWEEPING")
    assert "ops@desk" in json.dumps(done.error)


def test_a_database_that_a_host_proves_old_changes_nothing(office: Office) -> None:
    newer = look(office, "web1", boot=boot_of(office))
    office.remote.probes["node1"] = lambda nonce: newer(nonce).replace(b" 1 1\n", b" 1 9\n", 1)

    done = office.run("sweep")

    assert done.code == 7
    assert "tashictl state rebuild" in done.err
    assert office.run("vm", "destroy", "web1", "-y").code == 7


def test_a_qemu_of_somebody_else_is_told_with_what_to_do(office: Office) -> None:
    other = "qemu 62 1440875 10c4ed00-0000-4000-8000-000000000007 guest=web7"
    office.remote.probes["node2"] = look(office, foreign=other)

    done = office.run("sweep")

    assert done.code == 4
    assert "foreign-qemu:node2:10c4ed00-0000-4000-8000-000000000007" in done.out
    assert "tashictl state adopt node2" in done.out
