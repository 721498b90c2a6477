"""--dry-run of every changing command: it decides, says so, and touches nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

CREATE = ("vm", "create", "--disk", invariants.IMAGE)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts in the cluster and one that is not yet."""
    with Lab(3) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A VM that runs, one that waits and one whose create was killed; h3 was never added."""
    directory = tmp_path_factory.mktemp("dry") / "cluster"
    added = lab.hosts
    lab.hosts = added[:2]
    try:
        made = invariants.blank_cluster(lab, directory, tashictl_argv)
    finally:
        lab.hosts = added
    path = directory / "inventory/lab.yaml"
    text = path.read_text(encoding="utf-8")
    new = f"hosts:\n  h3: {{address: {lab.host('h3').address}}}"
    path.write_text(text.replace("hosts:", new, 1), encoding="utf-8")
    made.run(*CREATE, "runs", "--host", "h1")
    kill = {"TASHICTL_FAULT": "AddTap:after:kill"}
    made.run(*CREATE, "cut", "--host", "h2", env=kill, check=False)
    made.run(*CREATE, "full", "--host", "h2")
    assert made.run(*CREATE, "waits", "--host", "h2", check=False).rc == 8
    made.run("state", "backup", "kept")
    return made


@pytest.fixture(autouse=True)
def untouched(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """No byte, no time, no lock, no process may change."""
    with invariants.untouched(lab, cluster):
        yield


def dry(cluster: Tashictl, *argv: str, rc: int = 0) -> Result:
    """Runs with --dry-run; the exit code is what was expected."""
    result = cluster.run(*argv, "--dry-run", check=False)
    assert result.rc == rc, str(result)
    assert "Traceback" not in result.err
    return result


def operation(cluster: Tashictl) -> str:
    """The interrupted create's operation."""
    found = invariants.record(cluster, "cut")
    assert found is not None
    return str(found["operation"]["id"])


def test_vm_create_shows_the_scripts(cluster: Tashictl) -> None:
    steps = dry(cluster, *CREATE, "new", "--nic", "lan", "-o", "json").json()["steps"]
    names = ["WriteManifest", "CreateOverlay", "WriteIfup", "AddTap", "StartQemu", "WriteManifest"]
    assert [step["name"] for step in steps] == [*names, "AwaitQmp"]
    assert all(step["host"] == "h1" for step in steps)
    assert all("flock" in step["script"] for step in steps[:-1])
    assert "qemu-ifup.1" in steps[2]["diff"]
    steps = dry(cluster, "vm", "destroy", "runs", "-o", "json").json()["steps"]
    assert [step["name"] for step in steps] == ["KillQemu", "RemoveTap", "RemoveDir"]
    assert dry(cluster, *CREATE, "new", "--host", "h2", "-o", "json", rc=8).json() == {"steps": []}


@pytest.mark.parametrize(
    ("argv", "rc"),
    [
        ((*CREATE, "Bad Name"), 2),
        ((*CREATE, "new", "--host", "h9"), 2),
        ((*CREATE, "runs"), 5),
        ((*CREATE, "new", "--host", "h2"), 8),
        ((*CREATE, "new", "--cores", "7"), 8),
        (("vm", "destroy", "runs"), 0),
        (("vm", "destroy", "runs", "-y"), 0),
        (("vm", "destroy", "waits"), 0),
        (("vm", "destroy", "cut"), 0),
        (("vm", "destroy", "nobody"), 3),
        (("schedule",), 4),
        (("op", "resume", "999"), 3),
        (("op", "undo", "999"), 3),
        (("op", "undo", "1"), 5),
        (("op", "resume", "1"), 5),
        (("host", "add", "h1"), 0),
        (("host", "add", "Bad_Host"), 2),
        (("host", "trust", "h9"), 3),
        (("host", "check"), 0),
        (("host", "remove", "h1"), 5),
        (("host", "remove", "h9"), 3),
        (("state", "backup"), 0),
        (("state", "backup", "other"), 0),
        (("state", "restore", "nothing-there"), 2),
        (("image", "import", "/nonexistent.img"), 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_dry_run_decides_as_the_real_one_does(
    cluster: Tashictl, argv: tuple[str, ...], rc: int
) -> None:
    dry(cluster, *argv, rc=rc)


@pytest.mark.parametrize("verb", ["resume", "undo"])
def test_an_interrupted_operation_is_only_spoken_of(cluster: Tashictl, verb: str) -> None:
    assert "cut" in dry(cluster, "op", verb, operation(cluster)).out


def test_a_host_that_was_never_added_is_not_contacted(lab: Lab, cluster: Tashictl) -> None:
    fingerprint = lab.host("h3").host_key_fingerprint
    dry(cluster, "host", "add", "h3", "--fingerprint", fingerprint)
    dry(cluster, "host", "trust", "h3", "--fingerprint", fingerprint)
    dry(cluster, "host", "add", "h4", "--address", lab.host("h3").address)
    assert not (cluster.cluster / "inventory/h4.yaml").exists()


def test_a_state_backup_is_not_restored(cluster: Tashictl) -> None:
    (kept,) = (cluster.cluster / "state/backups").glob("*kept*")
    assert kept.name in dry(cluster, "state", "restore", kept.name).out


def test_an_image_is_not_imported(cluster: Tashictl, tmp_path: Path) -> None:
    other = invariants.blank_image(tmp_path, "other.img", b"other")
    dry(cluster, "image", "import", str(other))
    dry(cluster, "image", "import", str(other), "--sha256", "0" * 64, rc=2)
    dry(cluster, "image", "import", str(other), "--name", invariants.IMAGE, rc=5)
    dry(cluster, "image", "import", str(other), "--host", "h9", rc=2)


def test_a_cluster_is_not_made(cluster: Tashictl, tmp_path: Path) -> None:
    dry(cluster, "init", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    dry(cluster, "init", str(cluster.cluster), rc=5)


def test_readers_touch_nothing_either(cluster: Tashictl) -> None:
    for argv in (
        ("vm", "list"),
        ("vm", "show", "runs"),
        ("host", "list"),
        ("image", "list"),
        ("op", "list", "--all"),
        ("op", "show", operation(cluster)),
        ("state", "check"),
        ("config", "show", "--origin"),
        ("host", "show", "h1"),
    ):
        assert cluster.run(*argv, check=False).rc in (0, 9), argv
