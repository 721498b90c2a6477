"""VMs whose QEMU is gone start again where their disks lie: with what their guests have written."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl
from tests.live.test_create import DATA, DEMO, MARK, await_line, console, type_line

KILLED = -signal.SIGKILL
Vm = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def images(tashictl: Tashictl, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image without a system, and one for data."""
    folder = tmp_path_factory.mktemp("images")
    tashictl.run("image", "import", str(invariants.blank_image(folder)))
    tashictl.run("image", "import", str(invariants.blank_image(folder, DATA, b"nothing yet")))


@pytest.fixture(autouse=True)
def clean(lab: Lab, tashictl: Tashictl) -> Iterator[None]:
    """No VM before and after a test, and nothing of one on any host."""
    yield
    invariants.ready(lab, tashictl)
    assert invariants.complaints(lab, tashictl) == []


def create(tashictl: Tashictl, name: str, *more: str, image: str = invariants.IMAGE) -> Vm:
    argv = ("vm", "create", name, "--disk", image, *more, "-o", "json")
    made: Vm = tashictl.run(*argv).json()
    return made


def state(tashictl: Tashictl, name: str) -> str:
    record = invariants.record(tashictl, name)
    return record["state"] if record else "gone"


def kill_qemu(lab: Lab, tashictl: Tashictl, vm: Vm) -> None:
    """SIGKILL to the VM's QEMU; then a look says that it has exited."""
    host = lab.host(vm["host"])
    (pid,) = (q.outer_pid for q in observe(host).qemus if q.uuid == vm["uuid"])
    os.kill(pid, signal.SIGKILL)
    assert invariants.until(lambda: not Path(f"/proc/{pid}").exists(), 5.0)
    tashictl.run("host", "check", vm["host"], check=False)
    assert state(tashictl, vm["name"]) == "Exited"


def overlays(lab: Lab, vm: Vm) -> list[tuple[int, str]]:
    """Inode and sha256 of each overlay."""
    root = lab.host(vm["host"]).root
    paths = [root / disk["path"].lstrip("/") for disk in vm["disks"]]
    return [(p.stat().st_ino, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths]


def test_what_a_guest_wrote_to_its_overlay_is_there_after_a_start(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "web1", "--memory", "128M", "--disk", DATA, image=DEMO)
    log, host = console(lab, made), lab.host(made["host"])
    run_folder = f"/run/tashi/{Path(made['disks'][0]['path']).parts[-3]}/{made['uuid']}"
    await_line(log, "HB 1 ")
    type_line(host, run_folder, f"echo {MARK} > /dev/vdb; sync; echo DO''NE")
    await_line(log, "DONE")
    kill_qemu(lab, tashictl, made)
    before = overlays(lab, made)
    beats = log.read_text(errors="replace").count("HB 1 ")

    done = tashictl.run("vm", "start", "web1")

    assert f"web1 is Running on {made['host']}" in done.out
    after = invariants.record(tashictl, "web1")
    assert after is not None
    assert {k: after[k] for k in ("id", "uuid", "host", "disks", "nics", "machine")} == {
        k: made[k] for k in ("id", "uuid", "host", "disks", "nics", "machine")
    }
    (qemu,) = observe(host).qemus
    assert (qemu.uuid, qemu.pid) == (made["uuid"], after["pid"])
    assert overlays(lab, made)[1] == before[1]
    assert overlays(lab, made)[0][0] == before[0][0]
    assert invariants.until(lambda: log.read_text(errors="replace").count("HB 1 ") > beats, 90.0)
    overlay = host.root / made["disks"][1]["path"].lstrip("/")
    assert MARK.encode() in overlay.read_bytes()
    assert "web1 is Running already" in tashictl.run("vm", "start", "web1").err
    tashictl.run("vm", "pause", "web1")
    again = tashictl.run("vm", "start", "web1", "-o", "json", check=False)
    invariants.refused(again, 5, "Paused", "unpause")


def test_all_that_a_reboot_ended_is_started_by_one_command(lab: Lab, tashictl: Tashictl) -> None:
    made = tashictl.run(
        *("vm", "create", "web", "--count", "3", "--disk", invariants.IMAGE, "-o", "json")
    ).json()
    before = [overlays(lab, vm) for vm in made]
    for name in {vm["host"] for vm in made}:
        lab.host(name).reboot()
    assert tashictl.run("vm", "start", "web-0", check=False).rc == 6  # nobody has looked yet
    tashictl.run("host", "check", check=False)
    assert {state(tashictl, vm["name"]) for vm in made} == {"Exited"}
    planned = tashictl.run("vm", "start", "web*", "--dry-run")
    assert planned.out.count("AwaitQmp") == 3
    assert {state(tashictl, vm["name"]) for vm in made} == {"Exited"}

    done = tashictl.run("vm", "start", "web*")

    assert [line.split()[:3] for line in done.out.splitlines()[1:]] == [
        [f"web-{n}", "is", "Running"] for n in range(3)
    ]
    assert [overlays(lab, vm) for vm in made] == before


START = [("CheckDisk", "sent"), ("WriteManifest", "after"), ("AddTap", "sent")]
START += [("StartQemu", "sent"), ("StartQemu", "after"), ("WriteManifest", "before")]
START += [("AwaitQmp", "before"), ("AwaitQmp", "after")]


@pytest.mark.parametrize("then", ["start", "resume", "undo"])
def test_a_start_that_is_killed_at_any_step_is_put_right_by_the_next_command(
    lab: Lab, tashictl: Tashictl, then: str
) -> None:
    made = create(tashictl, "web1")
    before = overlays(lab, made)
    for step, moment in START:
        kill_qemu(lab, tashictl, made)
        fault = {"TASHICTL_FAULT": f"{step}:{moment}:kill"}
        done = tashictl.run("vm", "start", "web1", check=False, env=fault)
        assert done.rc == KILLED, done
        (operation,) = tashictl.run("op", "list", "-o", "json").json()
        assert (operation["kind"], operation["status"]) == ("start", "interrupted")
        assert state(tashictl, "web1") == "Activating"
        if then == "start":
            tashictl.run("vm", "start", "web1")
        else:
            settled = tashictl.run("op", then, str(operation["id"]), check=False)
            assert settled.rc in ((0, 5) if then == "undo" else (0,)), settled
            if settled.rc == 0 and then == "undo":
                assert state(tashictl, "web1") == "Exited"
                assert observe(lab.host(made["host"])).qemus == ()
            tashictl.run("vm", "start", "web1")
        assert state(tashictl, "web1") == "Running"
        assert tashictl.run("op", "list", "-o", "json").json() == []
        assert overlays(lab, made) == before
        assert invariants.complaints(lab, tashictl) == []


def test_a_start_that_fails_says_why_and_leaves_the_vm_as_it_was(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "web1")
    host, before = lab.host(made["host"]), overlays(lab, made)
    kill_qemu(lab, tashictl, made)
    for spoil in (host.break_qemu, host.fill_disk):
        spoil()
        done = tashictl.run("vm", "start", "web1", check=False)
        assert done.rc == 1, done
        record = invariants.record(tashictl, "web1")
        assert record is not None
        assert (record["state"], record["operation"]) == ("Exited", None)
        assert record["reason"].startswith("not started: ")
        assert observe(host).qemus == ()
        assert overlays(lab, made) == before
        host.heal()
    host.stop_sshd()
    assert tashictl.run("vm", "start", "web1", check=False).rc == 6
    host.start_sshd()
    assert state(tashictl, "web1") == "Exited"
    tashictl.run("vm", "start", "web1")
    assert overlays(lab, made) == before


def test_a_disk_that_somebody_removed_is_missed_and_not_made_anew(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "web1")
    kill_qemu(lab, tashictl, made)
    path = made["disks"][0]["path"]
    lab.host(made["host"]).run(f"rm {path}", check=True)

    done = tashictl.run("vm", "start", "web1", check=False)

    assert done.rc == 1
    assert "a disk of the VM is gone" in done.err
    assert not (lab.host(made["host"]).root / path.lstrip("/")).exists()
    assert state(tashictl, "web1") == "Exited"
