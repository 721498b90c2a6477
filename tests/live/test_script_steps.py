"""Each step by real shells: done once, done twice, refused, and never more than its own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tashictl.model.steps import (
    AddTap,
    CheckImage,
    MakeFolder,
    PlaceImage,
    RemoveFile,
    RemoveTap,
    WriteIfup,
    WriteManifest,
)
from tashictl.planning import facts
from tests.live.ground import NONCE, SHELLS, UUID, Ground, holding, is_free

NASTY = (
    "",
    " ",
    "-n",
    "--",
    "a b",
    "it's",
    '"q"',
    "$(touch /tmp/x)",
    "`id`",
    "$HOME",
    "\\",
    "\\n",
    "a\nb",
    "a\n",
    "*",
    "~",
    "ü ☃",
    "%s %d",
    "{}",
    ";&|<>()!#",
    "\t",
)


@pytest.fixture(params=list(SHELLS))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path, request.param)
    (made.images / "base.img").write_bytes(b"x" * 4096)
    yield made
    made.clean()


def failed(ground: Ground, *steps: object) -> str:
    """What the last of the steps says, which alone fails."""
    answer = ground.run(*steps)  # type: ignore[arg-type]
    assert answer.refused == ()
    *before, last = answer.steps.values()
    assert [s.rc for s in before] == [0] * (len(steps) - 1)
    assert last.rc not in (0, None)
    return last.message


def parts(ground: Ground) -> list[Path]:
    return list(ground.root.rglob("*.part"))


# -- the manifest


def test_a_manifest_is_written_whole_and_private(ground: Ground) -> None:
    ground.ok(ground.manifest(name="web1"))

    path = ground.folder / "manifest.json"
    assert json.loads(path.read_text()) == {"uuid": UUID, "generation": 1, "name": "web1"}
    assert path.stat().st_mode & 0o777 == 0o640
    assert ground.folder.stat().st_mode & 0o007 == 0
    assert parts(ground) == []


def test_the_same_manifest_is_not_written_again(ground: Ground) -> None:
    ground.ok(ground.manifest())
    before = (ground.folder / "manifest.json").stat().st_ino

    ground.ok(ground.manifest())

    assert (ground.folder / "manifest.json").stat().st_ino == before


@pytest.mark.parametrize("text", NASTY)
def test_no_text_in_a_manifest_is_understood_by_the_shell(ground: Ground, text: str) -> None:
    ground.ok(ground.manifest(name=text))

    found = json.loads((ground.folder / "manifest.json").read_text())
    assert found["name"] == text


def test_the_running_manifest_says_which_process_it_is(ground: Ground) -> None:
    pid = ground.started()
    text = f'{{"uuid":"{UUID}","generation":1,"phase":"running"'
    running = WriteManifest(**ground.at, phase="running", manifest=text, add_started=True)

    ground.ok(running)
    ground.ok(running)

    found = json.loads((ground.folder / "manifest.json").read_text())
    stat = Path(f"/proc/{pid}/stat").read_text()
    assert found["started"] == {
        "pid": pid,
        "starttime": int(stat.rpartition(") ")[2].split()[19]),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }


def test_without_a_process_there_is_no_running_manifest(ground: Ground) -> None:
    step = WriteManifest(**ground.at, phase="running", manifest="{", add_started=True)

    assert failed(ground, ground.manifest(), step) == "QEMU has ended"


# -- disks


def test_an_overlay_is_created_once_and_never_touched_again(ground: Ground) -> None:
    ground.ok(ground.manifest(), ground.overlay())
    path = ground.folder / "disk0.qcow2"
    assert path.read_bytes()[:4] == b"QFI\xfb"
    assert os.fsencode(ground.images / "base.img") in path.read_bytes()
    path.write_bytes(b"what the guest wrote")

    answer = ground.ok(ground.overlay())

    assert "is there already" in answer.steps[0].message
    assert path.read_bytes() == b"what the guest wrote"
    assert path.stat().st_nlink == 1
    assert parts(ground) == []


def test_what_a_killed_script_left_half_made_is_made_anew(ground: Ground) -> None:
    ground.ok(ground.manifest())
    (ground.folder / "disk0.qcow2.part").write_bytes(b"half")

    ground.ok(ground.overlay())

    assert (ground.folder / "disk0.qcow2").read_bytes()[:4] == b"QFI\xfb"
    assert parts(ground) == []


def test_an_overlay_that_cannot_be_made_leaves_no_half(ground: Ground) -> None:
    message = failed(ground, ground.manifest(), ground.overlay(base_format="none such"))

    assert "none such" in message
    assert [p.name for p in ground.folder.iterdir()] == ["manifest.json"]


def outside(ground: Ground) -> list[str]:
    """Names in the image folder that lead out of it, or to no file."""
    secret = ground.root / "secret.img"
    secret.write_bytes(b"s" * 512)
    (ground.images / "link").symlink_to(secret)
    (ground.images / "sub").mkdir()
    (ground.images / "sub" / "up").symlink_to("../..")
    (ground.root / "shared" / "images2").mkdir()
    (ground.root / "shared" / "images2" / "a").write_bytes(b"s" * 512)
    return ["link", "../../secret.img", "sub/up/../secret.img", "sub", "../images2/a"]


def test_an_image_outside_the_image_folder_is_no_base(ground: Ground) -> None:
    ground.ok(ground.manifest())
    for name in outside(ground):
        assert "leads out of the image folder" in failed(ground, ground.overlay(name))

    assert "no image" in failed(ground, ground.overlay("none"))
    assert [p.name for p in ground.folder.iterdir()] == ["manifest.json"]


def test_an_image_outside_the_image_folder_is_no_persistent_disk(ground: Ground) -> None:
    def check(name: str) -> CheckImage:
        folder = str(ground.images)
        return CheckImage(**ground.at, path=f"{folder}/{name}", image_folder=folder)

    for name in outside(ground):
        assert "leads out of the image folder" in failed(ground, check(name))

    assert "no image" in failed(ground, check("none"))
    ground.ok(check("base.img"))


def test_a_link_that_stays_within_the_image_folder_is_an_image(ground: Ground) -> None:
    (ground.images / "latest").symlink_to("base.img")

    ground.ok(ground.manifest(), ground.overlay("latest"))


# -- interfaces


def test_an_ifup_script_is_written_and_replaced_unless_it_is_the_operators(ground: Ground) -> None:
    path = ground.root / "etc" / "qemu-ifup.1"

    def write(text: str) -> None:
        content = f"#!/bin/sh\n# rendered by tashictl\n{text}\n"
        ground.ok(WriteIfup(**ground.at, path=str(path), content=content))

    write("one $1 'quoted'")
    write("two $1 'quoted'")
    assert path.read_text() == "#!/bin/sh\n# rendered by tashictl\ntwo $1 'quoted'\n"
    assert path.stat().st_mode & 0o777 == 0o755

    path.write_text("#!/bin/sh\nmine\n")
    write("three")

    assert path.read_text() == "#!/bin/sh\nmine\n"


def test_a_tap_is_made_and_handed_to_the_networks_script(ground: Ground) -> None:
    ifup = ground.root / "etc" / "qemu-ifup.1"
    ifup.write_text('#!/bin/sh\necho "ifup $1" >>"$(dirname "$0")/../bin/ip.log"\n')
    ifup.chmod(0o755)

    ground.ok(AddTap(**ground.at, tap="tashi1.0", ifup=str(ifup)))
    ground.ok(AddTap(**ground.at, tap="lo", ifup=str(ifup)))  # it is there: only handed over

    log = (ground.bin / "ip.log").read_text().splitlines()
    assert log == ["tuntap add dev tashi1.0 mode tap", "ifup tashi1.0", "ifup lo"]


def test_a_network_script_that_fails_fails_the_step(ground: Ground) -> None:
    ifup = ground.root / "etc" / "qemu-ifup.1"
    ifup.write_text("#!/bin/sh\necho no bridge; exit 3\n")
    ifup.chmod(0o755)

    assert "no bridge" in failed(ground, AddTap(**ground.at, tap="tashi1.0", ifup=str(ifup)))


def test_a_tap_is_removed_only_where_it_is(ground: Ground) -> None:
    ground.ok(RemoveTap(**ground.at, tap="tashi1.0"))
    assert not (ground.bin / "ip.log").exists()

    ground.ok(RemoveTap(**ground.at, tap="lo"))

    assert (ground.bin / "ip.log").read_text() == "link del dev lo\n"


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


# -- folders and files


def test_the_folders_are_removed_whatever_is_in_them(ground: Ground) -> None:
    ground.ok(ground.manifest(), ground.overlay())
    for name in ("-rf", ".hidden", "a b", "..two", "*", "new\nline"):
        (ground.folder / name).write_text("x")
    (ground.folder / "sub").mkdir()
    (ground.folder / "sub" / "file").write_text("x")
    ground.run_folder.mkdir(parents=True)
    (ground.run_folder / "qmp.sock").write_text("x")
    keep = ground.folder.parent / "other"
    keep.mkdir()

    ground.ok(ground.remove())
    ground.ok(ground.remove())

    assert not ground.folder.exists()
    assert not ground.run_folder.exists()
    assert keep.exists()
    assert (ground.images / "base.img").exists()


def test_the_folders_stay_while_qemu_lives(ground: Ground) -> None:
    pid = ground.started()

    assert failed(ground, ground.remove()) == "QEMU still runs"

    assert (ground.folder / "manifest.json").exists()
    assert ground.is_stub(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_free(ground.run_folder / "run.lock"))
    ground.ok(ground.remove())


def test_the_folders_stay_while_a_process_of_it_lives_without_its_lock(ground: Ground) -> None:
    pid = ground.started()
    (ground.run_folder / "run.lock").unlink()

    assert failed(ground, ground.remove()) == "QEMU still runs"
    assert ground.is_stub(pid)


def test_an_image_is_named_once_its_content_is_right(ground: Ground) -> None:
    path, part = ground.images / "new.img", ground.images / "new.img.part"
    digest = sha256(b"content").hexdigest()
    place = ground.on_host(
        PlaceImage(**ground.at, part=str(part), path=str(path), sha256=digest),
    )
    part.write_bytes(b"cont")
    assert "expected sha256" in host_failed(ground, place)
    assert not path.exists()

    part.write_bytes(b"content")
    ground.ok(place, uuid="host")
    ground.ok(place, uuid="host")

    assert path.read_bytes() == b"content"
    assert not part.exists()


def test_an_image_of_that_name_with_other_content_stays(ground: Ground) -> None:
    part = ground.images / "base.img.part"
    part.write_bytes(b"content")
    digest = sha256(b"content").hexdigest()
    place = PlaceImage(
        **ground.at, part=str(part), path=str(ground.images / "base.img"), sha256=digest
    )

    assert "other content" in host_failed(ground, ground.on_host(place))
    assert (ground.images / "base.img").read_bytes() == b"x" * 4096


def test_folders_are_made_and_files_removed_twice(ground: Ground) -> None:
    made, gone = ground.images / "a b" / "c", ground.images / "base.img"
    steps = (
        MakeFolder(**ground.at, path=str(made)),
        RemoveFile(**ground.at, path=str(gone)),
    )

    ground.ok(*steps)
    ground.ok(*steps)

    assert made.is_dir()
    assert not gone.exists()


def host_failed(ground: Ground, step: object) -> str:
    answer = ground.run(step, uuid="host")  # type: ignore[arg-type]
    assert answer.steps[0].rc == 1
    return answer.steps[0].message


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


def wait_for(what: object, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)
