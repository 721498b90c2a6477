"""`make demo`: the whole evening, and Ctrl-C at any moment of it."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.lab import traces

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("TASHICTL_DEMO_SEED", random.SystemRandom().getrandbits(32)))
LATEST_S = 18.0  # a quiet machine plays it in 25 s


def start(folder: Path) -> "subprocess.Popen[str]":
    """The demo as make starts it, in a session of its own, with all its folders in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "demo", "--quick"],
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
