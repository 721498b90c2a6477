"""A running guest is pinged, five times a second, while the network of its host changes.

The host is a namespace, so that the guest runs without a machine around it; what happens to
bridges and TAPs is the kernel's own. Each test tells what it measured.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.lab import cluster as clusters
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result
from tests.live.lab.watching import Pinger, Pings, Watch
from tests.live.nets import APPLY, PATIENCE_S, Site, left, state, until

OK = 0
GAP_S = 1.0  # one lost ping alone is a gap of 0.4 s
GREEN = "  - {id: 7, name: green, mode: vxlan, vxlan: 77, bridge: green, remotes: [10.0.0.1]}\n"


class Guest:
    """The guest, its host, and what became of its pings."""

    def __init__(self, site: Site, address: str) -> None:
        self.site = site
        self.address = address

    def answers(self) -> bool:
        """It has booted."""
        with Pinger(self.address) as pings:
            time.sleep(1)
        return pings.result.lost < pings.result.sent

    def during(self, *argv: str) -> tuple[Result, Pings]:
        """A command, and how the guest fared from before it until nothing of a change moves."""
        site = self.site
        with Pinger(self.address) as pings, Watch(site.host.address) as watch:
            time.sleep(1)
            done = site.tashictl.run(*argv, check=False)
            assert until(lambda: self.still), left(site.shell)
            time.sleep(2)
        watch.report()
        sys.stdout.write(f"{' '.join(argv[:2])}: {pings.result}\n")
        assert done.rc == OK, str(done)
        assert pings.result.sent > 10
        return done, pings.result

    @property
    def still(self) -> bool:
        """Nothing moves: there is no change, or it waits for people."""
        site = self.site
        waits = "cd /run/tashi/net/pending && [ ! -h decision ] && cat stage"
        return "applied" in site.shell(waits) or not left(site.shell)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture(scope="module")
def booted(
    lab: Lab, guest_image: Path, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Guest:
    """A guest that answers, on a bridge that our files describe."""
    site = Site(lab, lab.hosts[0], tmp_path_factory.mktemp("guests"), tashictl_argv)
    site.turn()
    site.settle()
    clusters.import_image(site.tashictl, guest_image)
    address = f"{lab.wiring.vm_subnet}.50"
    create = ("vm", "create", "web", "--disk", guest_image.name, "--nic", f"lan:{address}")
    site.tashictl.run(*create, "--ssh-key", f"{lab.key}.pub")
    made = Guest(site, address)
    assert until(made.answers, PATIENCE_S)
    return made


@pytest.fixture
def guest(booted: Guest) -> Guest:
    """The guest, on the bridge that is wanted."""
    booted.site.want(booted.site.bridge)
    booted.site.settle()
    return booted


def test_another_network_that_comes_and_goes_costs_no_ping(guest: Guest) -> None:
    site = guest.site
    name = site.host.name
    old = state(site.shell)
    site.add(GREEN)

    _, applied = guest.during(*APPLY, "300", "--no-confirm", name)
    assert "green" in site.shell("ls /sys/class/net")
    _, back = guest.during("net", "rollback", name)
    assert state(site.shell) == old
    _, confirmed = guest.during(*APPLY, "300", name)

    assert "green" in site.shell("ls /sys/class/net")
    assert [one.lost for one in (applied, back, confirmed)] == [0, 0, 0]


def test_a_guest_whose_bridge_is_another_is_away_for_a_moment_only(guest: Guest) -> None:
    site = guest.site
    name, first = site.host.name, site.bridge
    old = state(site.shell)
    site.turn()

    _, applied = guest.during(*APPLY, "300", "--no-confirm", name)
    moved = site.shell("readlink /sys/class/net/tashi1.0/master")
    _, back = guest.during("net", "rollback", name)
    again = site.shell("readlink /sys/class/net/tashi1.0/master")
    assert state(site.shell) == old
    _, once_more = guest.during(*APPLY, "300", "--no-confirm", name)
    _, confirmed = guest.during("net", "confirm", name)

    assert (moved.strip().rpartition("/")[2], again.strip().rpartition("/")[2]) == (
        site.bridge,
        first,
    )
    assert [one.longest_gap_s <= GAP_S for one in (applied, back, once_more)] == [True] * 3
    assert confirmed.lost == 0
    assert site.differs() == OK
    assert left(site.shell) == ""


def test_a_change_that_nobody_confirms_gives_the_guest_back_too(guest: Guest) -> None:
    site = guest.site
    old = state(site.shell)
    site.turn()

    with Pinger(guest.address) as pings:
        done = site.apply("--no-confirm", window_s=20)
        assert until(lambda: not left(site.shell)), left(site.shell)
        time.sleep(2)
    sys.stdout.write(f"late: {pings.result}\n")

    assert done.rc == OK, str(done)
    assert site.pending()["stage"] == "reverted"
    assert state(site.shell) == old
    assert pings.result.longest_gap_s <= GAP_S
