"""QEMU as a unit, by real shells and a stub of systemd; the real one is in test_booted.py."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.live.ground import CLUSTER, NASTY, UUID, Ground, failed, is_free, wait_for
from tests.live.ground_systemd import Systemd

UNIT = f"tashi-{CLUSTER}-{UUID}.service"


@pytest.fixture
def systemd(ground: Ground) -> Iterator[Systemd]:
    """The ground's host has systemd."""
    yield Systemd(ground)


def test_qemu_is_a_unit_and_holds_the_lock(ground: Ground, systemd: Systemd) -> None:
    pid = ground.started()

    unit = json.loads((systemd.units / UNIT).read_text())
    assert systemd.loaded == [UNIT]
    assert unit["pid"] == pid
    assert {"--collect", "--slice=machine.slice"} <= set(unit["flags"])
    assert unit["props"]["KillMode"] == ["mixed"]
    assert unit["props"]["TimeoutStopSec"] == ["70"]
    assert not is_free(ground.run_folder / "run.lock")
    assert is_free(ground.fence_file)
    assert ground.ok(ground.start()).steps[0].data["pid"] == str(pid)


def test_every_argument_reaches_the_unit_as_it_is(ground: Ground, systemd: Systemd) -> None:
    ground.started(*NASTY)

    assert tuple(ground.argv_seen[4:]) == NASTY


def test_an_end_at_once_is_told_and_leaves_no_unit(ground: Ground, systemd: Systemd) -> None:
    ground.mode("ends")

    message = failed(ground, ground.manifest(), ground.start())

    assert "stub: no such machine" in message
    assert "QEMU ended at once with exit code 1" in message
    wait_for(lambda: not systemd.loaded)
    assert is_free(ground.run_folder / "run.lock")
    ground.mode("usual")
    ground.ok(ground.start())


def test_a_unit_without_a_socket_is_ended(ground: Ground, systemd: Systemd) -> None:
    ground.mode("mute")

    message = failed(ground, ground.manifest(), ground.start(wait_s=1))

    assert message == "no QMP socket within 1 s"
    assert systemd.loaded == []
    assert is_free(ground.run_folder / "run.lock")


def test_a_systemd_that_refuses_is_told(ground: Ground, systemd: Systemd) -> None:
    systemd.break_down()

    message = failed(ground, ground.manifest(), ground.start())

    assert message == f"Failed to connect to bus\nsystemd did not start {UNIT}"
    assert is_free(ground.run_folder / "run.lock")


@pytest.mark.parametrize("mode", ["usual", "deaf"])
def test_a_killed_qemu_leaves_no_unit(ground: Ground, systemd: Systemd, mode: str) -> None:
    ground.mode(mode)
    pid = ground.started()

    answer = ground.ok(ground.kill(wait_s=1))
    loaded = systemd.loaded
    again = ground.ok(ground.kill(), ground.remove())

    assert answer.steps[0].data == {"pid": str(pid)}
    assert loaded == []
    assert not ground.is_stub(pid)
    assert again.steps[0].message == "not running"
    assert not ground.run_folder.exists()


def test_a_unit_that_is_on_its_way_up_is_ended_too(ground: Ground, systemd: Systemd) -> None:
    ground.ok(ground.manifest())
    hooks = ["-p", "ExecStop=/bin/true", "-p", "ExecStopPost=/bin/true"]
    tool = str(ground.bin / "systemd-run")
    argv = [tool, *hooks, f"--unit={UNIT}", "/bin/sleep", "30"]
    subprocess.run(argv, env=ground.env, check=True, timeout=10)
    assert systemd.loaded == [UNIT]

    assert ground.ok(ground.kill()).steps[0].message == "not running"

    assert systemd.loaded == []


def test_the_units_stop_presses_the_power_button(ground: Ground, systemd: Systemd) -> None:
    pid = ground.started()

    systemd.systemctl("stop", UNIT)

    wait_for(lambda: not systemd.loaded)
    assert (ground.bin / "pressed").read_text() == "system_powerdown\n"
    assert not ground.is_stub(pid)
    assert (ground.run_folder / "ended").read_text() == "0\n"


def test_a_guest_that_ignores_the_button_is_ended_after_the_wait(
    ground: Ground, systemd: Systemd
) -> None:
    ground.mode("stubborn")
    pid = ground.ok(ground.manifest(), ground.start(powerdown_s=1)).steps[1].data["pid"]

    systemd.systemctl("stop", UNIT)

    wait_for(lambda: not systemd.loaded)
    assert (ground.bin / "pressed").read_text() == "system_powerdown\n"
    assert not ground.is_stub(int(pid))


def test_the_stop_of_a_unit_that_is_no_more_does_not_wait(ground: Ground, systemd: Systemd) -> None:
    ground.started()
    ground.ok(ground.kill())

    # As systemd calls it after QEMU has ended well.
    sh = [str(ground.bin / "sh"), "./launch", "stop"]
    subprocess.run(sh, cwd=ground.run_folder, env=ground.env, check=True, timeout=2)


def test_without_systemd_the_button_is_there_too(ground: Ground) -> None:
    pid = ground.started()

    sh = [str(ground.bin / "sh"), "./launch", "stop"]
    subprocess.run(sh, cwd=ground.run_folder, env=ground.env, check=True, timeout=20)

    assert not ground.is_stub(pid)
    assert str((ground.run_folder / "monitor.out").readlink()) == "/dev/null"
