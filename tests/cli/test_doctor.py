"""`tashictl doctor`: the list, the rows, the exit codes, and what --fix does."""

import time
from collections.abc import Callable

import pytest

from tashictl.model.script import Fault
from tests.cli.office import Office, own
from tests.ops.hosts import Trouble
from tests.planning.doctor import cases

SPOILT = f"mode 644 0\ntext\n{cases.IFUP}."
RIGHT = f"executable\nmode 755 0\ntext\n{cases.IFUP}."


def answers(**parts: str) -> Callable[[str], bytes]:
    """A host that is well but for `parts`."""
    golden = cases.out(**{"ifup_1": RIGHT, "kvm": "usable", **parts})
    then = str(int(cases.clock_of(golden).timestamp())).encode()

    def out(nonce: str) -> bytes:
        now = str(int(time.time())).encode()
        told = golden.replace(b"time " + then, b"time " + now)
        return told.replace(cases.NONCE.encode(), nonce.encode())

    return out


@pytest.fixture
def clinic(office: Office, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Two hosts that are ours and well, and keys of them all."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for name in ("node1", "node2"):
        office.remote.hosts[name].claimed = (own(office), 1, 0, "host")
        office.remote.probes[name] = answers()
    return office


def rows(office: Office, *words: str) -> list[tuple[str | None, str, str]]:
    done = office.run("doctor", *words, "-o", "json")
    return [(r["host"], r["id"], r["severity"]) for r in done.json()]


def test_hosts_that_are_well_are_exit_0_and_one_line(clinic: Office) -> None:
    done = clinic.run("doctor", "node[1-2]", "--filter", "severity!=note")

    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    assert line.startswith("2 hosts: 2 notes, ")
    assert line.endswith(" ok")


def test_all_shows_what_is_well_too(clinic: Office) -> None:
    found = rows(clinic, "node1", "--all")

    assert ("node1", "net.bridge", "ok") in found
    assert ("node1", "host.systemd", "note") in found
    assert rows(clinic, "node1") == [("node1", "host.systemd", "note")]


def test_faults_are_shown_the_worst_first_with_what_to_type(clinic: Office) -> None:
    clinic.remote.probes["node2"] = answers(
        ifup_1=SPOILT, links=cases.links(*cases.lan(flags=["BROADCAST"]))
    )
    done = clinic.run("doctor", "node*")
    lines = done.out.splitlines()

    assert (done.code, done.err) == (9, "")
    assert lines[0].split()[:3] == ["!", "node2", "net.ifup"]
    assert lines[1].strip() == "→ tashictl doctor --fix"
    assert lines[-1].startswith("2 hosts: 1 warning, ")
    # The same of both hosts is said once.
    assert next(line for line in lines if "host.systemd" in line).startswith("· node1, node2  ")


def test_an_error_comes_before_a_warning(clinic: Office) -> None:
    config = clinic.folder / "inventory" / "lab.yaml"
    config.write_text(config.read_text().replace("{user: root}", "{user: root, uplink: trunk0}"))
    clinic.remote.probes["node1"] = answers(
        ifup_1=SPOILT, links=cases.links(*cases.lan(flags=["BROADCAST"]))
    )
    lines = clinic.run("doctor", "node1").out.splitlines()

    assert lines[0].split()[:3] == ["✗", "node1", "net.bridge-uplink"]
    assert "lan: trunk0, the uplink of vmbr, is down" in lines[0]
    assert lines[1].strip() == "→ ip link set dev trunk0 up"


def test_a_terminal_gets_no_line_that_is_too_long_but_for_what_is_typed(clinic: Office) -> None:
    clinic.env["COLUMNS"] = "80"
    clinic.remote.probes["node1"] = answers(
        doctor="nf_iptables 1", firewall="by nft\nchain ip filter FORWARD drop"
    )
    out = clinic.run("doctor", "node1", "--color", "never", tty=True).out

    said = [line for line in out.splitlines() if "→" not in line and "for good" not in line]
    assert max(len(line) for line in said if "nft insert" not in line) <= 80


def test_programs_get_rows_and_the_error(clinic: Office) -> None:
    clinic.remote.probes["node1"] = answers(ifup_1=SPOILT)
    done = clinic.run("doctor", "node1", "-o", "json")

    assert done.code == 9
    (row,) = [r for r in done.json() if r["severity"] == "warning"]
    assert row == {
        "host": "node1",
        "id": "net.ifup",
        "subject": "/etc/qemu-ifup.1",
        "severity": "warning",
        "evidence": "not executable (mode 644)",
        "remedy": "tashictl doctor --fix",
        "fix": True,
        "fixed": False,
    }
    assert (done.error["code"], done.error["message"]) == ("E-DOCTOR", "1 warning")


def test_some_hosts_that_are_silent_are_exit_4_and_all_of_them_6(clinic: Office) -> None:
    clinic.remote.probe_fault["node2"] = Fault.TCP_TIMEOUT

    done = clinic.run("doctor")
    assert done.code == 4
    assert "host.reach" in done.out
    assert clinic.run("doctor", "-o", "json").error["code"] == "E-PARTIAL"
    done = clinic.run("doctor", "node2")
    assert done.code == 6
    assert "error[E-TCP-TIMEOUT]" in done.err
    clinic.remote.probe_fault["node2"] = Fault.HOSTKEY_CHANGED
    assert clinic.run("doctor", "node2").code == 7


def test_an_unknown_host_or_column_is_refused_before_anything_is_asked(clinic: Office) -> None:
    assert clinic.run("doctor", "node7").code == 3
    assert clinic.run("doctor", "-c", "nothing").code == 2
    assert clinic.run("doctor", "--filter", "colour=red").code == 2
    assert clinic.remote.asked == []
    assert "evidence" in clinic.ok("doctor", "-c", "help").out


def test_without_hosts_this_machine_is_looked_at(bare: Office) -> None:
    bare.ok("init", str(bare.folder))
    done = bare.run("doctor", "--all")

    assert done.code == 0, done.out + done.err
    assert "✓ controller  controller.state-private" in done.out
    assert done.out.splitlines()[-1].startswith("this machine and 0 hosts: ")


def test_outside_a_cluster_it_is_told_so(bare: Office) -> None:
    assert bare.run("doctor").code == 2


def test_columns_make_a_table(clinic: Office) -> None:
    out = clinic.run("doctor", "node1", "-c", "id,severity", "--all").out

    assert out.splitlines()[0].split() == ["CHECK", "SEVERITY"]


def test_it_writes_nothing_down(clinic: Office) -> None:
    before = clinic.everything()
    clinic.run("doctor")

    assert clinic.everything() == before
    assert clinic.remote.scripts == []


# -- mending


def test_fix_tells_each_step_does_it_and_looks_again(clinic: Office) -> None:
    asked = []

    def healed(nonce: str) -> bytes:
        asked.append(nonce)
        return answers(ifup_1=SPOILT if len(asked) == 1 else RIGHT)(nonce)

    clinic.remote.probes["node1"] = healed
    done = clinic.run("doctor", "node[1-2]", "--fix")

    assert done.code == 0
    assert "· node1: MendIfup  /etc/qemu-ifup.1" in done.err
    assert "✓ node1         net.ifup      /etc/qemu-ifup.1: as rendered, for lan (mended)" in (
        done.out
    )
    (script,) = clinic.remote.scripts
    assert script.guard is not None
    assert [s.name for s in script.steps] == ["MendIfup"]
    assert len(clinic.remote.asked) == 3


def test_what_fix_could_not_mend_is_said_and_stays(clinic: Office) -> None:
    clinic.remote.probes["node1"] = answers(ifup_1=SPOILT)
    clinic.remote.upon("MendIfup", Trouble.FAILS)
    done = clinic.run("doctor", "node1", "--fix")

    assert done.code == 9
    assert "! MendIfup failed on node1: no space left" in done.err
    assert "(mended)" not in done.out


def test_rights_on_the_state_are_mended_here(clinic: Office) -> None:
    database = clinic.folder / "state" / "tashi.json"
    database.chmod(0o644)

    assert (None, "controller.state-private", "error") in rows(clinic)
    assert database.stat().st_mode & 0o777 == 0o644
    done = clinic.run("doctor", "--fix", "-o", "json")

    (row,) = [r for r in done.json() if r["id"] == "controller.state-private"]
    assert (row["severity"], row["fixed"]) == ("ok", True)
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_dry_run_of_fix_shows_the_scripts_and_changes_nothing(clinic: Office) -> None:
    (clinic.folder / "state" / "tashi.json").chmod(0o644)
    clinic.remote.probes["node1"] = answers(ifup_1=f"{SPOILT[:-1]}echo\n.")
    before = clinic.everything()
    done = clinic.run("doctor", "--fix", "--dry-run", "-o", "json")

    steps = done.json()["steps"]
    assert [(s["host"], s["name"]) for s in steps] == [
        ("controller", "MakePrivate"),
        ("node1", "MendIfup"),
    ]
    assert "chmod 755 /etc/qemu-ifup.1" in steps[1]["script"]
    assert "\n-echo" in steps[1]["diff"]
    assert clinic.remote.scripts == []
    assert clinic.everything() == before
    text = clinic.run("doctor", "--fix", "--dry-run")
    assert text.out.startswith("would mend 2 things\n")
    assert "nothing was changed" in text.out


def test_a_database_that_is_an_old_copy_mends_nothing(clinic: Office) -> None:
    with clinic.store().transaction() as tx:
        tx.mark_stale("node1 knows more")
    clinic.remote.probes["node1"] = answers(ifup_1=SPOILT)

    assert clinic.run("doctor", "node1", "--fix").code == 7
    assert clinic.remote.scripts == []
