"""QEMU by real shells: started, found, ended, and seen by the probe."""

import os
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tashictl.model.steps import AwaitExit
from tashictl.planning import facts
from tests.live.ground import (
    NASTY,
    NONCE,
    UUID,
    Ground,
    failed,
    holding,
    is_free,
    wait_for,
)

# -- QEMU


def test_qemu_runs_on_when_the_script_has_ended(ground: Ground) -> None:
    answer = ground.ok(ground.manifest(), ground.start())

    data = answer.steps[1].data
    pid = int(data["pid"])
    assert ground.is_stub(pid)
    assert os.getsid(pid) == pid
    assert data["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert not is_free(ground.run_folder / "run.lock")
    assert is_free(ground.fence_file)
    assert is_free(ground.lib / "cluster.lock")


def test_qemu_that_runs_is_not_started_again(ground: Ground) -> None:
    pid = ground.started()
    before = ground.argv_seen

    answer = ground.ok(ground.start("more"))

    assert answer.steps[0].data["pid"] == str(pid)
    assert ground.argv_seen == before


def test_every_argument_reaches_qemu_as_it_is(ground: Ground) -> None:
    ground.started(*NASTY)

    assert tuple(ground.argv_seen[4:]) == NASTY


def test_the_run_folder_is_for_its_group_alone(ground: Ground) -> None:
    ground.started()

    assert ground.run_folder.stat().st_mode & 0o7777 == 0o2750
    assert (ground.run_folder / "qmp.sock").stat().st_mode & 0o007 == 0


def test_a_qemu_that_ends_at_once_is_told_with_its_last_words(ground: Ground) -> None:
    ground.mode("ends")

    message = failed(ground, ground.manifest(), ground.start())

    assert "stub: no such machine" in message
    assert "QEMU ended at once with exit code 1" in message
    assert is_free(ground.run_folder / "run.lock")


def test_a_qemu_without_a_socket_is_ended(ground: Ground) -> None:
    ground.mode("mute")

    message = failed(ground, ground.manifest(), ground.start(wait_s=1))

    assert message == "no QMP socket within 1 s"
    wait_for(lambda: is_free(ground.run_folder / "run.lock"))


def test_without_qemu_the_names_that_were_looked_for_are_told(ground: Ground) -> None:
    message = failed(ground, ground.manifest(), ground.start(binaries=("qemu-a", "/no/qemu-b")))

    assert message == "no QEMU is installed (looked for qemu-a /no/qemu-b)"


def test_a_run_lock_that_another_process_holds_starts_nothing(ground: Ground) -> None:
    ground.run_folder.mkdir(parents=True)
    with holding(ground.run_folder / "run.lock"):
        message = failed(ground, ground.manifest(), ground.start())

    assert "run.lock is held" in message
    assert not (ground.bin / "argv.json").exists()


# -- its end


def test_qemu_is_ended_and_ending_it_twice_is_as_once(ground: Ground) -> None:
    pid = ground.started()

    answer = ground.ok(ground.kill())
    again = ground.ok(ground.kill())

    assert answer.steps[0].data == {"pid": str(pid)}
    assert not ground.is_stub(pid)
    assert is_free(ground.run_folder / "run.lock")
    assert (again.steps[0].message, again.steps[0].data) == ("not running", {})


def test_a_qemu_that_does_not_listen_is_killed(ground: Ground) -> None:
    ground.mode("deaf")
    pid = ground.started()

    ground.ok(ground.kill(wait_s=1))

    assert not ground.is_stub(pid)


def test_an_end_is_awaited_and_never_made(ground: Ground) -> None:
    pid = ground.started()
    wait = AwaitExit(**ground.at, wait_s=0)

    assert failed(ground, wait) == "QEMU still runs"
    assert ground.is_stub(pid)
    ground.ok(ground.kill())
    ground.ok(wait)
    ground.ok(wait)


@pytest.mark.parametrize("pid_file", ["", "none", "foreign"])
def test_it_is_found_by_its_uuid_whatever_the_pid_file_says(ground: Ground, pid_file: str) -> None:
    pid = ground.started()
    with subprocess.Popen(["sleep", "30"]) as other:
        path = ground.run_folder / "qemu.pid"
        if pid_file == "none":
            path.unlink()
        else:
            path.write_text(str(other.pid) if pid_file == "foreign" else "")

        ground.ok(ground.kill())

        assert not ground.is_stub(pid)
        assert other.poll() is None
        other.kill()


def test_a_stale_pid_file_ends_no_foreign_process(ground: Ground) -> None:
    ground.run_folder.mkdir(parents=True)
    sleep = [sys.executable, "-c", "import time; time.sleep(30)", UUID, "-uuid"]
    with subprocess.Popen(sleep) as other:
        (ground.run_folder / "qemu.pid").write_text(str(other.pid))

        answer = ground.ok(ground.kill())

        assert answer.steps[0].message == "not running"
        assert other.poll() is None
        other.kill()


def test_a_lock_without_a_process_is_not_called_ended(ground: Ground) -> None:
    ground.run_folder.mkdir(parents=True)
    with holding(ground.run_folder / "run.lock"):
        message = failed(ground, ground.kill())

    assert "run.lock is held" in message


# -- the probe


def test_a_probe_sees_what_is_there(ground: Ground) -> None:
    pid = ground.started()
    name = "sub dir/it's.img"
    (ground.images / "sub dir").mkdir()
    (ground.images / name).write_bytes(b"y" * 10)
    (ground.images / "half.img.part").write_bytes(b"z")
    ground.ok(ground.overlay(path=str(ground.images / "disk.qcow2")))

    probe = facts.Probe(settings=ground.settings, cpu="qemu64", kvm=False)
    script = facts.script(probe, NONCE)
    reading = facts.read(ground.text(script.text), NONCE, datetime.now(UTC), "kvm")

    assert reading is not None
    found = reading.facts
    assert (found.claimed_by, found.claimed_epoch, found.claimed_counter) == (
        ground.settings.tashictl.cluster_id,
        1,
        5,
    )
    assert found.missing == ()
    assert found.accel == "kvm"
    assert found.cores > 0
    assert found.memory_mib > 0
    assert abs(found.clock_offset_s) < 5
    images = {i.name: (i.format, i.size_bytes, i.virtual_size_bytes) for i in found.images}
    assert images["base.img"] == ("raw", 4096, 4096)
    assert images[name] == ("raw", 10, 10)
    assert images["disk.qcow2"][::2] == ("qcow2", 4096)
    assert set(images) == {"base.img", name, "disk.qcow2"}
    (vm,) = found.vms
    assert (vm.uuid, vm.alive, vm.pid) == (UUID, True, pid)
    assert vm.manifest == {"uuid": UUID, "generation": 1}
    assert vm.fence == (1, 5, 1)


def test_a_probe_tells_the_dead_from_the_living(ground: Ground) -> None:
    pid = ground.started()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_free(ground.run_folder / "run.lock"))
    script = facts.script(facts.Probe(settings=ground.settings, cpu="qemu64", kvm=False), NONCE)

    reading = facts.read(ground.text(script.text), NONCE, datetime.now(UTC))

    assert reading is not None
    assert [(vm.alive, vm.pid) for vm in reading.facts.vms] == [(False, None)]


def test_a_probe_of_an_empty_host_changes_nothing(ground: Ground) -> None:
    before = without_tools(ground)
    script = facts.script(facts.Probe(settings=ground.settings, cpu="qemu64", kvm=False), NONCE)

    reading = facts.read(ground.text(script.text), NONCE, datetime.now(UTC))

    assert reading is not None
    assert (reading.facts.claimed_by, reading.facts.vms) == (None, ())
    assert without_tools(ground) == before


def test_what_a_login_shell_prints_before_does_not_disturb(ground: Ground) -> None:
    noise = f"echo 'Welcome'; echo '@{'0' * 16} Z'; echo {shlex.quote('@ Z')};\n"
    script = ground.script(ground.manifest())

    out = ground.text(noise + script.text)

    assert b"Welcome" in out
    assert ground.answer(out).steps[0].rc == 0


def without_tools(ground: Ground) -> list[Path]:
    """Everything on the host but what the stub writes of itself."""
    return sorted(p for p in ground.root.rglob("*") if ground.bin not in p.parents)
