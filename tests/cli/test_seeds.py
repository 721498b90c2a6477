"""`vm create` with a seed and a wait, from the command line: files, errors, exit codes."""

from pathlib import Path

import pytest

from tests.cli.office import CREATE, Office
from tests.cli.test_power import ended
from tests.ops.test_wait import BANNER, HERE, IP, Answer, refused
from tests.planning.seed_cases import ED25519

SECRET = "hunter2-on-the-desk"


@pytest.fixture
def user_data(tmp_path: Path) -> str:
    path = tmp_path / "user.yaml"
    path.write_text(f"#cloud-config\npassword: {SECRET}\n")
    return str(path)


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "id.pub"
    path.write_text(ED25519)
    return str(path)


def looks(office: Office) -> None:
    """The hosts say that every guest lives."""

    def probe(nonce: str) -> bytes:
        return f"\n@{nonce} B alive\n1\n\n@{nonce} Z\n".encode()

    office.remote.probes = dict.fromkeys(("node1", "node2"), probe)


def test_a_vm_with_user_data_and_keys_runs_and_is_shown_with_its_seed(
    office: Office, user_data: str, key: str
) -> None:
    made = office.ok(*CREATE, "--cloud-init", user_data, "--ssh-key", key, "-o", "json").json()

    assert set(made["seed"]) == {"sha256", "size_bytes"}
    assert office.ok("vm", "show", "web1", "-o", "json").json()["seed"] == made["seed"]
    (data,) = (d for p, d in office.remote.hosts["node1"].files.items() if p.endswith("seed.iso"))
    assert SECRET.encode() in data and ED25519.encode() in data
    assert list((office.folder / "state" / "seeds").iterdir()) == []


def test_without_either_there_is_no_seed(office: Office) -> None:
    assert office.ok(*CREATE, "-o", "json").json()["seed"] is None


def test_all_that_is_wrong_with_the_files_is_said_and_nothing_changed(
    office: Office, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("#cloud-config\nusers: [\n")
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nxyz\n")
    before = office.everything()

    argv = ("--cloud-init", str(tmp_path / "bad.yaml"), "--ssh-key", str(tmp_path / "id"))
    done = office.run(*CREATE, *argv)

    assert done.code == 2
    assert "error[E-CLOUD-INIT]" in done.err and "line 3" in done.err
    assert "error[E-SSH-KEY]" in done.err and "PRIVATE" in done.err
    assert "nothing was changed" in done.err
    assert office.everything() == before


def test_files_that_cannot_be_read_are_named_all_at_once(office: Office, tmp_path: Path) -> None:
    done = office.run(*CREATE, "--cloud-init", "no-such", "--ssh-key", str(tmp_path))

    assert done.code == 2
    assert "--cloud-init no-such cannot be read" in done.err
    assert f"--ssh-key {tmp_path} cannot be read" in done.err


def test_a_misspelt_key_is_warned_of_once(office: Office, tmp_path: Path) -> None:
    (tmp_path / "u.yaml").write_text("#cloud-config\npakages: [a]\n")

    done = office.ok(*CREATE, "--cloud-init", str(tmp_path / "u.yaml"), "-o", "json")

    assert done.err.count("did you mean packages?") == 1


def test_a_dry_run_keeps_no_seed_and_tells_nothing_of_it(office: Office, user_data: str) -> None:
    before = office.everything()

    for form in (("-o", "json"), ("--debug",), ("-v",)):
        done = office.ok(*CREATE, "--cloud-init", user_data, "--dry-run", *form)
        assert "PutSeed" in done.out
        assert SECRET not in done.out + done.err
    assert office.everything() == before


def test_a_wait_for_ssh_says_how_to_get_in(office: Office) -> None:
    looks(office)
    office.remote.guests[HERE, IP, 22] = lambda: Answer(BANNER)

    done = office.ok(*CREATE, "--nic", f"lan:{IP}", "--wait", "ssh")

    assert done.out.startswith(f"web1 is Running on node1 at {IP}   (")
    assert f"· ssh root@{IP}" in done.err


def test_a_wait_that_finds_the_guest_through_its_host_says_so(office: Office) -> None:
    looks(office)
    office.remote.guests["node1", IP, 22] = lambda: Answer(BANNER)

    done = office.ok(*CREATE, "--nic", f"lan:{IP}", "--wait", "ssh")

    assert f"· ssh -J root@10.77.0.1 root@{IP}" in done.err


def test_a_wait_that_is_over_exits_4_with_the_vm_on_stdout(office: Office) -> None:
    looks(office)
    office.remote.guests[HERE, IP, 22] = refused
    argv = (*CREATE, "--nic", f"lan:{IP}", "--wait", "ssh", "--timeout", "7", "-o", "json")

    done = office.run(*argv)

    assert done.code == 4
    assert done.json()["state"] == "Running"
    assert done.error["code"] == "E-WAIT"
    assert "within 7 s" in done.error["message"] and "refused" in done.error["cause"]


def test_a_pending_vm_is_not_waited_for(office: Office) -> None:
    for name in ("a", "b"):
        office.ok("vm", "create", name, "--disk", "demo.qcow2", "--cores", "4")

    done = office.run(*CREATE, "--cores", "4", "--wait", "ssh")

    assert done.code == 8
    assert "web1 is Pending" in done.out


@pytest.mark.parametrize("words", [("--wait", "shh"), ("--timeout", "0"), ("--timeout", "x")])
def test_a_wait_that_makes_no_sense_is_usage(office: Office, words: tuple[str, ...]) -> None:
    assert office.run(*CREATE, *words).code == 2


def test_one_that_is_started_again_can_be_waited_for(office: Office) -> None:
    argv = (*CREATE, "--nic", f"lan:{IP}")
    office.ok(*argv)
    ended(office, "web1")
    looks(office)
    office.remote.guests[HERE, IP, 22] = lambda: Answer(BANNER)

    done = office.ok("vm", "start", "web1", "--wait", "ssh")

    assert done.out == "web1 is Running on node1\n"
    assert f"ssh root@{IP}" in done.err


def test_a_start_whose_guest_stays_silent_exits_4_with_the_vm_on_stdout(office: Office) -> None:
    office.ok(*CREATE, "--nic", f"lan:{IP}")
    office.ok("vm", "create", "web2", "--disk", "demo.qcow2")
    ended(office, "web1", "web2")
    looks(office)
    office.remote.guests[HERE, IP, 22] = refused

    one = office.run("vm", "start", "web1", "--wait", "ssh", "--timeout", "7", "-o", "json")

    assert (one.code, one.error["code"]) == (4, "E-WAIT")
    assert [vm["state"] for vm in one.json()] == ["Running"]
    both = office.run("vm", "start", "web1", "web2", "--wait", "ssh", "--timeout", "7")
    assert both.code == 4
    assert [line.split()[:2] for line in both.out.splitlines()[1:]] == [
        ["web1", "failed"],
        ["web2", "failed"],
    ]
