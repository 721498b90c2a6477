"""Sweeps and what was killed: operations, sweeps themselves; and several sweeps at once."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants, sweeping
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl
from tests.live.sweeping import BUSY, OK, create, states, sweep

KILLED = -signal.SIGKILL
_HOLD = "import fcntl,sys; f=open(sys.argv[1],'a'); fcntl.flock(f,2); print('held',flush=True); "
_HOLD += "sys.stdin.read()"


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster of three hosts."""
    return sweeping.cluster_of(lab, tmp_path_factory.mktemp("killed") / "cluster", tashictl_argv)


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """Nothing is wrong after a test."""
    yield
    sweeping.reset(lab, cluster)


def killed(cluster: Tashictl, fault: str, *argv: str) -> None:
    """A command that is killed at a step."""
    done = cluster.run(*argv, check=False, env={"TASHICTL_FAULT": fault})
    assert done.rc == KILLED, str(done)


def open_operations(cluster: Tashictl) -> list[str]:
    """The kinds of the operations that were interrupted."""
    return sorted(o["kind"] for o in cluster.run("op", "list", "-o", "json").json())


def begun(cluster: Tashictl, *more: str) -> "subprocess.Popen[str]":
    """A sweep that has its lock."""
    locks = cluster.cluster / "state/locks"
    before = {path: path.read_bytes() for path in locks.glob("sweep*")}
    process = cluster.start("sweep", *more)
    assert invariants.until(
        lambda: any(p.read_bytes() not in (b"", before.get(p)) for p in locks.glob("sweep*"))
    )
    return process


def ended(process: "subprocess.Popen[str]") -> Result:
    """What a command that was started gave."""
    out, err = process.communicate(timeout=120)
    return Result(("sweep",), process.returncode, out, err)


def test_operations_of_every_kind_that_were_killed_are_settled_in_one_sweep(
    lab: Lab, cluster: Tashictl
) -> None:
    for name, host in (("goes", "h1"), ("rests", "h2"), ("starts", "h3")):
        create(cluster, name, host)
    sweeping.silent(cluster)
    cluster.run("vm", "pause", "rests")
    cluster.run("vm", "unpause", "rests")
    (pid,) = {one.outer_pid for one in invariants.qemus(lab.host("h3"))}
    lab.host("h3").run(f"kill -9 {sweeping.qemus(lab.host('h3'))[0].pid}", check=True)
    assert pid
    sweep(cluster, rc=sweeping.PROBLEMS)
    here = ("--memory", "64M", "--host")
    killed(cluster, "CreateOverlay:after:kill", *sweeping.CREATE, "early", *here, "h1")
    killed(cluster, "StartQemu:after:kill", *sweeping.CREATE, "late", *here, "h2")
    killed(cluster, "KillQemu:after:kill", "vm", "destroy", "goes", "-y")
    killed(cluster, "QmpCommand:sent:kill", "vm", "pause", "rests")
    killed(cluster, "StartQemu:after:kill", "vm", "start", "starts")
    assert open_operations(cluster) == ["create", "create", "destroy", "pause", "start"]

    done = sweep(cluster)

    assert open_operations(cluster) == []
    after = states(cluster)
    assert (after.pop("rests"), "early" in after, "goes" in after) in (
        *(("Paused", False, False), ("Running", False, False)),
    )
    assert after == {"late": "Running", "starts": "Running"}
    for name in ("early", "late", "goes", "rests", "starts"):
        assert f"on {name} was settled: {name} is" in done.out, done.out
    assert invariants.complaints(lab, cluster, only="early") == []
    assert invariants.complaints(lab, cluster, only="goes") == []
    if states(cluster)["rests"] == "Paused":
        cluster.run("vm", "unpause", "rests")
    sweeping.silent(cluster)


def test_an_operation_on_a_host_that_is_away_is_told_and_settled_when_it_is_back(
    lab: Lab, cluster: Tashictl
) -> None:
    killed(cluster, "AddTap:after:kill", *sweeping.CREATE, "cut", "--host", "h1")
    lab.host("h1").stop_sshd()
    found = sweeping.round_of(cluster, rc=sweeping.PROBLEMS)
    assert [one.partition(":")[0] for one in sweeping.ids(found)] == ["host-down", "operation"]
    assert open_operations(cluster) == ["create"]
    lab.host("h1").start_sshd()
    sweep(cluster)
    assert (open_operations(cluster), states(cluster)) == ([], {})


def test_an_operation_that_runs_is_left_to_it(lab: Lab, cluster: Tashictl) -> None:
    del lab
    stopped = cluster.start(
        *(*sweeping.CREATE, "slow", "--host", "h1"),
        env={"TASHICTL_FAULT": "StartQemu:before:stop"},
    )
    try:
        assert invariants.until(lambda: _is_stopped(stopped.pid))
        sweeping.silent(cluster)
        assert open_operations(cluster) == ["create"]
    finally:
        stopped.send_signal(signal.SIGCONT)
    result = ended(stopped)
    assert result.rc == OK, str(result)
    sweeping.silent(cluster)
    assert states(cluster) == {"slow": "Running"}


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1][0] == "T"


def test_a_sweep_that_is_killed_at_any_moment_leaves_the_next_one_all_its_work(
    lab: Lab, cluster: Tashictl
) -> None:
    begun_s = time.monotonic()
    sweeping.silent(cluster)
    took_s = (time.monotonic() - begun_s) * 2  # one with work to do takes longer
    for seed in range(5):
        name = f"cut{seed}"
        step = random.Random(seed).choice(["CreateOverlay", "AddTap", "StartQemu"])
        killed(cluster, f"{step}:after:kill", *sweeping.CREATE, name, "--memory", "64M")
        process = cluster.start("sweep")
        time.sleep(random.Random(seed).uniform(0.15, took_s))
        process.kill()
        process.communicate()

        sweep(cluster)

        assert open_operations(cluster) == [], seed
        assert states(cluster).get(name) in (None, "Running"), seed
        assert invariants.complaints(lab, cluster) == [], seed
    sweeping.silent(cluster)


def test_a_second_sweep_names_the_first_and_goes(lab: Lab, cluster: Tashictl) -> None:
    lab.host("h3").stop_sshd_silently()
    first = begun(cluster)
    for argv in ((), ("--shard", "1/2")):
        begun_s = time.monotonic()
        second = cluster.run("sweep", *argv, "-o", "json", check=False)
        error = invariants.refused(second, BUSY, f"pid {first.pid} ")
        assert error["code"] == "E-SWEEPING"
        assert time.monotonic() - begun_s < 10
    result = ended(first)
    assert result.rc == sweeping.PROBLEMS, str(result)


def test_shards_side_by_side_see_all_hosts_together(lab: Lab, cluster: Tashictl) -> None:
    for number in (1, 2, 3):
        create(cluster, f"web{number}", f"h{number}")
    before = {vm["name"]: vm["observed"]["at"] for vm in invariants.records(cluster)}
    time.sleep(1.1)
    lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)
    both = [cluster.start("sweep", "--shard", f"{n}/2", "-o", "json") for n in (1, 2)]
    found = [ended(process) for process in both]
    # The one that ends last may tell what the other has found: they have one book.
    assert sorted(result.rc for result in found) in ([0, 4], [4, 4]), [str(r) for r in found]
    assert sum(result.json()["hosts"]["asked"] for result in found) == 3
    after = {vm["name"]: vm["observed"]["at"] for vm in invariants.records(cluster)}
    assert all(after[name] > before[name] for name in before)
    assert states(cluster) == {"web1": "Exited", "web2": "Running", "web3": "Running"}


@pytest.fixture
def state_locked(cluster: Tashictl) -> Iterator["subprocess.Popen[str]"]:
    """Another process has the state's lock for as long as it is there."""
    path = cluster.cluster / "state/locks/state"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_a_state_that_is_locked_for_long_ends_a_sweep_and_loses_nothing(
    lab: Lab, cluster: Tashictl, state_locked: "subprocess.Popen[str]"
) -> None:
    before = sweeping.state_file(cluster).read_bytes()
    begun_s = time.monotonic()
    result = cluster.run("sweep", "-o", "json", check=False)
    assert invariants.refused(result, BUSY)["code"] == "E-LOCKED"
    assert 2 <= time.monotonic() - begun_s < 15
    assert sweeping.state_file(cluster).read_bytes() == before
    state_locked.kill()
    state_locked.wait()
    sweeping.silent(cluster)
    create(cluster, "web1", "h1")
    assert invariants.complaints(lab, cluster) == []
