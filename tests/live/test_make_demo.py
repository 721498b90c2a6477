"""`make demo` and `make demo-net`: the whole story, and Ctrl-C at any moment of the first."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, traces

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("TASHICTL_DEMO_SEED", random.SystemRandom().getrandbits(32)))
LATEST_S = 18.0  # a quiet machine plays it in 25 s


def start(folder: Path, *story: str) -> "subprocess.Popen[str]":
    """The demo as make starts it, in a session of its own, with all its folders in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *story, "--quick"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def nothing_is_left(folder: Path, said: str) -> None:
    """No folder, link or process of the demo's lab."""
    found = re.search(r"tashictl-lab-([0-9a-f]{6})", said)
    if found:
        assert traces.leftovers(found.group(1)) == []
    assert [p.name for p in folder.iterdir()] == []
    assert _processes_of(folder) == []


def _processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes()
            found += [line.decode(errors="replace")] if str(folder).encode() in line else []
    return found


def test_the_evening_is_played_to_its_end(guest_image: Path, tmp_path: Path) -> None:
    del guest_image  # its parts are there
    demo = start(tmp_path)
    said, _ = demo.communicate(timeout=400)

    assert demo.returncode == 0, said[-3000:]
    assert said.count("2 packets transmitted, 2 packets received") == 2
    for words in ("web1 is Running on h1", "web2 is Running on h2", "web3 is Running on h3"):
        assert words in said
    assert "web1 is Paused" in said
    assert "web1 is shut down" in said
    assert "Nothing is left on any host." in said
    nothing_is_left(tmp_path, said)


@pytest.mark.parametrize("turn", range(3))
def test_ctrl_c_at_a_random_moment_leaves_nothing(
    guest_image: Path, tmp_path: Path, turn: int
) -> None:
    del guest_image
    after_s = random.Random(SEED + turn).uniform(0.1, LATEST_S)
    sys.stdout.write(f"seed {SEED}, Ctrl-C after {after_s:.2f} s\n")
    demo = start(tmp_path)
    time.sleep(after_s)
    os.killpg(demo.pid, signal.SIGINT)
    said, _ = demo.communicate(timeout=60)

    assert demo.returncode == 130, (SEED, after_s, said[-3000:])
    assert "Traceback" not in said, said[-3000:]
    assert "interrupted; its hosts and VMs are gone" in said
    nothing_is_left(tmp_path, said)


# Once, to its end: its boots and its waits are dear (2 minutes and more under emulation), and how
# hosts in machines go with their owner is under test in test_net_lab.
def test_a_good_and_a_deadly_change_of_a_network_are_played_to_their_end(
    machine: None, tmp_path: Path
) -> None:
    del machine
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    booted_image.build()  # which is not part of the time below
    demo = start(tmp_path, "networks")
    said, _ = demo.communicate(timeout=900)

    assert demo.returncode == 0, said[-3000:]
    assert said.count("node1     confirmed, files written") == 2
    assert "node1  nothing differs" in said
    assert re.search(r"node2     armed: goes back by itself at \d\d:\d\d:\d\d unless", said)
    assert "error[E-NET-REVERTED]: node2" in said
    assert re.search(r"node2: last good SSH [\d:.]+, loss [\d:.]+, return [\d:.]+ ", said)
    assert re.search(r"node2  reverted .*, by ", said)
    assert "node2 was out of reach for" in said
    nothing_is_left(tmp_path, said)
