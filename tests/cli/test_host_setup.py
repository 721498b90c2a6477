"""`host setup` from the command line: listed, asked, carried out on several hosts, told."""

from typing import Any

import pytest

from tashictl.adapters.locks import FileLocks
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, Reply
from tashictl.model.steps import InstallPackages, MakeUser
from tests.cli.office import Office
from tests.ops.hosts import Trouble
from tests.ops.test_host import answer

BARE = (
    "time 1772366400\narch x86_64\nos ID=debian\nmanager apt-get\nmissing qemu-img\n"
    "mode lib 711\nmode run 711\nmode prefix 711\nmode images 711"
)
WITHOUT_USER = BARE.replace("missing qemu-img\n", "")
READY = f"{WITHOUT_USER}\nuser tashi-qemu"
IFUP = "file 755 /etc/qemu-ifup.1"


@pytest.fixture
def office(office: Office) -> Office:
    """Two hosts that lack the user, and whose qemu-ifup file is the operator's own."""
    for name in ("node1", "node2"):
        office.remote.probes[name] = answer(**{"basics": WITHOUT_USER, IFUP: "#!/bin/sh"})
    return office


def sent(office: Office) -> list[list[str]]:
    """The steps of the scripts that left."""
    return [[step.name for step in script.steps] for script in office.remote.scripts]


def test_it_lists_what_it_would_do_and_asks(office: Office) -> None:
    asked = office.run("host", "setup", answer="n\n", tty=True)

    assert asked.code == 2
    assert "node1: would create user tashi-qemu\nnode2: would create user" in asked.err
    assert "change node1, node2?" in asked.err
    assert sent(office) == []


def test_a_yes_changes_it_and_says_what_comes_next(office: Office) -> None:
    done = office.ok("host", "setup", "node1", answer="y\n", tty=True)

    assert "node1 is ready: created user tashi-qemu\n" in done.out
    assert "next: tashictl net apply node1\n" in done.err
    assert "/etc/qemu-ifup.1 is the operator's own, and stays" in done.err
    assert sent(office) == [["MakeUser"]]


def test_a_host_that_lacks_nothing_is_asked_nothing(office: Office) -> None:
    office.remote.probes["node1"] = answer(**{"basics": READY, IFUP: "#!/bin/sh"})

    done = office.ok("host", "setup", "node1")

    assert done.out == "node1 is ready: nothing to do\n"
    assert sent(office) == []


def test_a_dry_run_shows_the_scripts_and_changes_nothing(office: Office) -> None:
    before = office.everything()

    done = office.ok("host", "setup", "--dry-run", "-o", "json").json()

    assert [(s["host"], s["name"]) for s in done["steps"]] == [
        ("node1", "MakeUser"),
        ("node2", "MakeUser"),
    ]
    assert "useradd -r" in done["steps"][0]["script"]
    assert (sent(office), office.everything()) == ([], before)


def test_a_host_that_was_not_added_is_set_up_before_it_is(office: Office) -> None:
    (office.folder / "inventory" / "more.yaml").write_text("hosts: {node3: {}}\n")
    office.remote.probes["node3"] = answer(basics=WITHOUT_USER)

    done = office.ok("host", "setup", "node3", "-y")

    assert "next: tashictl host add node3\n" in done.err
    (script,) = office.remote.scripts
    assert script.guard is not None
    assert script.guard.claims


def test_a_claimed_host_is_not_claimed_again_by_a_late_script(office: Office) -> None:
    own = office.ok("config", "show", "-o", "json").json()
    cluster = next(o["value"] for o in own if o["option"] == "clusterId")
    basics = f"{WITHOUT_USER}\ncluster {cluster} 1 0 host dev@desk"
    office.remote.probes["node1"] = answer(basics=basics)
    office.remote.hosts["node1"].claimed = (cluster, 1, 0, "host")

    office.ok("host", "setup", "node1", "-y")

    (script,) = office.remote.scripts
    assert script.guard is not None
    assert not script.guard.claims


def test_packages_come_in_a_script_of_their_own_and_are_looked_for_again(office: Office) -> None:
    looks = iter([BARE, WITHOUT_USER, READY])
    office.remote.probes["node1"] = lambda nonce: answer(
        **{"basics": next(looks), IFUP: "#!/bin/sh"}
    )(nonce)

    done = office.ok("host", "setup", "node1", "-y")

    assert "node1 is ready: installed qemu-utils; created user tashi-qemu\n" in done.out
    assert sent(office) == [["InstallPackages"], ["MakeUser"]]
    first, second = office.remote.scripts
    assert isinstance(first.steps[0], InstallPackages)
    assert first.timeout_s > first.steps[0].timeout_s == 900
    assert second.timeout_s < 900


def test_packages_that_do_not_bring_their_program_are_told(office: Office) -> None:
    office.remote.probes["node1"] = answer(**{"basics": BARE, IFUP: "#!/bin/sh"})

    failed = office.run("host", "setup", "node1", "-y")

    assert failed.code == 1
    assert "node1 lacks qemu-img, though their packages are installed" in failed.err
    assert "done before: installed qemu-utils" in failed.err
    assert sent(office) == [["InstallPackages"]]


@pytest.mark.parametrize(("down", "code"), [({"node2"}, 4), ({"node1", "node2"}, 6)])
def test_a_host_that_is_not_reached_is_told_and_the_others_are_done(
    office: Office, down: set[str], code: int
) -> None:
    office.remote.down = down

    done = office.run("host", "setup", "-y")

    assert done.code == code
    assert "node2 not reached" in done.err
    assert ("node1 is ready" in done.out) is (code == 4)


def test_a_step_that_fails_names_what_was_done_before(office: Office) -> None:
    missing = WITHOUT_USER.replace("mode lib 711", "mode lib 700")
    office.remote.probes["node1"] = answer(**{"basics": missing, IFUP: "#!/bin/sh"})
    office.remote.upon("SetFolder", Trouble.FAILS)

    failed = office.run("host", "setup", "node1", "-y", "-o", "json")

    assert failed.code == 1
    assert failed.error["code"] == "E-SETFOLDER"
    assert failed.error["leftovers"] == ["done before: created user tashi-qemu"]
    assert "tashictl host setup node1 goes on from there" in failed.error["hint"]


def test_ctrl_c_says_that_a_repeat_goes_on(office: Office) -> None:
    office.remote.upon("MakeUser", Trouble.CTRL_C)

    stopped = office.run("host", "setup", "node1", "-y")

    assert stopped.code == 130
    assert "tashictl host setup again" in stopped.err


def test_sudo_that_asks_for_a_password_is_helped_by_root(office: Office) -> None:
    office.remote.probe_fault["node1"] = Fault.SUDO
    failed = office.run("host", "setup", "node1", "-y")
    assert failed.code == 6
    assert "tashictl host setup node1 --login root" in failed.err


def test_another_login_reaches_the_host_and_the_inventorys_gets_the_sudo(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "hosts: {node3: {user: ops, become: true}}\n"
    (office.folder / "inventory" / "more.yaml").write_text(text)
    office.remote.probes["node3"] = answer(basics=f"{READY}\nlogin there\nsudoers read")
    logins: set[tuple[str, bool]] = set()
    send = office.remote.run

    def noted(host: HostConfig, *more: Any) -> Reply:
        logins.add((host.user, host.become))
        return send(host, *more)

    monkeypatch.setattr(office.remote, "run", noted)

    done = office.ok("host", "setup", "node3", "-y", "--login", "root")

    assert logins == {("root", False)}

    assert "created /etc/sudoers.d/tashictl" in done.out
    assert "LOGIN=ops" in office.remote.asked[0].text


def test_a_host_that_another_operation_holds_is_a_conflict(office: Office) -> None:
    locks = FileLocks(f"{office.folder}/state/locks", office.clock, "other@desk", 1.0)
    with locks.host("node1"):
        done = office.run("host", "setup", "-y")

    assert done.code == 4
    assert "node2 is ready" in done.out
    assert sent(office) == [["MakeUser"]]


def test_a_host_that_is_not_in_the_inventory_does_not_exist(office: Office) -> None:
    assert office.run("host", "setup", "node9").code == 3


def test_the_user_is_that_of_the_names(office: Office) -> None:
    office.ok("host", "setup", "node1", "-y")
    step = office.remote.scripts[0].steps[0]
    assert isinstance(step, MakeUser)
    assert step.user == "tashi-qemu"
