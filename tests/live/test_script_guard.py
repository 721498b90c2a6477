"""Scripts of no operation, by real shells: fences marked at a rebuild, the replica of the state."""

import hashlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tashictl.model.host import HostRecord
from tashictl.model.state import Meta, State
from tashictl.model.steps import Guard, MarkFences, Step
from tashictl.planning import mend, paths, replica, scripts
from tashictl.planning.frames import Answer
from tests.live.ground import CLUSTER, NONCE, OTHER_UUID, SHELLS, UUID, Ground, holding


@pytest.fixture(params=list(SHELLS))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path, request.param)
    yield made
    made.clean()


def text(ground: Ground, *steps: Step, **guard: Any) -> str:
    usual: dict[str, Any] = {
        "cluster": CLUSTER,
        "epoch": 2,
        "lib_dir": str(ground.lib),
        "not_after_s": int(time.time()) + 60,
        "lock_wait_s": 5,
        "controller": "dev@de'sk",
    }
    return scripts.guarding(steps, Guard(**{**usual, **guard}), NONCE, 60).text


def run(ground: Ground, *steps: Step, **guard: Any) -> Answer:
    answer = ground.answer(ground.text(text(ground, *steps, **guard)))
    assert answer.complete
    return answer


def mark(ground: Ground, epoch: int = 2, **guard: Any) -> Answer:
    step = MarkFences(**paths.at_host("node1", ground.settings), epoch=epoch)
    return run(ground, step, epoch=epoch, **guard)


def test_all_fences_of_a_host_are_marked_with_the_new_epoch(ground: Ground) -> None:
    ground.ok(ground.manifest())
    ground.ok(ground.on_host(ground.harmless()), uuid="host", operation=6, seen=5)

    answer = mark(ground)

    assert answer.steps[0].data == {"fences": "2", "counter": "6"}
    assert ground.cluster_file.read_text().rstrip() == f"{CLUSTER} 2 6 host dev@de'sk"
    assert ground.cluster_file.stat().st_size == 120
    for name in (UUID, "host"):
        fence = ground.lib / CLUSTER / "fence" / name
        assert fence.read_text().rstrip() == "2 0 0 rebuilt"
        assert fence.stat().st_size == 80


def test_after_it_no_script_of_the_old_epoch_begins_and_one_of_the_new_does(ground: Ground) -> None:
    ground.ok(ground.manifest())
    mark(ground)

    assert ground.run(ground.manifest(), operation=9, seen=8).refused == ("epoch", "2")
    assert ground.run(ground.manifest(), uuid=OTHER_UUID).refused == ("epoch", "2")
    ground.ok(ground.manifest(), epoch=2, operation=1, seen=5)


def test_a_script_that_had_passed_the_claim_and_waited_does_nothing(ground: Ground) -> None:
    ground.ok(ground.manifest())
    late = ground.script(ground.manifest(late="yes"), operation=6, seen=5, lock_wait_s=10)
    with holding(ground.fence_file):
        waiting = subprocess.Popen(
            [*ground.shell, "-s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ground.env,
            cwd="/",
        )
        assert waiting.stdin is not None
        waiting.stdin.write(late.text.encode())
        waiting.stdin.close()
        _until(lambda: " 1 6 " in ground.cluster_file.read_text())
        # It has the claim behind it. Whoever gets the lock first, its effect is seen or never is.
        marked: list[Answer] = []
        marker = threading.Thread(target=lambda: marked.append(mark(ground, lock_wait_s=10)))
        marker.start()
        _until(lambda: " 2 6 " in ground.cluster_file.read_text())
    marker.join()
    assert waiting.stdout is not None
    answer = ground.answer(waiting.stdout.read())
    waiting.wait()
    done = '"late"' in (ground.folder / "manifest.json").read_text()
    assert done is (answer.refused == ())
    assert answer.refused in ((), ("newer", "2", "0", "0"))
    assert marked[0].steps[0].rc == 0
    assert ground.fence_file.read_text().startswith("2 0 0 ")


def test_a_script_that_still_runs_is_waited_for_and_then_told(ground: Ground) -> None:
    ground.ok(ground.manifest())
    with holding(ground.fence_file):
        answer = mark(ground, lock_wait_s=1)
    assert answer.steps[0].rc == 1
    assert "still holds" in answer.steps[0].message
    assert mark(ground).steps[0].rc == 0


def test_a_second_copy_that_comes_late_takes_nothing_back(ground: Ground) -> None:
    ground.ok(ground.manifest())
    mark(ground)
    ground.ok(ground.manifest(), epoch=2, operation=7, seen=5)
    before = ground.fence_file.read_text()

    mark(ground)

    assert ground.fence_file.read_text() == before
    assert ground.cluster_file.read_text().startswith(f"{CLUSTER} 2 7 {UUID} ")


def test_an_older_rebuild_than_the_last_one_is_refused(ground: Ground) -> None:
    ground.ok(ground.manifest())
    mark(ground, epoch=3)
    assert mark(ground, epoch=2).refused == ("epoch", "3")


def test_a_host_of_others_or_of_nobody_is_left_alone(ground: Ground) -> None:
    ground.lib.mkdir()
    assert mark(ground).refused == ("unclaimed",)
    assert list(ground.lib.iterdir()) == []
    assert mark(ground, claims=True).steps[0].data == {"fences": "0", "counter": "0"}
    assert ground.cluster_file.read_text().rstrip() == f"{CLUSTER} 2 0 host dev@de'sk"
    ground.cluster_file.write_text("ffffffffffff 1 1 host them@there\n")
    assert mark(ground, claims=True).refused == ("foreign", "ffffffffffff", "them@there")


def test_a_script_that_comes_too_late_does_nothing(ground: Ground) -> None:
    ground.ok(ground.manifest())
    assert mark(ground, not_after_s=int(time.time()) - 5).refused[0] == "late"


# -- the replica


def a_state(generation: int = 41) -> State:
    meta = Meta(cluster=CLUSTER, epoch=2, generation=generation)
    return State(meta=meta, hosts={"node1": HostRecord(id=1, name="node1")})


def bring(ground: Ground, state: State, data: bytes | None = None) -> Answer:
    """The three steps; `data` is what arrives."""
    whole = replica.content(state)
    steps = replica.copies(state, whole, "node1", ground.settings)
    made = run(ground, steps.folder)
    if made.steps[0].rc == 0:
        Path(steps.stream.path).write_bytes(whole if data is None else data)
        return run(ground, steps.place)
    return made


def test_a_replica_is_placed_for_nobody_else_to_read(ground: Ground) -> None:
    ground.ok(ground.manifest())
    assert bring(ground, a_state()).steps[0].rc == 0

    folder = Path(replica.path(ground.settings))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == {
        "state.json": 0o600,
        "head": 0o600,
    }
    assert replica.read((folder / "state.json").read_bytes(), CLUSTER) == a_state()
    assert (folder / "head").read_text() == f"2 41 {replica.digest(a_state())}\n"


def test_a_newer_replica_is_never_replaced_by_an_older_one(ground: Ground) -> None:
    ground.ok(ground.manifest())
    bring(ground, a_state(42))
    folder = Path(replica.path(ground.settings))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    answer = bring(ground, a_state(41))

    assert answer.steps[0].rc == 1
    assert "newer" in answer.steps[0].message
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert bring(ground, a_state(42)).steps[0].rc == 0
    assert bring(ground, a_state(43)).steps[0].rc == 0


def test_what_arrived_in_pieces_is_not_placed(ground: Ground) -> None:
    ground.ok(ground.manifest())
    bring(ground, a_state(41))
    answer = bring(ground, a_state(42), b"half of it")
    assert answer.steps[0].rc == 1
    folder = Path(replica.path(ground.settings))
    assert {p.name for p in folder.iterdir()} == {"state.json", "head"}
    assert (folder / "head").read_text().startswith("2 41 ")


def test_twenty_thousand_vms_are_no_matter(ground: Ground) -> None:
    ground.ok(ground.manifest())
    notes = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(60_000))
    state = State(
        meta=Meta(cluster=CLUSTER, epoch=2, generation=9),
        hosts={"node1": HostRecord(id=1, name="node1", notes=notes)},
    )
    assert bring(ground, state).steps[0].rc == 0


def test_a_released_host_is_not_given_a_replica(ground: Ground) -> None:
    ground.lib.mkdir()
    steps = replica.copies(a_state(), b"x", "node1", ground.settings)
    for step in (steps.folder, steps.place):
        assert run(ground, step).refused == ("unclaimed",)
    assert list(ground.lib.iterdir()) == []


def _until(done: Any) -> None:
    limit_s = time.monotonic() + 5
    while not done():
        assert time.monotonic() < limit_s
        time.sleep(0.01)


# -- doctor --fix


@pytest.mark.parametrize(
    ("there", "mode"),
    [
        (None, 0),
        ("#!/bin/sh\n# rendered by tashictl\nold\n", 0o755),
        ("#!/bin/sh\n# rendered by tashictl\necho 'it''s' $1\n", 0o600),
    ],
)
def test_a_file_of_ours_is_made_what_is_rendered(
    ground: Ground, there: str | None, mode: int
) -> None:
    ground.ok(ground.manifest())  # claims the host
    path = Path(ground.settings.tashictl.etc_dir) / "qemu-ifup.1"
    if there is not None:
        path.write_text(there)
        path.chmod(mode)
    content = "#!/bin/sh\n# rendered by tashictl\necho 'it''s' $1"

    for _ in range(2):
        answer = run(ground, mend.mend_ifup("node1", ground.settings, str(path), content))
        assert answer.steps[0].rc == 0, answer
        assert path.read_text() == f"{content}\n"
        assert path.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in path.parent.iterdir()] == ["qemu-ifup.1"]


def test_an_operators_own_file_is_left_alone(ground: Ground) -> None:
    ground.ok(ground.manifest())
    path = Path(ground.settings.tashictl.etc_dir) / "qemu-ifup.1"
    path.write_text("#!/bin/sh\nmine\n")
    path.chmod(0o640)

    step = mend.mend_ifup("node1", ground.settings, str(path), "#!/bin/sh\n# rendered by tashictl")
    answer = run(ground, step)

    assert (answer.steps[0].rc, answer.steps[0].message) == (0, "the operator's own file")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("#!/bin/sh\nmine\n", 0o640)


def test_a_module_is_loaded_by_modprobe(ground: Ground) -> None:
    ground.ok(ground.manifest())
    ground.tool("modprobe", '#!/bin/sh\necho "$*" >>"$(dirname "$0")/loaded"\n')
    if ground.shell[0] == "busybox":
        return  # Debian's takes a modprobe of its own before any other
    answer = run(ground, mend.load_module("node1", ground.settings, "8021q"))

    assert answer.steps[0].rc == 0
    assert (ground.bin / "loaded").read_text() == "8021q\n"
