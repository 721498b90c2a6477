"""The fence of every changing script, by real shells: what it lets through, refuses, remembers."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tashictl.model.steps import MakeFolder
from tashictl.planning import frames
from tests.live.ground import CLUSTER, NONCE, OTHER_UUID, SHELLS, UUID, Ground, holding


@pytest.fixture(params=list(SHELLS))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path, request.param)
    yield made
    made.clean()


def refused(ground: Ground, **fence: Any) -> tuple[str, ...]:
    """Why a script is not let in; nothing of it is done."""
    answer = ground.run(ground.manifest(late="yes"), **fence)
    manifest = ground.folder / "manifest.json"
    assert answer.steps == {}
    assert not manifest.exists() or '"late"' not in manifest.read_text()
    return answer.refused


def test_the_first_script_claims_the_host_and_marks_its_progress(ground: Ground) -> None:
    answer = ground.ok(ground.manifest(), ground.harmless())

    assert list(answer.steps) == [0, 1]
    assert ground.cluster_file.read_text().rstrip() == f"{CLUSTER} 1 5 {UUID} dev@de'sk"
    assert ground.fence_file.read_text().rstrip() == "1 5 1 1 MakeFolder rc 0"
    # Overwritten in place: it needs no room.
    assert ground.cluster_file.stat().st_size == 120
    assert ground.fence_file.stat().st_size == 80


def test_the_same_script_may_come_twice(ground: Ground) -> None:
    ground.ok(ground.manifest())

    ground.ok(ground.manifest())


def test_a_claim_that_gets_shorter_leaves_nothing_of_the_longer_one(ground: Ground) -> None:
    ground.ok(ground.manifest(), controller="somebody.with.a.long.name@" + "x" * 99)

    ground.ok(ground.manifest(), operation=6, seen=5, controller="me@desk")

    assert ground.cluster_file.read_text().rstrip() == f"{CLUSTER} 1 6 {UUID} me@desk"
    assert ground.cluster_file.stat().st_size == 120


@pytest.mark.parametrize(
    "later",
    [
        {"attempt": 2},
        {"operation": 6, "seen": 5},
        {"operation": 6, "seen": 5, "attempt": 1},
        {"epoch": 2, "operation": 1, "seen": 0},
    ],
)
def test_what_is_later_comes_through_and_shuts_out_what_was_before(
    ground: Ground, later: dict[str, int]
) -> None:
    ground.ok(ground.manifest())

    ground.ok(ground.manifest(), **later)

    known = {"epoch": 1, "operation": 5, "attempt": 1, **later}
    why = ground.run(ground.manifest(), seen=later.get("operation", 5)).refused
    if known["epoch"] == 2:
        assert why == ("epoch", "2")
    else:
        assert why == ("newer", "1", str(known["operation"]), str(known["attempt"]))


def test_one_vm_does_not_shut_out_another(ground: Ground) -> None:
    ground.ok(ground.manifest(), operation=6, seen=5)
    folder = MakeFolder(**{**ground.at, "uuid": OTHER_UUID, "folder": "/x"}, path="/tmp")

    answer = ground.run(folder, uuid=OTHER_UUID, operation=5, seen=6)

    assert answer.refused == ()


def test_an_operation_that_was_given_out_twice_is_refused(ground: Ground) -> None:
    folder = MakeFolder(**{**ground.at, "uuid": OTHER_UUID, "folder": "/x"}, path="/tmp")
    ground.ok(folder, uuid=OTHER_UUID)

    assert refused(ground) == ("counter", "5", OTHER_UUID)
    assert refused(ground, attempt=2) == ("counter", "5", OTHER_UUID)
    assert refused(ground, operation=6) == ("counter", "5", OTHER_UUID)

    ground.ok(folder, uuid=OTHER_UUID, attempt=2)
    ground.ok(ground.manifest(), operation=6, seen=5)


def test_too_late_by_the_hosts_clock(ground: Ground) -> None:
    why, now = refused(ground, not_after_s=int(time.time()) - 1)

    assert why == "late"
    assert abs(int(now) - time.time()) < 30
    assert not ground.lib.exists()


def test_too_late_after_the_wait_for_the_lock(ground: Ground) -> None:
    ground.ok(ground.manifest())
    done = threading.Event()

    def hold() -> None:
        with holding(ground.fence_file):
            done.wait(2.1)

    holder = threading.Thread(target=hold)
    holder.start()
    time.sleep(0.1)

    answer = ground.run(ground.manifest(late="yes"), not_after_s=int(time.time()) + 1)
    holder.join()

    assert answer.refused[0] == "late"


def test_a_host_of_another_cluster(ground: Ground) -> None:
    ground.lib.mkdir()
    ground.cluster_file.write_text("ffffffffffff 9 9 x them@there or so\n")

    assert refused(ground) == ("foreign", "ffffffffffff", "them@there", "or", "so")
    assert ground.cluster_file.read_text() == "ffffffffffff 9 9 x them@there or so\n"
    assert not ground.folder.exists()


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ("2 0", ("epoch", "2")),
        ("1 6 x", ("counter", "6", "x")),
        ("1 5 x", ("counter", "5", "x")),
        ("2 99", ("epoch", "2")),
        ("0 99", ()),
        ("1 4 x", ()),
        ("1 3 x", ()),
    ],
)
def test_a_host_that_knows_a_newer_database(
    ground: Ground, known: str, why: tuple[str, ...]
) -> None:
    ground.lib.mkdir()
    ground.cluster_file.write_text(f"{CLUSTER} {known} dev@desk\n")

    answer = ground.run(ground.manifest())

    assert answer.refused == why
    assert ground.folder.exists() is (why == ())


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (f'{{"uuid":"{OTHER_UUID}","generation":1}}', "manifest"),
        ("garbage", "manifest"),
        (f'{{"uuid":"{UUID}","generation":2}}', "generation"),
    ],
)
def test_a_folder_that_is_not_what_the_database_says(
    ground: Ground, manifest: str, why: str
) -> None:
    ground.folder.mkdir(parents=True)
    (ground.folder / "manifest.json").write_text(manifest)

    answer = ground.run(ground.manifest(), ground.remove())

    assert answer.refused[0] == why
    assert answer.steps == {}
    assert (ground.folder / "manifest.json").read_text() == manifest


def test_a_manifest_of_the_same_or_an_older_generation_is_ours(ground: Ground) -> None:
    ground.ok(ground.manifest(generation=3), generation=3)

    ground.ok(ground.manifest(generation=3), generation=3)
    ground.ok(ground.manifest(generation=4), generation=4)


def test_a_lock_that_is_held_is_waited_for_and_then_refused(ground: Ground) -> None:
    with holding(ground.fence_file):
        assert refused(ground, lock_wait_s=0) == ("busy", "vm")
    with holding(ground.lib / "cluster.lock"):
        assert refused(ground, lock_wait_s=0) == ("busy", "host")

    ground.ok(ground.manifest())


def test_a_running_script_keeps_others_of_its_vm_out(ground: Ground) -> None:
    fifo = ground.root / "fifo"
    os.mkfifo(fifo)
    blocked = MakeFolder(**ground.at, path="/tmp")
    script = ground.script(blocked).text.replace("mkdir -p /tmp", f"read -r x <'{_q(fifo)}'")
    with subprocess.Popen(
        [*ground.shell, "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ground.env
    ) as first:
        assert first.stdin is not None
        first.stdin.write(script.encode())
        first.stdin.close()
        with fifo.open("w") as release:
            assert ground.fence_file.read_text().rstrip() == "1 5 1 0 MakeFolder begun"
            assert ground.run(ground.manifest(), attempt=2, lock_wait_s=0).refused == (
                "busy",
                "vm",
            )
            release.write("go\n")
        assert first.stdout is not None
        assert frames.parse(first.stdout.read(), NONCE).complete

    ground.ok(ground.manifest(), attempt=2)


def test_a_script_whose_reader_is_gone_is_done_to_its_end(ground: Ground) -> None:
    text = ground.script(ground.manifest(), ground.harmless()).text
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [*ground.shell, "-s"], stdin=subprocess.PIPE, stdout=writing, stderr=writing, env=ground.env
    ) as process:
        os.close(writing)
        process.communicate(text.encode(), timeout=20)

    assert (ground.folder / "manifest.json").exists()
    assert ground.fence_file.read_text().rstrip() == "1 5 1 1 MakeFolder rc 0"


def test_a_script_that_is_cut_short_on_its_way_does_nothing(ground: Ground) -> None:
    text = ground.script(ground.manifest(), ground.harmless()).text
    for share in (0.3, 0.6, 0.9, 0.99):
        subprocess.run(
            [*ground.shell, "-s"],
            input=text[: int(len(text) * share)].encode(),
            capture_output=True,
            env=ground.env,
            timeout=20,
            check=False,
        )

    assert not ground.lib.exists()


def test_the_fence_outlives_the_vm_and_keeps_old_scripts_out(ground: Ground) -> None:
    ground.ok(ground.manifest())
    ground.ok(ground.remove(), operation=6, seen=5)

    assert refused(ground, seen=6) == ("newer", "1", "6", "1")
    assert not ground.folder.exists()


def test_a_step_that_fails_is_the_last_one(ground: Ground) -> None:
    answer = ground.run(ground.manifest(), ground.overlay("none.img"), ground.start(), first=2)

    assert {i: s.rc for i, s in answer.steps.items()} == {2: 0, 3: 1}
    assert "no image" in answer.steps[3].message
    assert ground.fence_file.read_text().rstrip() == "1 5 1 3 CreateOverlay rc 1"


def test_the_name_of_a_folder_that_cannot_be_made_is_told(ground: Ground) -> None:
    ground.lib.write_text("a file")

    assert refused(ground) == ("folder", *f"{ground.lib}/{CLUSTER}/fence".split(" "))


# -- a full disk, of its own: a tmpfs in a mount namespace


def on_small_disk(
    ground: Ground, text: str, prepare: str, options: str = "size=64k"
) -> tuple[bytes, str]:
    """Run a script on a small tmpfs; its stdout, and what is on the disk afterwards."""
    ground.lib.mkdir(exist_ok=True)
    seen = ground.root / "seen"
    inside = (
        f'mount -t tmpfs -o {options} none "$1" && cd "$1" && {prepare}; cd / || exit 9\n'
        'lib=$1; seen=$2; shift 2; "$@" -s\n'
        'rm -f "$lib/filler"; cd "$lib" && find . -type f -exec tail -v -n 9 {} + >"$seen"\n'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", str(ground.lib), str(seen), *ground.shell],
        input=text.encode(),
        capture_output=True,
        env=ground.env,
        timeout=20,
        check=False,
    )
    return done.stdout, seen.read_text()


def two(ground: Ground) -> str:
    return ground.script(ground.manifest(), ground.harmless()).text


FILL = "{ head -c 999999 /dev/zero >filler; } 2>/dev/null"


def test_a_full_disk_refuses_before_anything_is_begun(ground: Ground) -> None:
    out, seen = on_small_disk(ground, two(ground), FILL)

    answer = frames.parse(out, NONCE)
    assert answer.complete
    assert answer.refused[0] == "folder"
    assert answer.steps == {}
    assert "manifest" not in seen
    assert CLUSTER not in seen.replace(f"./{CLUSTER}/fence", "")


def test_a_full_disk_with_a_claim_refuses_at_the_fence_file(ground: Ground) -> None:
    claim = f"printf '%s\\n' '{CLUSTER} 1 5 {UUID} dev' >cluster"

    out, seen = on_small_disk(ground, two(ground), f"{claim} && {FILL}")

    assert frames.parse(out, NONCE).refused == ("folder", *str(ground.fence_file).split(" "))
    assert "manifest" not in seen


def test_a_disk_that_is_full_later_fails_the_step_and_still_marks_it(ground: Ground) -> None:
    claim = (
        f"printf '%s\\n' '{CLUSTER} 1 5 {UUID} dev' >cluster"
        f" && mkdir -p {CLUSTER}/fence && printf '%-79s\\n' '1 4 1 x' >{CLUSTER}/fence/{UUID}"
    )

    out, seen = on_small_disk(ground, two(ground), f"{claim} && {FILL}")

    answer = frames.parse(out, NONCE)
    assert {i: s.rc for i, s in answer.steps.items()} == {0: 1}
    assert "No space left" in answer.steps[0].message
    assert "1 5 1 0 WriteManifest rc 1" in seen
    assert "manifest.json" not in seen


def test_no_inode_is_a_full_disk_too(ground: Ground) -> None:
    out, _ = on_small_disk(ground, two(ground), "true", "nr_inodes=2")

    assert frames.parse(out, NONCE).refused[0] == "folder"


def test_on_a_full_disk_a_vm_can_still_be_destroyed(ground: Ground) -> None:
    known = (
        f"printf '%-79s\\n' '{CLUSTER} 1 5 dev' >cluster"
        f" && mkdir -p {CLUSTER}/fence {CLUSTER}/{UUID}"
        f" && printf '%-79s\\n' '1 5 1 x' >{CLUSTER}/fence/{UUID}"
        f" && printf '%s\\n' '{ground.manifest().manifest}' >{CLUSTER}/{UUID}/manifest.json"
    )
    text = ground.script(ground.kill(), ground.remove(), operation=6, seen=5).text

    out, seen = on_small_disk(ground, text, f"{known} && {FILL}")

    answer = frames.parse(out, NONCE)
    assert {i: s.rc for i, s in answer.steps.items()} == {0: 0, 1: 0}
    assert "manifest" not in seen
    assert f"{CLUSTER} 1 6" in seen
    assert "1 6 1 1 RemoveDir rc 0" in seen


def _q(path: Path) -> str:
    return str(path).replace("'", "'\\''")
