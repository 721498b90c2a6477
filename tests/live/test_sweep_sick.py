"""A sweep and hosts that are ill: each costs its own deadline, and nothing is made of silence."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.live import invariants, sweeping
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl
from tests.live.sweeping import PROBLEMS, create, states, sweep, vm

# So long may a round look; the probe would give itself 20 s, and a host that is away has 2.
LIMIT = ("--timeout", "6s")
REAL_DATE = "/usr/bin/date"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Three hosts whose /var/lib/tashi is a disk that is soon full."""
    with Lab(3, tashi_mib=64) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster with a VM on each of two hosts, that stay for all tests."""
    made = sweeping.cluster_of(lab, tmp_path_factory.mktemp("sick") / "cluster", tashictl_argv)
    create(made, "web1", "h1")
    create(made, "web2", "h2")
    sweeping.silent(made)
    return made


@pytest.fixture(autouse=True)
def well_again(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """One sweep over healed hosts finds everything as it was."""
    yield
    for host in lab.hosts:
        host.heal()
    sweep(cluster, "--yes")
    assert states(cluster) == {"web1": "Running", "web2": "Running"}
    sweeping.silent(cluster)


def lost(cluster: Tashictl, *more: str) -> str:
    """The reason that a round has for not having seen h1, while all others were seen."""
    begun = vm(cluster, "web2")["observed"]["at"]
    time.sleep(1.1)  # times have seconds
    found = sweeping.round_of(cluster, *more, rc=PROBLEMS)
    assert list(found["hosts"]["lost"]) == ["h1"], found
    assert sweeping.ids(found) == ["host-down:h1"], found
    assert states(cluster) == {"web1": "Orphaned", "web2": "Running"}
    assert vm(cluster, "web2")["observed"]["at"] > begun
    reason: str = found["hosts"]["lost"]["h1"]
    return reason


@contextmanager
def frozen_sessions(host: Host) -> Iterator[None]:
    """Every process that serves an SSH connection is stopped as soon as it is there."""
    # It greets, and never says more: its listener's children are stopped by a loop on the host.
    text = (
        "while [ -e /run/freeze ]; do for p in $(pgrep -P $(cat /run/sshd.pid)); do "
        "kill -STOP $p; done; sleep 0.05; done; "
        "for p in $(pgrep -x sshd); do kill -CONT $p; done; "
        "for p in $(pgrep -P $(cat /run/sshd.pid)); do kill -KILL $p; done"
    )
    host.run(f"touch /run/freeze; setsid -f sh -c '{text}' </dev/null >/dev/null 2>&1", check=True)
    try:
        yield
    finally:
        host.run("rm -f /run/freeze; sleep 0.3")


def hanging(host: Host) -> AbstractContextManager[None]:
    """A command that the probe cannot do without never ends."""
    return sweeping.shadowed(host, "awk", "exec sleep 300")


@pytest.mark.parametrize("how", ["silent", "unplugged"])
def test_a_host_that_says_nothing_is_lost_and_the_others_are_seen(
    lab: Lab, cluster: Tashictl, how: str
) -> None:
    host = lab.host("h1")
    if how == "silent":
        host.stop_sshd_silently()
    else:
        host.pause_network()
    begun_s = time.monotonic()
    assert lost(cluster)
    assert time.monotonic() - begun_s < 30


def test_a_probe_that_hangs_costs_its_own_deadline_and_the_next_one_tells_of_it(
    lab: Lab, cluster: Tashictl
) -> None:
    host = lab.host("h1")
    with hanging(host):
        begun_s = time.monotonic()
        lost(cluster, *LIMIT)
        assert 5 < time.monotonic() - begun_s < 25
        assert host.run("pgrep -fc 'sleep 30[0]'").stdout.strip() == "1"
        # The first one still hangs and holds the probe's lock: nothing is known, nothing concluded.
        found = sweeping.round_of(cluster, *LIMIT, rc=PROBLEMS)
        assert states(cluster)["web1"] == "Orphaned", found
        assert host.run("pgrep -fc 'sleep 30[0]'").stdout.strip() == "1"
    # It ends by the limit that it carries, which is the host's own.
    assert invariants.until(lambda: host.run("pgrep -f 'sleep 30[0]'").stdout == "", 40)


def test_a_session_that_is_frozen_costs_its_own_deadline(lab: Lab, cluster: Tashictl) -> None:
    with frozen_sessions(lab.host("h1")):
        begun_s = time.monotonic()
        assert lost(cluster, *LIMIT)
        assert time.monotonic() - begun_s < 25


@pytest.mark.parametrize("size_bytes", [0, 40, 700, 1500])
def test_an_answer_that_is_cut_short_is_no_answer(
    lab: Lab, cluster: Tashictl, size_bytes: int
) -> None:
    with sweeping.cut_short(lab.host("h1"), size_bytes):
        assert "ends in the middle" in lost(cluster, *LIMIT)


@pytest.mark.parametrize("wrong_s", [301, -301])
def test_a_clock_that_is_wrong_is_told_and_the_fences_hold(
    lab: Lab, cluster: Tashictl, wrong_s: int
) -> None:
    late = f'for w; do [ "$w" != +%s ] || exec echo $(($({REAL_DATE} +%s) + {wrong_s})); done'
    with sweeping.shadowed(lab.host("h1"), "date", f'{late}\nexec {REAL_DATE} "$@"'):
        found = sweep(cluster, rc=PROBLEMS)
        way = "fast" if wrong_s > 0 else "slow"
        assert "host-clock:h1" in found.out
        assert f"its clock is 5 min {way}" in found.out, found.out
        made = create(cluster, "new", "h1")
        assert made["state"] == "Running"
        cluster.run("vm", "destroy", "new", "-y")
        assert sweeping.ids(sweeping.round_of(cluster, rc=PROBLEMS)) == ["host-clock:h1"]
    over = sweep(cluster)
    assert "over: h1: its clock is" in over.out


def test_a_full_disk_is_told_and_the_sweep_works_on(lab: Lab, cluster: Tashictl) -> None:
    lab.host("h1").fill_disk()
    found = sweeping.round_of(cluster, rc=PROBLEMS)
    assert all(one.startswith("disk-full:h1:/var/lib/tashi") for one in sweeping.ids(found)), found
    assert found["problems"][0]["text"].endswith("0 B of 64 MiB free"), found
    assert states(cluster) == {"web1": "Running", "web2": "Running"}
    again = sweeping.round_of(cluster, rc=PROBLEMS)
    assert again["new"] == []


def test_a_qemu_that_dies_while_its_host_is_away_is_exited_only_when_that_is_seen(
    lab: Lab, cluster: Tashictl
) -> None:
    host = lab.host("h1")
    host.stop_sshd()
    os.kill(sweeping.qemu(host, vm(cluster, "web1")).outer_pid, signal.SIGKILL)
    sweep(cluster, rc=PROBLEMS)
    assert states(cluster)["web1"] == "Orphaned"
    host.start_sshd()
    sweep(cluster, rc=PROBLEMS)
    assert states(cluster)["web1"] == "Exited"
    cluster.run("vm", "start", "web1")
