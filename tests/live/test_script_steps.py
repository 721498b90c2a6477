"""Each step by real shells: manifests, disks, interfaces, folders, files; done once and twice."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from tashictl.model.steps import (
    AddTap,
    CheckImage,
    CheckPort,
    MakeFolder,
    PlaceImage,
    PlaceSeed,
    RemoveFile,
    RemoveTap,
    WriteIfup,
    WriteManifest,
)
from tashictl.planning import frames, paths
from tests.live.ground import NASTY, UUID, Ground, failed, is_free, parts, wait_for

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


def test_a_late_copy_of_the_first_script_leaves_what_the_same_operation_wrote_after_it(
    ground: Ground,
) -> None:
    ground.ok(ground.manifest(phase="creating", operation=5))
    path = ground.folder / "manifest.json"
    further = ground.manifest(phase="running", operation=5, more="1")
    path.write_text(further.manifest + "\n")

    ground.ok(ground.manifest(phase="creating", operation=5))
    assert path.read_text() == further.manifest + "\n"

    ground.ok(ground.manifest(phase="creating", operation=6), operation=6, seen=5)
    assert json.loads(path.read_text())["phase"] == "creating"


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


# -- the port of a network of mode user


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_a_port_that_something_listens_on_is_refused(ground: Ground, address: str) -> None:
    v6 = ":" in address
    if v6 and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with socket.create_server((address, 0), family=family, dualstack_ipv6=v6) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            said = failed(ground, CheckPort(**ground.at, port=port))
            assert f"another process listens on port {port}" in said
    ground.ok(CheckPort(**ground.at, port=port))  # what it had accepted does not count


def test_a_listener_elsewhere_is_none_of_ours_and_a_vm_that_runs_has_its_port(
    ground: Ground,
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        ground.ok(CheckPort(**ground.at, port=listener.getsockname()[1]))
    ground.started()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ground.ok(CheckPort(**ground.at, port=listener.getsockname()[1]))


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


def test_the_scripts_of_several_vms_write_it_at_once_and_none_fails(ground: Ground) -> None:
    path = ground.root / "etc" / "qemu-ifup.1"

    def write(number: int) -> frames.Answer:
        uuid = f"{UUID[:-2]}{number:02x}"
        content = "#!/bin/sh\n# rendered by tashictl\n" + "ip link\n" * 500
        step = WriteIfup(
            **dict(paths.at("node1", uuid, ground.settings)), path=str(path), content=content
        )
        return ground.ok(step, uuid=uuid, operation=5 + number, seen=99)

    for _ in range(3):
        path.unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(write, range(8)))) == 8
        assert path.read_text().count("ip link") == 500
    assert parts(ground) == []


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


def test_a_seed_is_named_only_when_it_is_whole_and_is_then_private(ground: Ground) -> None:
    ground.ok(ground.manifest())
    path, part = ground.folder / "seed.iso", ground.folder / "seed.iso.part"
    digest = sha256(b"content").hexdigest()
    place = PlaceSeed(**ground.at, part=str(part), path=str(path), sha256=digest)
    for there in (None, b"cont"):
        if there is not None:
            part.write_bytes(there)
        assert "did not arrive" in failed(ground, place)
        assert not path.exists()

    part.write_bytes(b"content")
    part.chmod(0o644)
    ground.ok(place)
    part.write_bytes(b"cont")  # a stream that came late
    ground.ok(place)

    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o640
    assert not part.exists()


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
