"""A booted host with guests on VLANs while its networks change: their pings, its units, its power.

One change serves all: the network of a guest moves to a bridge of another name, so that its VLAN
and its TAP are moved; another guest's network is not touched; a third network comes. The host was
remembered before it and in the middle of it, where each test begins. Management is not touched.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs
from tests.live.lab.booted import Booted
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.patient import Patient
from tests.live.lab.post import Post
from tests.live.lab.runner import Result
from tests.live.lab.watching import Pinger, Pings, Watch
from tests.live.nets import APPLY, left, pending, state, until

GAP_S = 1.0
LONG_S = 1200  # nothing goes back by itself meanwhile
PATIENCE_S = 300.0
COMMAND_S = 900.0
OK, FAILED, CONFLICT, DIFFERS = 0, 1, 5, 9
RED, BLUE = "10.99.9.50", "10.99.8.101"
BEFORE = """\
networks:
  - {id: 1, name: red, vlan: 999, bridge: vmbr.999, cidr: 10.99.9.0/24, default: true}
  - {id: 2, name: blue, vlan: 998, bridge: vmbr.998}
"""
AFTER = BEFORE.replace("bridge: vmbr.999", "bridge: red") + (
    "  - {id: 3, name: green, vlan: 1001, bridge: vmbr.1001}\n"
)


@dataclass
class Stage:
    """The host, its cluster, and who pings its guests from their VLANs."""

    nets: NetHosts
    host: Booted
    tashictl: Patient
    posts: tuple[Post, Post]
    old: str = ""
    pings: dict[str, tuple[Pings, Pings]] = field(default_factory=dict)

    def shell(self, command: str) -> str:
        """As at its console."""
        return self.host.look(command, check=False)

    def want(self, networks: str) -> None:
        """The inventory says so."""
        text = self.nets.inventory("ops", "uplink: eth1") + networks
        place = self.tashictl.cluster / "inventory" / "lab.yaml"
        place.write_text(text, encoding="utf-8")

    def state(self) -> str:
        """Links, addresses, routes and files, but for what guests hang on."""
        lines = state(self.shell).splitlines()
        return "\n".join(line for line in lines if not line.startswith("tashi"))

    def net(self, *words: str, env: dict[str, str] | None = None) -> Result:
        """`net …` for the host."""
        return self.tashictl.run("net", *words, self.host.name, check=False, env=env)

    def apply(self, window_s: int, *more: str, env: dict[str, str] | None = None) -> Result:
        """`net apply`."""
        argv = (*APPLY, str(window_s), *more, self.host.name)
        return self.tashictl.run(*argv, check=False, env=env, timeout=COMMAND_S)

    def pinging(self, what: str, *argv: str) -> Result:
        """A command, while both guests are pinged; how they fared is told and kept."""
        with ExitStack() as stack:
            pair = [
                stack.enter_context(Pinger(address, post.pid))
                for address, post in zip((RED, BLUE), self.posts, strict=True)
            ]
            time.sleep(1)
            done = self.tashictl.run(*argv, check=False, timeout=COMMAND_S)
            self.gone()
            time.sleep(2)
        red, blue = (one.result for one in pair)
        self.pings[what] = red, blue
        sys.stdout.write(f"{what}: moved guest {red}, other guest {blue}\n")
        return done

    def gone(self) -> None:
        """Waits until a change that ends has ended; one that waits for people may stay."""
        until(lambda: not left(self.shell) or "applied" in self.told(), PATIENCE_S)

    def told(self) -> str:
        """The stage of what is in flight."""
        return self.shell("cat /run/tashi/net/pending/stage")

    def ended(self) -> None:
        """Nothing of the change is left."""
        assert until(lambda: not left(self.shell), PATIENCE_S), left(self.shell)

    def back(self) -> None:
        """All is as it was before."""
        self.ended()
        assert self.state() == self.old


@pytest.fixture(scope="module")
def nets(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetHosts]:
    """One host."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    folder = tmp_path_factory.mktemp("hosts")
    with NetHosts(folder, (netconfigs.flat,), size=(1024, 2)) as raised:
        yield raised


@pytest.fixture(scope="module")
def stage(
    nets: NetHosts,
    guest_image: Path,
    tashictl_argv: Sequence[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Stage:
    """The host with both networks and a stand-in for a guest on each.

    A guest within an emulated host needs many minutes to boot. So the one of tashictl's on the
    first network is paused, and what answers pings stands behind its TAP's name; guests that run
    are moved in test_net_guests.
    """
    folder = tmp_path_factory.mktemp("site")
    host = nets.hosts[0]
    tashictl = nets.cluster(tashictl_argv, folder, "")
    posts = (nets.post(999, "10.99.9.1/24"), nets.post(998, "10.99.8.1/24"))
    made = Stage(nets, host, tashictl, posts)
    made.want(BEFORE)
    done = made.apply(LONG_S)
    assert done.rc == OK, str(done)
    tashictl.run("image", "import", str(guest_image))
    # At a reboot nobody presses the power button of a paused guest for long.
    env = {"TASHICTL_QEMU_POWERDOWNTIMEOUT": "2"}
    tashictl.run("vm", "create", "web", "--disk", "demo.qcow2", "--nic", f"red:{RED}", env=env)
    tashictl.run("vm", "pause", "web")
    host.look("ip link del dev tashi1.0")
    plug_guest(host, "vmbr.999", f"{RED}/24", "tashi1.0")
    plug_guest(host, "vmbr.998", f"{BLUE}/24", "tashi9.0")
    for address, post in zip((RED, BLUE), posts, strict=True):
        ping = f"busybox ping -c 1 -W 2 {address}"
        assert until(lambda ping=ping, post=post: post.run(ping).returncode == 0, PATIENCE_S), (
            address
        )
    made.old = made.state()
    host.remember("before")
    return made


@pytest.fixture(scope="module")
def middle(stage: Stage) -> Stage:
    """The change is applied and waits for its confirmation; see `applied`."""
    stage.want(AFTER)
    done = stage.pinging("apply", *APPLY, str(LONG_S), "--no-confirm", stage.host.name)
    assert done.rc == OK, str(done)
    stage.host.remember("applied")
    return stage


@pytest.fixture
def applied(middle: Stage) -> Stage:
    """As in the middle of the change."""
    middle.host.recall("applied")
    middle.want(AFTER)
    return middle


@pytest.fixture
def fresh(stage: Stage) -> Stage:
    """As before the change, which is wanted."""
    stage.host.recall("before")
    stage.want(AFTER)
    return stage


def short(stage: Stage, what: str) -> None:
    """The guest that was moved was away for a moment at most, the other one never."""
    red, blue = stage.pings[what]
    assert blue.lost == 0, stage.pings
    assert red.longest_gap_s <= GAP_S, stage.pings
    assert red.sent > 10


def test_an_apply_moves_a_guest_within_a_second_and_leaves_the_other_alone(middle: Stage) -> None:
    short(middle, "apply")


def test_a_rollback_moves_it_back_within_a_second(applied: Stage) -> None:
    done = applied.pinging("rollback", "net", "rollback", applied.host.name)

    assert done.rc == OK, str(done)
    applied.back()
    short(applied, "rollback")


def test_a_confirmation_costs_no_ping_and_a_reboot_ends_in_the_new_state(applied: Stage) -> None:
    done = applied.pinging("confirm", "net", "confirm", applied.host.name)

    assert done.rc == OK, str(done)
    assert [one.lost for one in applied.pings["confirm"]] == [0, 0]
    applied.ended()
    new = applied.state()
    assert applied.net("diff").rc == OK

    with Watch(applied.host.address) as watch:
        applied.host.reboot()
    watch.report()

    assert applied.state() == new
    found = applied.net("diff")
    assert found.rc == OK, str(found)


def test_a_timer_that_is_killed_goes_back_at_once(applied: Stage) -> None:
    applied.host.look("systemctl kill --kill-whom=main -s KILL tashi-net-*-timer.service")

    applied.back()
    last = pending(applied.tashictl, applied.host.name)
    assert (last["stage"], last["detail"], last["active"]) == ("reverted", "died", False)


def test_timer_and_apply_killed_in_the_middle_go_back(fresh: Stage) -> None:
    p = "/run/tashi/net/pending"
    fresh.host.look(
        f'(until [ applying = "$(cat {p}/stage)" ]; do :; done; t=$(cat {p}/token); '
        "for u in apply timer; do "
        "systemctl kill --kill-whom=main -s KILL tashi-net-$t-$u.service; done) "
        "</dev/null >/dev/null 2>&1 &"
    )

    done = fresh.apply(LONG_S)

    assert done.rc == FAILED, str(done)
    assert "taken back" in done.err
    fresh.back()


def test_a_reboot_before_the_confirmation_ends_in_the_old_state(applied: Stage) -> None:
    with Watch(applied.host.address) as watch:
        applied.host.reboot()
    watch.report()

    assert applied.state() == applied.old
    assert applied.net("diff").rc == DIFFERS


def test_a_power_cut_before_it_does_so_too_and_the_change_can_be_made_again(
    applied: Stage,
) -> None:
    with Watch(applied.host.address) as watch:
        applied.host.power_cut()
        applied.host.start()
        applied.host.await_ssh()
    watch.report()

    applied.back()
    late = applied.net("confirm")
    assert late.rc == CONFLICT
    assert "was booted" in late.err, str(late)
    again = applied.apply(LONG_S)
    assert again.rc == OK, str(again)
    assert applied.net("diff").rc == OK
