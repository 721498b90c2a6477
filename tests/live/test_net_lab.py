"""The lab of networks itself: what happens to a host is real, is seen, and leaves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, traces
from tests.live.lab.access_port import tagged, untagged
from tests.live.lab.nethosts import NetHosts
from tests.live.lab.watching import Loss, Pings, Watch, judged, losses

PATIENCE_S = 60.0
LAN, OTHER = 999, 1001
OWNER = """
import sys, time
from pathlib import Path
from tests.live.lab.nethosts import NetHosts
from tests.live.lab.born import Born
Born.settle = lambda self: print(self.pid, flush=True)
nets = NetHosts(Path(sys.argv[1]), vlan=999)
nets.up()
nets.post(7)
print(nets.lab.id, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def nets(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetHosts]:
    """Two hosts, as they are after their first boot at each `recall`."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    with NetHosts(tmp_path_factory.mktemp("nets")) as raised:
        yield raised


@pytest.fixture(autouse=True)
def as_born(request: pytest.FixtureRequest) -> None:
    """Whoever takes the hosts finds them as they were."""
    if "nets" in request.fixturenames:
        nets: NetHosts = request.getfixturevalue("nets")
        nets.recall()


def test_what_a_host_does_to_its_address_is_real_and_seen(nets: NetHosts) -> None:
    one, two = nets.hosts
    with Watch(one.address, name=one.name) as watch:
        assert invariants.until(lambda: any(good for _, good in watch.knocks))
        one.look(f"ip addr del {one.address}/24 dev eth0")
        two.look(f"! ping -c 3 -w 5 {one.address}")
        assert invariants.until(lambda: watch.losses)
        one.look(f"ip addr add {one.address}/24 dev eth0")
        assert invariants.until(lambda: watch.losses[0].back, PATIENCE_S)

    (loss,) = watch.losses
    assert loss.last_good is not None and loss.back is not None
    assert loss.last_good < loss.lost < loss.back
    assert f"{one.name}: last good SSH " in watch.report()


def test_nothing_is_left_when_the_owner_is_killed(machine: None, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        *pids, lab_id = [owner.stdout.readline().strip() for _ in range(3)]
        assert traces.links(lab_id)
        os.kill(owner.pid, signal.SIGKILL)

    assert invariants.until(lambda: not traces.leftovers(lab_id))
    assert invariants.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_gap_is_from_answer_to_answer() -> None:
    sent = [10.0, 10.2, 10.4, 10.6, 10.8]

    assert judged(sent, frozenset(range(5))) == Pings(5, 0, 0.0)
    assert judged(sent, frozenset({0, 3, 4})) == Pings(5, 2, pytest.approx(0.6))
    assert judged(sent, frozenset()) == Pings(5, 5, pytest.approx(0.8))
    assert judged(sent, frozenset({0})) == Pings(5, 4, pytest.approx(0.8))


def test_one_bad_knock_is_no_loss_and_two_are() -> None:
    good, bad = True, False

    assert losses([(1.0, good), (1.5, bad), (2.0, good)]) == ()
    assert losses([(1.0, good), (1.5, bad), (2.0, bad), (2.5, good)]) == (Loss(1.0, 1.5, 2.5),)
    assert losses([(1.0, bad), (1.5, bad)]) == (Loss(None, 1.0, None),)


def test_a_tag_is_put_on_and_taken_off() -> None:
    frame = bytes(range(12)) + b"\x08\x00rest"

    assert tagged(frame, LAN)[12:16] == b"\x81\x00\x03\xe7"
    assert untagged(tagged(frame, LAN), LAN) == frame
    assert untagged(tagged(frame, LAN), OTHER) is None
    assert untagged(tagged(frame, LAN), 0) is None
    assert untagged(frame, 0) == frame == tagged(frame, 0)
