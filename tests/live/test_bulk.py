"""Many VMs with one command: slots that do not suffice, a host that is cut, Ctrl-C, kill -9."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

CONFIG = "connectTimeout = 2\nstepTimeout = 10\nlockTimeout = 5\n"
MAKE = ("vm", "create", "--disk", invariants.IMAGE)


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """Three hosts of one core each: three slots."""
    directory = tmp_path_factory.mktemp("bulk") / "cluster"
    made = invariants.blank_cluster(lab, directory, tashictl_argv, CONFIG)
    invariants.set_limits(made, cores="1", memory="1G")
    return made


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """All hosts whole, three slots, no VM after a test."""
    yield
    for host in lab.hosts:
        host.heal()
    invariants.set_limits(cluster, cores="1")
    cluster.run("host", "check", check=False)
    invariants.ready(lab, cluster)
    assert invariants.complaints(lab, cluster) == []


def states(cluster: Tashictl) -> dict[str, str]:
    """The VMs by name."""
    return {vm["name"]: vm["state"] for vm in invariants.records(cluster)}


def test_five_with_three_slots_are_three_that_run_and_two_pending(
    lab: Lab, cluster: Tashictl
) -> None:
    done = cluster.run(*MAKE, "web", "--count", "5", "-o", "json", check=False)

    assert done.rc == 4, str(done)
    made = done.json()
    assert [vm["state"] for vm in made] == ["Running"] * 3 + ["Pending"] * 2
    assert {vm["host"] for vm in made[:3]} == {"h1", "h2", "h3"}
    assert all("cores" in vm["reason"] for vm in made[3:])
    assert len({nic["mac"] for vm in made for nic in vm["nics"]}) == 5
    assert invariants.complaints(lab, cluster) == []
    waits = cluster.run(*MAKE, "more", "--count", "2", check=False)
    assert waits.rc == 8, str(waits)

    gone = cluster.run("vm", "destroy", "web-[0-4]", "more*", "-y")

    assert gone.out.count("destroyed") == 7, str(gone)
    assert states(cluster) == {}
    assert invariants.complaints(lab, cluster) == []


def test_hints_say_whether_hosts_are_filled_one_by_one_or_left_for_others(
    cluster: Tashictl,
) -> None:
    invariants.set_limits(cluster, cores="2")
    dense = cluster.run(*MAKE, "d", "--count", "3", "--hint", "densePack=True", "-o", "json").json()
    assert [vm["host"] for vm in dense[:2]] == [dense[0]["host"]] * 2
    assert dense[2]["host"] != dense[0]["host"]
    full = dense[0]["host"]
    by_id = cluster.run("host", "show", full, "-o", "json").json()["id"]
    target = ("--hint", f"targetHost={by_id}")
    assert cluster.run(*MAKE, "t", *target, check=False).rc == 8
    other = cluster.run(*MAKE, "o", *target, "--hint", "allowElsewhere=on", "-o", "json").json()
    assert other["host"] not in (None, full)


def test_a_host_that_is_cut_fails_its_share_of_a_bulk_destroy_and_no_more(
    lab: Lab, cluster: Tashictl
) -> None:
    invariants.set_limits(cluster, cores="2")
    cluster.run(*MAKE, "web", "--count", "6")
    lab.host("h2").pause_network()

    done = cluster.run("vm", "destroy", "--basename", "web", "-y", check=False)

    assert done.rc == 4, str(done)
    rows = [line.split()[:3] for line in done.out.splitlines()[1:]]
    assert [row[0] for row in rows] == [f"web-{n}" for n in range(6)]
    assert {(row[1], row[2] == "h2") for row in rows} == {("destroyed", False), ("failed", True)}
    assert done.err.count("h2 not reached") == 1, done.err
    assert set(states(cluster).values()) == {"Destroying"}
    lab.host("h2").heal()
    assert cluster.run("vm", "destroy", "web-*", "-y").out.count("destroyed") == 2


def test_ctrl_c_in_the_middle_of_many_leaves_each_whole_or_not_at_all(
    lab: Lab, cluster: Tashictl
) -> None:
    invariants.set_limits(cluster, cores="2")
    slow = {"TASHICTL_TASHICTL_PARALLEL": "2", "TASHICTL_TASHICTL_PERHOST": "1"}
    process = cluster.start(*MAKE, "web", "--count", "6", env=slow)
    until_s = time.monotonic() + 20
    while "Running" not in states(cluster).values() and time.monotonic() < until_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, (out, err)
    assert out.count("web-") == 6, (out, err)
    assert "not begun" in out, (out, err)
    assert "nothing more is begun" in err
    assert set(states(cluster).values()) == {"Running"}
    assert out.count("is Running") == len(states(cluster))
    assert cluster.run("op", "list", "-o", "json").json() == []
    assert invariants.complaints(lab, cluster) == []


@pytest.mark.parametrize("fault", ["StartQemu:sent:kill:2", "AwaitQmp:after:kill:1"])
def test_a_kill_in_the_middle_of_many_leaves_each_as_a_single_create_does(
    lab: Lab, cluster: Tashictl, fault: str
) -> None:
    killed = cluster.run(*MAKE, "web", "--count", "3", env={"TASHICTL_FAULT": fault}, check=False)
    assert killed.rc == -signal.SIGKILL, str(killed)
    listed = cluster.run("op", "list", "-o", "json").json()
    assert {op["target"] for op in listed} <= {"web-0", "web-1", "web-2"}
    assert {(op["kind"], op["status"]) for op in listed} == {("create", "interrupted")}

    again = cluster.run(*MAKE, "web", "--count", "3", check=False)

    assert again.rc in (0, 5), str(again)  # taken back and made anew, or some were finished
    assert cluster.run("op", "list", "-o", "json").json() == []
    assert invariants.complaints(lab, cluster) == []
