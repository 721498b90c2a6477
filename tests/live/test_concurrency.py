"""Many controllers at once on one cluster: nothing is given twice."""

from collections.abc import Iterator

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

SLOTS, ASKED = 10, 20
TIMEOUT_S = 120
CONFIG = "lockTimeout = 60\n"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Five hosts of two cores: more than the machine has no host can offer."""
    with Lab(5) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """Exactly ten slots."""
    directory = tmp_path_factory.mktemp("concurrency") / "cluster"
    made = invariants.blank_cluster(lab, directory, tashictl_argv, CONFIG)
    invariants.set_limits(made, cores=str(SLOTS // 5), memory="16G")
    return made


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """No VM after a test."""
    yield
    invariants.ready(lab, cluster)
    assert invariants.complaints(lab, cluster) == []


def at_once(cluster: Tashictl, commands: list[tuple[str, ...]]) -> list[Result]:
    """Runs commands at the same time."""
    running = [(argv, cluster.start(*argv)) for argv in commands]
    found = []
    for argv, process in running:
        out, err = process.communicate(timeout=TIMEOUT_S)
        found.append(Result(argv, process.returncode, out, err))
    return found


def test_twenty_creates_at_once_fill_ten_slots_and_no_more(lab: Lab, cluster: Tashictl) -> None:
    names = [f"n{number}" for number in range(ASKED)]
    results = at_once(
        cluster, [("vm", "create", n, "--disk", invariants.IMAGE, "-o", "json") for n in names]
    )
    codes = sorted(result.rc for result in results)
    assert codes == [0] * SLOTS + [8] * (ASKED - SLOTS), [str(r) for r in results]
    made = [result.json() for result in results]
    assert {vm["state"] for vm in made if vm["host"]} == {"Running"}
    assert {vm["state"] for vm in made if not vm["host"]} == {"Pending"}
    assert sorted(vm["host"] for vm in made if vm["host"]) == sorted(
        [f"h{number}" for number in range(1, 6)] * 2
    )
    assert len({vm["id"] for vm in made}) == ASKED
    assert len({vm["uuid"] for vm in made}) == ASKED
    assert len({nic["mac"] for vm in made for nic in vm["nics"]}) == ASKED
    assert sorted(vm["name"] for vm in invariants.records(cluster)) == sorted(names)
    assert invariants.complaints(lab, cluster) == []
    for host in cluster.run("host", "list", "-o", "json").json():
        assert host["used_cores"] == host["cores"] == SLOTS // 5


def test_one_name_asked_for_by_many_is_given_once(lab: Lab, cluster: Tashictl) -> None:
    argv = ("vm", "create", "only", "--disk", invariants.IMAGE, "-o", "json")
    results = at_once(cluster, [argv] * 5)
    assert sorted(result.rc for result in results) == [0, 5, 5, 5, 5], [str(r) for r in results]
    assert len(invariants.records(cluster)) == 1
    assert invariants.complaints(lab, cluster) == []


def test_a_persistent_disk_asked_for_by_many_is_given_once(lab: Lab, cluster: Tashictl) -> None:
    disk = f"{invariants.IMAGE}:persistent"
    names = [f"p{number}" for number in range(4)]
    results = at_once(cluster, [("vm", "create", n, "--disk", disk, "-o", "json") for n in names])
    assert sorted(result.rc for result in results) == [0, 5, 5, 5], [str(r) for r in results]
    assert invariants.complaints(lab, cluster) == []


def test_one_vm_destroyed_by_many_is_gone_once(lab: Lab, cluster: Tashictl) -> None:
    cluster.run("vm", "create", "gone", "--disk", invariants.IMAGE)
    results = at_once(cluster, [("vm", "destroy", "gone", "-y", "-o", "json")] * 4)
    assert sorted(result.rc for result in results) == [0, 3, 3, 3], [str(r) for r in results]
    assert invariants.complaints(lab, cluster) == []


def test_schedules_at_once_start_each_vm_once(lab: Lab, cluster: Tashictl) -> None:
    blockers = [f"b{number}" for number in range(5)]
    for name in blockers:
        cluster.run("vm", "create", "--disk", invariants.IMAGE, "--cores", "2", name)
    for number in range(4):
        argv = ("vm", "create", f"w{number}", "--disk", invariants.IMAGE)
        assert cluster.run(*argv, check=False).rc == 8
    cluster.run("vm", "destroy", "b0", "b1", "-y")
    results = at_once(cluster, [("schedule", "-o", "json")] * 3)
    assert all("E-BUG" not in result.err for result in results), [str(r) for r in results]
    states = {vm["name"]: vm["state"] for vm in invariants.records(cluster)}
    assert states == dict.fromkeys(
        [*blockers[2:], *(f"w{number}" for number in range(4))], "Running"
    )
    assert invariants.complaints(lab, cluster) == []
