"""The state database, spoilt in every way: it is refused, named, and left as it was."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tashictl.adapters.store import form
from tests.live import invariants
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl

CREATE = ("vm", "create", "--disk", invariants.IMAGE)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts."""
    with Lab(2) as raised:
        yield raised


@pytest.fixture(scope="module")
def made(lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tashictl:
    """A cluster with one VM."""
    directory = tmp_path_factory.mktemp("state") / "cluster"
    cluster = invariants.blank_cluster(lab, directory, tashictl_argv)
    cluster.run(*CREATE, "kept")
    return cluster


@pytest.fixture
def copy(lab: Lab, made: Tashictl, tmp_path: Path) -> Tashictl:
    """A copy of the cluster directory, to be spoilt; the hosts are not touched through it."""
    directory = tmp_path / "cluster"
    shutil.copytree(made.cluster, directory)
    return Tashictl(made.argv, directory, made.home)


def state(cluster: Tashictl) -> Path:
    """The database's file."""
    return cluster.cluster / "state/tashi.json"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _text(path: Path) -> None:
    path.write_text("not JSON", encoding="utf-8")


def _newer(path: Path) -> None:
    body = path.read_bytes().partition(b"\n")[2]
    path.write_bytes(form.sealed(body, schema=99, min_writer=99))


@pytest.mark.parametrize("spoil", [_truncate, _flip, _empty, _zeros, _text, _newer])
def test_a_spoilt_state_file_is_refused_and_left_alone(
    lab: Lab, copy: Tashictl, spoil: Callable[[Path], None]
) -> None:
    spoil(state(copy))
    with invariants.untouched(lab, copy, but="/state/locks"):
        for argv in (
            ("vm", "list"),
            ("vm", "show", "kept"),
            (*CREATE, "new"),
            ("vm", "destroy", "kept", "-y"),
            ("schedule",),
            ("state", "backup"),
        ):
            result = copy.run(*argv, "-o", "json", check=False)
            error = invariants.refused(result, 7 if spoil is _newer else 1, "tashi.json")
            assert error["hint"], error
        check = copy.run("state", "check", check=False)
        assert check.rc == 9, str(check)
        assert "tashi.json" in check.out + check.err


@pytest.mark.parametrize("spoil", [_truncate, _flip, _empty])
def test_a_spoilt_state_file_is_replaced_by_a_backup(
    copy: Tashictl, spoil: Callable[[Path], None]
) -> None:
    before = copy.run("vm", "list", "-o", "json").out
    copy.run("state", "backup", "good")
    spoil(state(copy))
    spoilt = state(copy).read_bytes()
    invariants.refused(copy.run("state", "restore", "good.json", "-o", "json", check=False), 2)
    told = copy.run("state", "restore", "good.json", "-y", "-o", "json").json()
    assert Path(told["kept"]).read_bytes() == spoilt
    assert copy.run("vm", "list", "-o", "json").out == before
    assert copy.run("state", "check").rc == 0


def test_a_spoilt_backup_is_not_restored(lab: Lab, copy: Tashictl) -> None:
    path = Path(copy.run("state", "backup", "bad", "-o", "json").json()["backup"])
    _flip(path)
    with invariants.untouched(lab, copy, but="/state/locks"):
        argv = ("state", "restore", "bad.json", "-y", "-o", "json")
        invariants.refused(copy.run(*argv, check=False), 1)
        argv = ("state", "restore", "never.json", "-y", "-o", "json")
        assert copy.run(*argv, check=False).rc in (2, 3)


def test_a_state_that_others_can_read_is_found(copy: Tashictl) -> None:
    state(copy).chmod(0o644)
    check = copy.run("state", "check", check=False)
    assert check.rc == 9, str(check)
    assert "chmod" in check.out


def test_a_missing_state_folder_is_named(lab: Lab, copy: Tashictl) -> None:
    shutil.rmtree(copy.cluster / "state")
    for argv in (("vm", "list"), (*CREATE, "new"), ("state", "check")):
        invariants.refused(copy.run(*argv, "-o", "json", check=False), 2, "init")
    assert not (copy.cluster / "state").exists()


def test_a_full_disk_under_the_state_changes_nothing_anywhere(
    lab: Lab, made: Tashictl, copy: Tashictl
) -> None:
    folder = copy.cluster / "state"
    aside = copy.cluster / "aside"
    folder.rename(aside)
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        free = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize))
        whole = state(copy).read_bytes()
        before = [(observe(host).qemus, host.snapshot()) for host in lab.hosts]
        for argv in ((*CREATE, "new"), ("vm", "destroy", "kept", "-y"), ("state", "backup")):
            result = copy.run(*argv, "-o", "json", check=False)
            invariants.refused(result, 1, "free some space")
            assert state(copy).read_bytes() == whole
        assert [(observe(host).qemus, host.snapshot()) for host in lab.hosts] == before
        assert [vm["name"] for vm in copy.run("vm", "list", "-o", "json").json()] == ["kept"]
        (folder / "filler").unlink()
        assert copy.run("state", "check").rc == 0
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _refused_as_old(lab: Lab, cluster: Tashictl, *words: str) -> None:
    """Nothing can be changed with that state, and no host was changed by the attempts."""
    before = [(q.pid, q.uuid) for host in lab.hosts for q in observe(host).qemus]
    for argv in (
        (*CREATE, "today", "--host", "h1"),
        ("vm", "destroy", "kept", "-y"),
        (*CREATE, "other", "--host", "h2"),
    ):
        result = cluster.run(*argv, "-o", "json", check=False)
        error = invariants.refused(result, 7, *words)
        assert error["code"] == "E-OLD-DATABASE"
        assert "restore" in error["hint"]
    assert [vm["name"] for vm in invariants.records(cluster)] == ["kept"]
    assert [(q.pid, q.uuid) for host in lab.hosts for q in observe(host).qemus] == before


def test_yesterdays_state_is_refused_until_todays_is_back(lab: Lab, made: Tashictl) -> None:
    made.run("state", "backup", "yesterday")
    today = made.run(*CREATE, "today", "--host", "h1", "-o", "json").json()
    made.run("state", "backup", "now")
    made.run("state", "restore", "yesterday.json", "-y")
    _refused_as_old(lab, made)
    made.run("state", "restore", "now.json", "-y")
    found = invariants.record(made, "today")
    assert found is not None
    assert found["uuid"] == today["uuid"]
    made.run("vm", "destroy", "today", "-y")
    assert invariants.complaints(lab, made) == []


def test_yesterdays_whole_folder_is_found_out_by_the_hosts(
    lab: Lab, made: Tashictl, tmp_path: Path
) -> None:
    shutil.copytree(made.cluster, tmp_path / "cluster")
    yesterday = Tashictl(made.argv, tmp_path / "cluster", made.home)
    for number in (1, 2):
        made.run(*CREATE, f"today{number}", "--host", f"h{number}")
    _refused_as_old(lab, yesterday, "h1")
    made.run("vm", "destroy", "today[1-2]", "-y")
    assert invariants.complaints(lab, made) == []


def test_a_lost_journal_does_not_lose_the_vm(lab: Lab, made: Tashictl) -> None:
    kill = {"TASHICTL_FAULT": "StartQemu:after:kill"}
    for name, verb in (("lost1", ("vm", "destroy", "lost1", "-y")), ("lost2", ("op", "undo"))):
        made.run(*CREATE, name, "--host", "h2", env=kill, check=False)
        found = invariants.record(made, name)
        assert found is not None
        number = str(found["operation"]["id"])
        (made.cluster / f"state/journal/{number}.jsonl").unlink()
        made.run(*verb, *([number] if verb[0] == "op" else []))
        assert invariants.record(made, name) is None
        assert invariants.complaints(lab, made) == []


def test_a_journal_whose_last_line_is_torn_is_read(lab: Lab, made: Tashictl) -> None:
    kill = {"TASHICTL_FAULT": "AddTap:after:kill"}
    made.run(*CREATE, "torn", "--host", "h2", env=kill, check=False)
    found = invariants.record(made, "torn")
    assert found is not None
    path = made.cluster / f"state/journal/{found['operation']['id']}.jsonl"
    with path.open("ab") as handle:
        handle.write(b'{"type":"Begun","at":"20')
    made.run("op", "resume", str(found["operation"]["id"]))
    assert invariants.complaints(lab, made) == []
    made.run("vm", "destroy", "torn", "-y")
    assert invariants.complaints(lab, made) == []
