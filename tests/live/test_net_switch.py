"""The dead man's switch by its scripts, each turn of it: who comes first, who dies, what is told.

No machine is booted: the host is a namespace, the change a bridge, the timer a process.
"""

import itertools
import re
import threading
from collections.abc import Iterator

import pytest

from tashictl.model.net import HostFile
from tests.live.lab.hosts import Lab
from tests.live.switching import LONG_S, Switch

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture
def switch(lab: Lab) -> Iterator[Switch]:
    """A change that is not armed yet; nothing of it is left."""
    made = Switch(lab.hosts[0], next(_NUMBERS))
    yield made
    made.end()


def gone_back(switch: Switch, detail: str) -> None:
    """It is as before, told why, and nothing runs or lies about any more."""
    last = switch.await_stage("reverted")
    assert (last.active, last.alive, last.detail) == (False, False, detail)
    assert not switch.is_there
    switch.wait(lambda: not switch.processes())
    assert switch.read("pending/token") == ""


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_what_is_confirmed_stays_and_its_files_are_written(lab: Lab, shell: str) -> None:
    switch = Switch(lab.hosts[0], next(_NUMBERS), shell)
    switch.write(switch.file, "old\n")
    gone = HostFile(path=f"{switch.file}.gone", text=None, mode=0o644)
    switch.write(gone.path, "away\n")
    switch.applied(files=(switch.new_file(), gone))
    assert switch.is_there
    assert (switch.text(switch.file), switch.text(gone.path)) == ("old\n", "away\n")

    said = switch.confirm()

    assert (said.rc, switch.text(switch.file), switch.text(gone.path)) == (0, "new\n", None)
    last = switch.pending()
    assert (last.stage, last.active) == ("confirmed", False)
    assert switch.text(f"{said.data['kept']}/old.1") == "old\n"
    switch.wait(lambda: not switch.processes())
    assert switch.is_there
    assert (switch.confirm().rc, switch.confirm().message) == (0, "was confirmed already")
    refused = switch.roll_back()
    assert (refused.rc, refused.message) == (1, "it was confirmed already")
    switch.end()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_what_nobody_confirms_goes_back_by_itself(lab: Lab, shell: str) -> None:
    switch = Switch(lab.hosts[0], next(_NUMBERS), shell)
    before = switch.look().digest
    switch.applied(files=(switch.new_file(),))
    pending = switch.pending()
    assert (pending.stage, pending.who, pending.cluster) == ("applied", "me@here", "0123456789ab")
    assert pending.alive and pending.active and LONG_S - 60 < pending.left_s <= LONG_S
    switch.time_out()

    gone_back(switch, "late")

    assert switch.text(switch.file) is None
    assert switch.look().digest == before
    refused = switch.confirm()
    assert (refused.rc, refused.message) == (1, "it has gone back already: late")
    again = switch.roll_back()
    assert (again.rc, again.message) == (0, "has gone back already")
    switch.end()


def test_what_is_only_armed_goes_back_too(switch: Switch) -> None:
    switch.arm(window_s=1)

    gone_back(switch, "late")

    refused = switch.go()
    assert (refused.rc, refused.message) == (1, "this change is not in flight any more")


def test_a_confirmation_that_comes_too_early_changes_nothing(switch: Switch) -> None:
    switch.arm(forward=("while [ ! -e /tmp/on ]; do sleep 0.1; done", *switch.forward))
    armed = switch.confirm()
    switch.go()
    switch.await_stage("applying")
    applying = switch.confirm()

    assert (armed.rc, armed.message) == (1, "it is not applied yet (armed)")
    assert (applying.rc, applying.message) == (1, "it is not applied yet (applying)")
    switch.host.run("touch /tmp/on")
    switch.await_stage("applied")
    assert switch.confirm().rc == 0
    assert switch.is_there
    switch.host.run("rm /tmp/on")


def test_a_rollback_takes_it_back_now(switch: Switch) -> None:
    switch.applied()

    assert switch.roll_back(why="rollback").rc == 0

    gone_back(switch, "rollback")


def test_a_rollback_ends_a_forward_that_hangs(switch: Switch) -> None:
    switch.arm(forward=(*switch.forward, "sleep 1000"))
    switch.go()
    switch.wait(lambda: switch.is_there)

    switch.roll_back(why="rollback")

    gone_back(switch, "rollback")


def test_nothing_in_flight_is_told_so(switch: Switch) -> None:
    for refused in (switch.confirm(), switch.roll_back()):
        assert (refused.rc, refused.message) == (1, "no such change is in flight")


def test_a_second_change_is_refused_with_who_and_how_long(switch: Switch) -> None:
    switch.arm(who="ann@desk", window_s=LONG_S)

    refused = switch.arm(token="f" * 16, who="bob@lap")

    assert refused.rc == 1
    assert re.fullmatch(
        r"a change by ann@desk is in flight since 20\S+Z: armed, (59\d|600) s left",
        refused.message,
    ), refused
    assert switch.read("pending/token") == switch.token
    assert switch.arm().message == "is armed already"


def test_of_two_that_come_at_once_one_is_armed(switch: Switch) -> None:
    said: dict[str, int | None] = {}

    def arm(token: str) -> None:
        said[token] = switch.arm(token=token).rc

    threads = [threading.Thread(target=arm, args=(f"{n:016x}",)) for n in (11, 12, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(said.values(), key=str) == [0, 1, 1]
    armed = next(token for token, rc in said.items() if rc == 0)
    assert switch.read("pending/token") == armed
    switch.token = armed


def test_a_network_that_changed_since_the_look_is_not_armed(switch: Switch) -> None:
    digest = switch.look().digest
    switch.host.run(f"ip link add {switch.bridge} type bridge", check=True)

    refused = switch.arm(digest=digest)

    assert (refused.rc, refused.message) == (
        1,
        "the network is not any more as it was looked at",
    )
    assert switch.read("pending/token") == ""
    assert switch.processes() == []


def test_a_command_that_fails_is_told_and_the_host_goes_back_at_once(switch: Switch) -> None:
    bad = "ip link set dev eth77 up"
    switch.arm(forward=(*switch.forward, bad, "touch /tmp/never"))
    switch.go()

    gone_back(switch, f'{bad}: Cannot find device "eth77"')

    assert switch.text("/tmp/never") is None


def test_a_timer_that_is_killed_goes_back_at_its_death(switch: Switch) -> None:
    switch.applied()

    switch.kill_timer()

    gone_back(switch, "died")


def test_without_any_timer_nothing_begins_and_a_rollback_makes_a_new_one(switch: Switch) -> None:
    switch.arm()
    for pid in switch.processes():  # the one that waits for the other comes first
        switch.host.run(f"kill -KILL {pid}")
    switch.wait(lambda: not switch.pending().alive)

    refused = switch.go()

    assert (refused.rc, refused.message) == (1, "its timer has died")
    assert not switch.is_there
    assert switch.roll_back(why="rollback").rc == 0
    gone_back(switch, "rollback")


def test_an_apply_that_is_killed_in_the_middle_goes_back(switch: Switch) -> None:
    switch.arm(forward=(*switch.forward, "sleep 1000"))
    switch.go()
    switch.wait(lambda: switch.is_there)

    switch.host.run(f"kill -KILL $(cat {switch.net_dir}/pending/apply.pid)", check=True)

    gone_back(switch, "it was killed in the middle")
    switch.host.run("pkill -x sleep")


def test_begun_twice_it_is_done_once(switch: Switch) -> None:
    switch.arm(forward=("echo once >>/tmp/times", *switch.forward))

    switch.go()
    switch.await_stage("applied")

    assert switch.go().message == "has begun already"
    assert switch.text("/tmp/times") == "once\n"


def test_of_confirm_and_rollback_at_once_one_wins_and_all_of_it(switch: Switch) -> None:
    switch.applied(files=(switch.new_file(),))
    said: dict[str, int | None] = {}
    threads = [
        threading.Thread(target=lambda: said.update(confirm=switch.confirm().rc)),
        threading.Thread(target=lambda: said.update(back=switch.roll_back().rc)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    switch.wait(lambda: switch.read("last/stage"))
    confirmed = said["confirm"] == 0
    assert sorted(said.values(), key=str) == [0, 1]
    assert switch.read("last/stage") == ("confirmed" if confirmed else "reverted")
    assert (switch.is_there, switch.text(switch.file)) == (
        (True, "new\n") if confirmed else (False, None)
    )


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(switch: Switch) -> None:
    switch.write(switch.file, "old\n")
    switch.applied(files=(switch.new_file(),))
    switch.write(switch.file, "theirs\n")

    refused = switch.confirm()

    assert (refused.rc, refused.message) == (1, f"{switch.file} was changed meanwhile")
    switch.time_out()
    gone_back(switch, "late")
    assert switch.text(switch.file) == "theirs\n"


@pytest.mark.parametrize("options", ["size=64k", "size=64k,ro"])
def test_a_folder_that_takes_no_file_leaves_the_change_unconfirmed(
    switch: Switch, options: str
) -> None:
    other = HostFile(path="/etc/made-first.conf", text="new\n", mode=0o644)
    switch.host.run(
        f"mkdir -p /etc/made; mount -t tmpfs -o {options.replace(',ro', '')} none /etc/made"
        f" && echo old >{switch.file} && head -c 70000 /dev/zero >/etc/made/filler;"
        f" mount -o remount,{options} /etc/made",
        check=True,
    )
    try:
        text = "new\n" * 3000
        switch.applied(files=(other, switch.new_file(text)))

        refused = switch.confirm()

        assert refused.rc == 1
        assert f"{switch.file} cannot be written" in refused.message
        assert ("No space left" in refused.message) or ("Read-only" in refused.message)
        assert switch.pending().stage == "applied"
        assert switch.text(switch.file) == "old\n"
        assert switch.host.run("find /etc -name '*.tashi-new'").stdout == ""
        switch.roll_back(why="rollback")
        gone_back(switch, "rollback")
        assert switch.text(other.path) is None
    finally:
        switch.host.run("umount /etc/made", check=True)


def test_what_a_reboot_left_is_no_change_in_flight(switch: Switch) -> None:
    switch.arm()
    for pid in switch.processes():
        switch.host.run(f"kill -KILL {pid}")
    switch.write(f"{switch.net_dir}/pending/boot", "another boot\n")

    assert switch.look().pending is None
    assert switch.arm(token="e" * 16).rc == 0
    assert switch.read("pending/token") == "e" * 16
    switch.token = "e" * 16


def test_a_reverse_that_does_not_suffice_is_told_and_what_differs(switch: Switch) -> None:
    switch.applied(reverse=(":",))

    switch.roll_back()
    last = switch.await_stage("unclean")

    assert last.detail == "rollback"
    assert f"link {switch.bridge} " in switch.read("last/log")


def test_a_script_with_a_mistake_is_not_armed(switch: Switch) -> None:
    bad = HostFile(path="/etc/qemu-ifup.1", text="#!/bin/sh\nif\n", mode=0o755)

    refused = switch.arm(files=(bad,))

    assert refused.rc == 1
    assert refused.message.startswith("/etc/qemu-ifup.1 is no shell script: "), refused
    assert switch.read("pending/token") == ""
    assert switch.processes() == []


def test_ifupdown_is_told_what_is_up_and_what_is_not(switch: Switch) -> None:
    switch.write("/run/network/ifstate", "lo=lo\neth9=eth9\n")
    switch.applied(files=(switch.new_file(),), up=(switch.bridge,), down=("eth9",))

    switch.confirm()

    state = switch.text("/run/network/ifstate")
    assert state == f"lo=lo\n{switch.bridge}={switch.bridge}\n"
    switch.host.run("rm -r /run/network")
