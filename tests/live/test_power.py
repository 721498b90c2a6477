"""The power of real guests: paused, reset, shut down by their button, and killed in the middle."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import invariants
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl
from tests.live.test_create import DEMO, await_line, console

KILLED = -9


@pytest.fixture(scope="module", autouse=True)
def images(tashictl: Tashictl, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image without a system, for guests that need not boot."""
    folder = tmp_path_factory.mktemp("images")
    tashictl.run("image", "import", str(invariants.blank_image(folder)))


@pytest.fixture(autouse=True)
def clean(lab: Lab, tashictl: Tashictl) -> Iterator[None]:
    """No VM before and after a test, and nothing of one on any host."""
    yield
    invariants.ready(lab, tashictl)
    assert invariants.complaints(lab, tashictl) == []


def create(tashictl: Tashictl, name: str, *more: str, image: str = invariants.IMAGE) -> Any:
    argv = ("vm", "create", name, "--disk", image, "--memory", "128M", *more, "-o", "json")
    return tashictl.run(*argv).json()


def state(tashictl: Tashictl, name: str) -> str:
    record = invariants.record(tashictl, name)
    return record["state"] if record else "gone"


def has_tap(host: Host, vm: dict[str, Any]) -> bool:
    return f"tashi{vm['id']}.0" in observe(host).links


def test_a_guest_is_paused_goes_on_is_reset_and_goes_by_its_button(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "web1", image=DEMO)
    log = console(lab, made)
    await_line(log, "HB 2 ")

    assert "web1 is Paused" in tashictl.run("vm", "pause", "web1").out
    before = log.read_text()
    time.sleep(2.5)
    assert log.read_text() == before
    assert state(tashictl, "web1") == "Paused"
    assert tashictl.run("vm", "shutdown", "web1", check=False).rc == 5
    again = tashictl.run("vm", "pause", "web1")
    assert "already" in again.err

    tashictl.run("vm", "unpause", "web1")
    assert invariants.until(lambda: log.read_text() != before, 5.0)
    assert state(tashictl, "web1") == "Running"

    tashictl.run("vm", "reset", "web1")
    assert invariants.until(lambda: log.read_text().count("BOOTED") == 2, 60.0)
    assert state(tashictl, "web1") == "Running"

    assert tashictl.run("vm", "console", "web1", "--log").out.count("BOOTED") == 2
    assert len(tashictl.run("vm", "console", "web1", "--log", "--lines", "4").out.splitlines()) == 4
    await_line(log, "HB 2 ")

    host = lab.host(made["host"])
    done = tashictl.run("vm", "shutdown", "web1")
    assert "web1 is shut down" in done.out
    assert state(tashictl, "web1") == "gone"
    assert observe(host).qemus == ()
    assert not has_tap(host, made)
    assert not log.exists()


def test_a_guest_that_ignores_the_button_runs_on_and_is_ended_by_destroy(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "deaf")  # no system: nobody hears the button
    begun_s = time.monotonic()
    done = tashictl.run("vm", "shutdown", "deaf", "--timeout", "7", check=False)

    assert 6 < time.monotonic() - begun_s < 20
    assert done.rc == 1
    assert "did not go within 7 s" in done.err
    assert "tashictl vm destroy deaf" in done.err
    assert state(tashictl, "deaf") == "Running"
    assert len(observe(lab.host(made["host"])).qemus) == 1
    tashictl.run("vm", "destroy", "deaf", "-y")


def test_several_are_paused_at_once_with_one_table(lab: Lab, tashictl: Tashictl) -> None:
    del lab
    made = ("vm", "create", "web", "--count", "3", "--disk", invariants.IMAGE)
    tashictl.run(*made)
    done = tashictl.run("vm", "pause", "--basename", "web")
    assert [line.split()[:3] for line in done.out.splitlines()[1:]] == [
        [f"web-{n}", "is", "Paused"] for n in range(3)
    ]
    some = tashictl.run("vm", "unpause", "web-[0-1]", "-o", "json").json()
    assert {vm["name"]: vm["state"] for vm in some} == {"web-0": "Running", "web-1": "Running"}
    mixed = tashictl.run("vm", "reset", "web*", check=False)
    assert mixed.rc == 4
    assert "web-2 is Paused" in mixed.err


def test_a_host_that_does_not_answer_leaves_the_record_as_it_was(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "web1")
    host = lab.host(made["host"])
    host.stop_sshd()
    try:
        done = tashictl.run("vm", "pause", "web1", check=False)
        assert done.rc == 6
        assert state(tashictl, "web1") == "Running"
    finally:
        host.start_sshd()
    tashictl.run("vm", "pause", "web1")


@pytest.mark.parametrize("moment", ["before", "sent", "after"])
@pytest.mark.parametrize("action", ["kill", "cut"])
def test_a_pause_that_is_killed_or_cut_is_put_right(
    lab: Lab, tashictl: Tashictl, moment: str, action: str
) -> None:
    del lab
    create(tashictl, "web1")
    fault = {"TASHICTL_FAULT": f"QmpCommand:{moment}:{action}"}
    done = tashictl.run("vm", "pause", "web1", check=False, env=fault)

    if action == "kill":
        assert done.rc == KILLED
        assert [o["kind"] for o in tashictl.run("op", "list", "-o", "json").json()] == ["pause"]
    else:
        assert done.rc in (0, 6)
    after = tashictl.run("vm", "unpause", "web1")
    assert "web1 is Running" in after.out
    assert tashictl.run("op", "list", "-o", "json").json() == []
    assert "web1 is Paused" in tashictl.run("vm", "pause", "web1").out


SHUTDOWN = [("PressPowerButton", "sent"), ("AwaitExit", "before"), ("AwaitExit", "sent")]
SHUTDOWN += [("RemoveTap", "after"), ("RemoveDir", "after")]


def test_a_shutdown_that_is_killed_at_any_step_is_finished_by_the_next_command(
    lab: Lab, tashictl: Tashictl
) -> None:
    count = str(len(SHUTDOWN))
    made = tashictl.run(
        *("vm", "create", "web", "--count", count, "--disk", DEMO, "--memory", "96M", "-o", "json")
    ).json()
    for vm, (step, moment) in zip(made, SHUTDOWN, strict=True):
        await_line(console(lab, vm), "HB 1 ")
        fault = {"TASHICTL_FAULT": f"{step}:{moment}:kill"}
        done = tashictl.run("vm", "shutdown", vm["name"], check=False, env=fault)
        assert done.rc == KILLED, done
        (operation,) = tashictl.run("op", "list", "-o", "json").json()
        assert (operation["kind"], operation["status"]) == ("shutdown", "interrupted")
        after = tashictl.run("op", "resume", str(operation["id"]), timeout=60.0)
        assert after.rc == 0
        assert state(tashictl, vm["name"]) == "gone"
