"""The nouns from the command line to the database: output, exit codes, nothing changed."""

import re

import pytest

from tashictl.cli import desk
from tests.cli.office import CREATE, Office, own
from tests.ops.hosts import Trouble
from tests.ops.test_host import answer

# -- init


def test_init_makes_a_cluster_that_is_private(bare: Office) -> None:
    done = bare.ok("init", str(bare.folder), "-o", "json")

    assert done.json() == {"cluster": own(bare), "directory": str(bare.folder)}
    for path in (bare.folder, bare.folder / "state", bare.folder / "state" / "journal"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (bare.folder / "state" / "tashi.json").stat().st_mode & 0o777 == 0o600
    assert bare.ok("vm", "list", "-o", "json").json() == []


def test_init_twice_is_a_conflict_and_changes_nothing(office: Office) -> None:
    before = office.everything()

    done = office.run("init", str(office.folder))

    assert done.code == 5
    assert "nothing was changed" in done.err
    assert office.everything() == before


def test_a_dry_init_makes_nothing(bare: Office) -> None:
    done = bare.ok("init", str(bare.folder), "--dry-run")

    assert "would make a cluster" in done.out
    assert not bare.folder.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("vm", "list"),
        ("vm", "show", "a"),
        ("host", "list"),
        ("image", "list"),
        ("op", "list"),
        ("state", "check"),
        ("schedule",),
        ("vm", "destroy", "a", "-y"),
        CREATE,
    ],
)
def test_without_a_cluster_every_noun_says_how_to_make_one(
    bare: Office, words: tuple[str, ...]
) -> None:
    done = bare.run(*words)

    assert done.code == 2
    assert f"error[E-CLUSTER]: no cluster in {bare.folder}\n" in done.err
    assert "tashictl init" in done.err
    assert not bare.folder.exists()


def test_a_folder_with_a_space_is_quoted_in_what_to_type(bare: Office) -> None:
    folder = str(bare.home / "a b")

    assert f"tashictl init '{folder}'," in desk.no_cluster(folder).hint
    bare.ok("init", folder)
    assert f"tashictl --cluster '{folder}' host list" in bare.run("init", folder).err


# -- vm


def test_a_vm_is_created_listed_shown_and_destroyed(office: Office) -> None:
    made = office.ok(*CREATE, "--memory", "1G", "--cores", "2", "-o", "json").json()
    assert (made["name"], made["state"], made["host"]) == ("web1", "Running", "node1")
    assert (made["cores"], made["memory_mib"], made["pid"]) == (2, 1024, 4711)
    assert made["observed"]["what"] == "running"

    assert office.ok("vm", "list", "-o", "json").json() == [made]
    assert office.ok("vm", "show", "web1", "-o", "json").json() == made
    assert office.ok("vm", "show", "1", "-o", "json").json() == made
    assert office.ok("vm", "list", "-o", "name").out == "web1\n"
    assert "web1" in office.ok("vm", "list").out

    done = office.ok("vm", "destroy", "web1", "-y")

    assert "web1 is destroyed on node1" in done.out
    assert office.ok("vm", "list", "-o", "json").json() == []
    assert office.remote.hosts["node1"].empty


def test_creating_tells_one_line_of_what_is_true_now(office: Office) -> None:
    done = office.ok(*CREATE)

    assert done.out.startswith("web1 is Running on node1")
    assert done.out.count("\n") == 1
    assert "placed on node1" in done.err


def test_no_capacity_now_is_pending_with_code_8_and_the_vm_on_stdout(office: Office) -> None:
    for name in ("a", "b"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2", "--cores", "4")

    done = office.run(*CREATE, "-o", "json")

    assert done.code == 8
    assert (done.json()["state"], done.json()["host"]) == ("Pending", None)
    assert "cores" in done.json()["reason"]
    assert office.ok("vm", "show", "web1", "-o", "json").json()["state"] == "Pending"


def test_no_capacity_ever_is_code_8_with_only_an_error(office: Office) -> None:
    before = office.everything()

    done = office.run(*CREATE, "--memory", "8G", "-o", "json")

    assert (done.code, done.out) == (8, "")
    assert done.error["code"] == "E-CAPACITY"
    assert office.everything().keys() - before.keys() <= {"cluster/state/locks/state"}
    assert office.ok("vm", "list", "-o", "json").json() == []


BAD = (
    "vm", "create", "web 3; rm", "--disk", "debian-13", "--memory", "0", "--nic", "dmz",
    "--host", "node9", "--cores", "x", "--hint", "nonesuch=1",
)  # fmt: skip


def test_every_problem_of_a_request_is_told_at_once(office: Office) -> None:
    before = office.store().read()

    done = office.run(*BAD)

    assert (done.code, done.out) == (2, "")
    told = re.findall(r"^error\[(E-[A-Z-]+)\]", done.err, re.M)
    assert set(told) == {
        "E-NAME",
        "E-IMAGE",
        "E-MEMORY",
        "E-NETWORK",
        "E-HOST",
        "E-CORES",
        "E-HINT",
    }
    assert done.err.endswith("nothing was changed\n")
    assert office.store().read() == before


@pytest.mark.parametrize(
    "name", ["²", "42", "", "-x", "a b", "a/b", "$(reboot)", "a\nb", "é", "x" * 300, "9" * 5000]
)
def test_a_name_that_is_none_is_refused_with_code_2(office: Office, name: str) -> None:
    done = office.run("vm", "create", "--disk", "demo.qcow2", "--", name)

    assert (done.code, done.out) == (2, "")
    assert "error[E-NAME]" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["web9", "9", "²", "9" * 5000])
def test_a_vm_that_does_not_exist_is_code_3(office: Office, name: str) -> None:
    for words in (("vm", "show", name), ("vm", "destroy", name, "-y")):
        done = office.run(*words)
        assert done.code == 3
        assert "error[E-NO-VM]" in done.err


def test_a_name_that_is_taken_is_code_5(office: Office) -> None:
    office.ok(*CREATE)

    assert office.run(*CREATE).code == 5


def test_a_host_that_is_not_reached_is_code_6_and_leaves_no_record(office: Office) -> None:
    office.remote.down.update({"node1", "node2"})

    done = office.run(*CREATE, "-o", "json")

    assert (done.code, done.error["code"]) == (6, "E-REFUSED")
    assert done.error["host"] == "node1"
    assert office.ok("vm", "list", "-o", "json").json() == []


def test_a_step_that_fails_is_code_1_and_says_why(office: Office) -> None:
    office.remote.upon("StartQemu", Trouble.FAILS)

    done = office.run(*CREATE)

    assert done.code == 1
    assert "error[E-STARTQEMU]" in done.err
    assert "no space left" in done.err


def test_what_is_left_is_listed(office: Office) -> None:
    office.remote.upon("StartQemu", Trouble.FAILS)
    office.remote.upon("RemoveDir", Trouble.FAILS)

    done = office.run(*CREATE, "-o", "json")

    assert done.code == 1
    assert "op undo 1" in done.error["leftovers"][0]


def test_a_host_of_another_cluster_is_code_7(office: Office) -> None:
    office.remote.hosts["node1"].claimed = ("ffffffffffff", 1, 1, "x")

    assert office.run(*CREATE).code == 7


def test_ctrl_c_is_code_130(office: Office) -> None:
    office.remote.upon("StartQemu", Trouble.CTRL_C_AFTER)

    done = office.run(*CREATE)

    assert done.code == 130
    assert "undone" in done.err
    assert office.remote.hosts["node1"].empty


# -- destroying several


def test_destroying_asks_and_without_a_terminal_it_is_refused(office: Office) -> None:
    office.ok(*CREATE)

    assert office.run("vm", "destroy", "web1").code == 2
    assert office.run("vm", "destroy", "web1", tty=True, answer="n\n").code == 2
    assert office.ok("vm", "list", "-o", "name").out == "web1\n"

    office.ok("vm", "destroy", "web1", tty=True, answer="y\n")

    assert office.ok("vm", "list", "-o", "json").json() == []


def test_patterns_and_ranges_destroy_several(office: Office) -> None:
    for name in ("web1", "web2", "web10", "db"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2")

    office.ok("vm", "destroy", "web[1-2]", "d*", "-y")

    assert office.ok("vm", "list", "-o", "name").out == "web10\n"


def test_one_target_that_does_not_exist_keeps_all_of_them(office: Office) -> None:
    office.ok(*CREATE)

    assert office.run("vm", "destroy", "web1", "none*", "-y").code == 3
    assert office.ok("vm", "list", "-o", "name").out == "web1\n"


def test_some_that_fail_are_code_4_and_each_is_told(office: Office) -> None:
    for name in ("web1", "web2"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2")
    office.remote.down.add("node1")

    done = office.run("vm", "destroy", "web*", "-y")

    assert done.code == 4
    assert re.search(r"^ web2 +destroyed +node2 ", done.out, re.M)
    assert "node1" in done.err
    assert office.ok("vm", "show", "web1", "-o", "json").json()["state"] == "Destroying"


def test_ctrl_c_while_several_are_destroyed_stops_there(office: Office) -> None:
    for name in ("web1", "web2"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2")
    office.remote.upon("KillQemu", Trouble.CTRL_C)
    office.env = {"TASHICTL_TASHICTL_PARALLEL": "1", "TASHICTL_TASHICTL_PERHOST": "1"}

    done = office.run("vm", "destroy", "web*", "-y")

    assert done.code == 130
    assert "not begun" in done.out
    assert office.ok("vm", "show", "web2", "-o", "json").json()["state"] == "Running"


# -- a dry run


@pytest.mark.parametrize(
    "words",
    [
        ("vm", "create", "new", "--disk", "demo.qcow2"),
        ("vm", "destroy", "web1"),
        ("schedule",),
        ("state", "backup"),
        ("state", "restore", "x.json"),
        ("host", "add", "node3", "--address", "10.77.0.3"),
        ("host", "trust", "node1"),
        ("host", "check"),
        ("image", "import", "{image}"),
        ("image", "build-demo", "--name", "tiny"),
        ("op", "resume", "1"),
        ("op", "undo", "1"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_changes_nothing_anywhere(
    office: Office, words: tuple[str, ...], form: str
) -> None:
    office.ok(*CREATE)
    (office.home / "new.img").write_bytes(b"bytes")
    office.remote.probes["node3"] = answer()
    before = office.everything()
    sent = len(office.remote.scripts)

    words = tuple(w.format(image=office.home / "new.img") for w in words)
    done = office.run(*words, "--dry-run", "-o", form)

    assert done.code in (0, 2, 3, 5), done.err
    assert "E-BUG" not in done.err
    assert office.everything() == before
    assert len(office.remote.scripts) == sent
    assert office.remote.asked == []


def test_a_dry_create_shows_the_scripts_that_would_be_sent(office: Office) -> None:
    done = office.ok(*CREATE, "--dry-run", "-o", "json")

    steps = done.json()["steps"]
    assert [s["name"] for s in steps] == [
        "WriteManifest",
        "CreateOverlay",
        "WriteIfup",
        "AddTap",
        "StartQemu",
        "WriteManifest",
        "AwaitQmp",
    ]
    assert {s["host"] for s in steps} == {"node1"}
    assert "refuse foreign" in steps[0]["script"]
    assert steps[-1]["script"] == ""
    assert "+++ /etc/qemu-ifup.1" in steps[2]["diff"]


def test_a_dry_create_has_the_exit_code_of_the_real_one(office: Office) -> None:
    for name in ("a", "b"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2", "--cores", "4")

    assert office.run(*CREATE, "--dry-run").code == office.run(*CREATE).code == 8
    assert office.run(*BAD, "--dry-run").code == 2
    assert office.run("vm", "create", "a", "--disk", "demo.qcow2", "--dry-run").code == 5


# -- schedule


def test_what_waits_is_placed_when_there_is_room(office: Office) -> None:
    for name in ("a", "b"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2", "--cores", "4")
    office.run(*CREATE)
    assert office.run("schedule").code == 4
    office.ok("vm", "destroy", "a", "-y")

    done = office.ok("schedule")

    assert "web1 is Running on node1" in done.out
    assert "nothing is waiting" in office.ok("schedule").out
