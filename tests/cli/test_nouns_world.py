"""The nouns op, host, image, state and config, from the command line to what they change."""

import time
from hashlib import sha256, sha512

import pytest

from tests.cli.office import CREATE, Office, own
from tests.ops.hosts import KEY, Trouble
from tests.ops.stage import CLUSTER
from tests.ops.test_host import answer

# -- op


def interrupted(office: Office) -> None:
    """A create whose host went away for good while it was under way."""
    office.remote.upon("StartQemu", Trouble.MUTE)
    office.remote.upon("KillQemu", Trouble.UNSENT)
    assert office.run(*CREATE).code == 6


def test_an_interrupted_operation_is_listed_shown_and_taken_back(office: Office) -> None:
    interrupted(office)
    (listed,) = office.ok("op", "list", "-o", "json").json()
    assert (listed["id"], listed["status"], listed["kind"]) == (1, "interrupted", "create")
    shown = office.ok("op", "show", "1", "-o", "json").json()
    assert [s["name"] for s in shown["steps"]][:2] == ["WriteManifest", "CreateOverlay"]
    assert {"class", "host", "name", "status"} <= set(shown["steps"][0])
    assert "interrupted" in office.ok("op", "show", "1").out

    office.ok("op", "undo", "1")

    assert office.remote.hosts["node1"].empty
    assert office.ok("op", "list", "-o", "json").json() == []
    (ended,) = office.ok("op", "list", "--all", "-o", "json").json()
    assert ended["status"] == "undone"


def test_an_operation_that_is_not_interrupted_is_code_5_and_one_unknown_code_3(
    office: Office,
) -> None:
    office.ok(*CREATE)

    for verb in ("resume", "undo"):
        assert office.run("op", verb, "1").code == 5
        assert office.run("op", verb, "9").code == 3
    assert office.run("op", "show", "9").code == 3
    assert office.run("op", "show", "x").code == 2


# -- host


def test_hosts_are_listed_and_shown(office: Office) -> None:
    listed = office.ok("host", "list", "-o", "json").json()

    assert [(h["name"], h["up"], h["cores"]) for h in listed] == [
        ("node1", True, 4),
        ("node2", True, 4),
    ]
    assert office.ok("host", "show", "2", "-o", "json").json() == listed[1]
    assert office.run("host", "show", "node9").code == 3


def test_a_host_is_added_with_its_fingerprint_and_listed_in_the_inventory(office: Office) -> None:
    office.remote.probes["node3"] = answer()

    done = office.ok(
        "host", "add", "node3", "--address", "10.77.0.3", "--fingerprint", KEY.fingerprint
    )

    assert "node3 is Normal" in done.out
    assert (office.folder / "inventory" / "node3.yaml").is_file()
    assert [h["name"] for h in office.ok("host", "list", "-o", "json").json()] == [
        "node1",
        "node2",
        "node3",
    ]
    known = (office.folder / "state" / "known_hosts").read_text()
    assert "node3" in known


def test_without_a_fingerprint_or_a_terminal_no_key_is_trusted_not_even_with_yes(
    office: Office,
) -> None:
    office.remote.probes["node3"] = answer()

    done = office.run("host", "add", "node3", "--address", "10.77.0.3", "-y")

    assert done.code == 2
    assert KEY.fingerprint in done.err
    assert not (office.folder / "inventory" / "node3.yaml").exists()
    assert not (office.folder / "state" / "known_hosts").exists()


def test_on_a_terminal_the_fingerprint_is_shown_and_asked_for(office: Office) -> None:
    office.remote.probes["node3"] = answer()
    words = ("host", "add", "node3", "--address", "10.77.0.3")

    assert office.run(*words, tty=True, answer="n\n").code == 2
    done = office.ok(*words, tty=True, answer="yes\n")

    assert KEY.fingerprint in done.err


def test_a_host_of_another_cluster_is_not_added(office: Office) -> None:
    office.remote.probes["node3"] = answer(basics=f"time 0\ncluster {CLUSTER} 1 1 x")

    done = office.run(
        "host", "add", "node3", "--address", "10.77.0.3", "--fingerprint", KEY.fingerprint
    )

    assert done.code == 7
    assert not (office.folder / "inventory" / "node3.yaml").exists()


def test_a_bad_host_name_is_code_2(office: Office) -> None:
    done = office.run("host", "add", "a/b", "--fingerprint", KEY.fingerprint)

    assert done.code == 2
    assert "error[E-NAME]" in done.err


def test_a_check_of_fit_hosts_is_code_0_and_of_unfit_ones_code_9(office: Office) -> None:
    now = int(time.time())
    basics = f"time {now}\nboot_id b\narch x86_64\ncores 2\nmemory_kib 2097152\nbridge vmbr"
    office.remote.probes["node1"] = answer(basics=basics)
    office.remote.probes["node2"] = answer(basics=basics + "\nmissing flock")

    rows = office.ok("host", "check", "node1", "-o", "json").json()
    assert {row["host"] for row in rows} == {"node1"}
    assert all(row["ok"] for row in rows)
    done = office.run("host", "check")

    assert done.code == 9
    assert "error[E-CHECK]: node2: tools: missing: flock" in done.err
    assert "try: apt-get install util-linux" in done.err
    assert "flock" in done.out
    only = office.run("host", "check", "--filter", "ok=false", "-o", "json")
    assert [(row["host"], row["check"]) for row in only.json()] == [("node2", "tools")]


def test_a_check_of_hosts_that_are_all_down_is_code_6(office: Office) -> None:
    office.remote.down.update({"node1", "node2"})

    assert office.run("host", "check").code == 6


# -- image


def test_an_image_is_imported_onto_every_host(office: Office) -> None:
    path = office.home / "new.img"
    path.write_bytes(b"bytes")

    done = office.ok("image", "import", str(path), "-o", "json").json()

    assert (done["name"], done["format"], done["size_bytes"]) == ("new.img", "raw", 5)
    assert done["sha256"] == sha256(b"bytes").hexdigest()
    assert done["hosts"] == ["node1", "node2"]
    names = [i["name"] for i in office.ok("image", "list", "-o", "json").json()]
    assert sorted(names) == ["demo.qcow2", "new.img"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("none.img",), 2),
        (("new.img", "--name", "../x"), 2),
        (("new.img", "--sha256", "0" * 64), 2),
        (("new.img", "--sha256", "0" * 63), 2),
        (("new.img", "--sha512", "0" * 128), 2),
        (("new.img", "--checksum", "sha512:" + "0" * 128), 2),
        (("new.img", "--checksum", "md5:0"), 2),
        (("page.img",), 2),
        (("packed.xz",), 2),
        ((".",), 2),
        (("new.img", "--host", "node9"), 2),
        (("empty.img",), 2),
        (("new.img", "--name", "demo.qcow2"), 5),
    ],
)
def test_an_image_that_is_wrong_is_refused(
    office: Office, words: tuple[str, ...], code: int
) -> None:
    (office.home / "new.img").write_bytes(b"other bytes")
    (office.home / "empty.img").write_bytes(b"")
    (office.home / "page.img").write_bytes(b"<!DOCTYPE html><title>404</title>")
    (office.home / "packed.xz").write_bytes(b"\xfd7zXZ\0\0")
    file, *more = words

    done = office.run("image", "import", str(office.home / file), *more)

    assert done.code == code
    assert office.remote.hosts["node1"].files == {}


def test_all_that_is_wrong_with_an_import_is_told_at_once(office: Office) -> None:
    wrong = ("--name", "a b", "--sha256", "12", "--host", "node9")

    done = office.run("image", "import", str(office.home / "none.img"), *wrong)

    assert done.code == 2
    for words in ("'a b' is no image name", "no host 'node9'", "is no sha256", "cannot be read"):
        assert words in done.err
    assert "Errno" not in done.err


@pytest.mark.parametrize(
    "more",
    [
        ("--sha512", sha512(b"bytes").hexdigest()),
        ("--checksum", f"sha512:{sha512(b'bytes').hexdigest().upper()}"),
        ("--checksum", f"sha256:{sha256(b'bytes').hexdigest()}"),
    ],
)
def test_an_image_with_the_right_checksum_is_imported(
    office: Office, more: tuple[str, str]
) -> None:
    path = office.home / "new.img"
    path.write_bytes(b"bytes")

    made = office.ok("image", "import", str(path), *more, "-o", "json").json()

    assert made["sha256"] == sha256(b"bytes").hexdigest()


def test_an_image_that_reached_some_hosts_is_code_4(office: Office) -> None:
    (office.home / "new.img").write_bytes(b"bytes")
    office.remote.down.add("node2")

    done = office.run("image", "import", str(office.home / "new.img"))

    assert done.code == 4
    assert "node2" in done.err


# -- state


def test_a_backup_that_is_not_there_is_told_so_in_a_dry_run_too(office: Office) -> None:
    office.ok("state", "backup", "mine")

    real = office.run("state", "restore", "nope", "-y")
    dry = office.run("state", "restore", "nope", "--dry-run")

    assert (dry.code, dry.err) == (real.code, real.err)
    assert "E-NO-BACKUP" in dry.err
    assert "mine.json" in dry.err


def test_a_sound_state_is_checked_backed_up_and_restored(office: Office) -> None:
    office.ok("state", "check")
    kept = office.ok("state", "backup", "mine", "-o", "json").json()["backup"]
    office.ok(*CREATE)

    assert office.run("state", "restore", kept).code == 2
    office.ok("state", "restore", kept, "-y")

    assert office.ok("vm", "list", "-o", "json").json() == []


def test_a_restored_old_state_is_refused_by_the_hosts(office: Office) -> None:
    kept = office.ok("state", "backup", "old", "-o", "json").json()["backup"]
    office.ok(*CREATE)
    office.ok("vm", "create", "web2", "--disk", "demo.qcow2", "--host", "node1")
    office.ok("state", "restore", kept, "-y")

    done = office.run(*CREATE, "-o", "json")

    assert (done.code, done.error["code"]) == (7, "E-OLD-DATABASE")
    assert len(office.remote.hosts["node1"].running) == 2
    assert office.run("vm", "create", "web3", "--disk", "demo.qcow2").code == 7


def test_a_broken_state_is_told_and_left_alone(office: Office) -> None:
    path = office.folder / "state" / "tashi.json"
    path.write_bytes(path.read_bytes()[:-9])
    before = office.everything()

    for words in (("vm", "list"), ("state", "check"), CREATE):
        done = office.run(*words)
        assert done.code != 0
        assert "error[" in done.err
        assert "E-BUG" not in done.err
    assert {k: v for k, v in office.everything().items() if "locks" not in k} == {
        k: v for k, v in before.items() if "locks" not in k
    }


# -- config


def test_the_configuration_is_shown_with_its_origins(office: Office) -> None:
    shown = office.ok("config", "show", "--origin", "-o", "json").json()

    ours = next(o for o in shown if o["option"] == "clusterId")
    assert ours["value"] == own(office)
    assert ours["origin"].endswith("Tashi.cfg:3")
    assert "[Tashictl]" in office.ok("config", "show").out


def test_a_mistake_in_a_configuration_stops_every_command(office: Office) -> None:
    with (office.folder / "Tashi.cfg").open("a") as config:
        config.write("[Qemu]\nreservedMem = lots\n")

    done = office.run("vm", "list")

    assert done.code == 2
    assert "Tashi.cfg:5" in done.err
