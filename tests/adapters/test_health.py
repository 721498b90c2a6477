"""What is read of this machine for `doctor`."""

import fcntl
import os
from pathlib import Path

import pytest

from tashictl.adapters import files, health
from tashictl.adapters.clock import SystemClock
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.store.create import create
from tashictl.model.health import Health
from tashictl.model.host import HostConfig

HOST = HostConfig(name="h1", address="h1", identity_file="/nowhere/key")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, and a home without keys or agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    create(str(tmp_path / "state"), "0123456789ab")
    return tmp_path / "state"


def look(folder: Path, *hosts: HostConfig, secrets: tuple[str, ...] = ()) -> Health:
    return health.look(
        str(folder), FileJournals(f"{folder}/journal", SystemClock()), hosts, secrets
    )


def test_a_new_state_folder_is_well(folder: Path) -> None:
    seen = look(folder)

    assert (seen.exposed, seen.locks, seen.unknown, seen.secrets) == ((), (), (), ())
    assert [f for f in seen.state if f.severity != "note"] == []
    assert seen.free_bytes is not None and seen.free_bytes > 0
    assert seen.python.count(".") == 2


def test_the_packages_are_those_of_the_metadata_without_what_only_tests_need(folder: Path) -> None:
    seen = look(folder)
    if not seen.packages:
        pytest.skip("not installed as a package")
    by_name = {p.name: p for p in seen.packages}

    assert {"click", "msgspec", "tinydb", "fabric", "dnspython"} <= set(by_name)
    assert "pytest" not in by_name
    assert not by_name["click"].optional and by_name["dnspython"].optional
    assert by_name["click"].found is not None
    assert seen.python_wanted == "3.11"


def test_what_others_may_read_is_told_and_can_be_made_private(folder: Path) -> None:
    database = folder / "tashi.json"
    database.chmod(0o644)
    (found,) = look(folder).exposed
    assert (found.path, found.ours) == (str(database), True)
    assert "0644" in found.why

    files.make_private(found.path)

    assert look(folder).exposed == ()
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed_when_something_is_made_private(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    target.chmod(0o644)
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(files.TashiError):
        files.make_private(str(tmp_path / "link"))
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_lock_is_told_with_its_holder_and_whether_it_is_held(folder: Path) -> None:
    left, held, free = (folder / "locks" / f"vm-{n}" for n in (1, 2, 3))
    left.write_text("pid 1 (dev@desk) since 2026-01-01T00:00:00Z\n")
    held.write_text("pid 2 (dev@desk) since 2026-01-01T00:00:00Z\n")
    free.write_text("")
    fd = os.open(held, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        seen = {lock.name: lock for lock in look(folder).locks}
    finally:
        os.close(fd)

    assert {name: lock.held for name, lock in seen.items()} == {"vm-1": False, "vm-2": True}
    assert seen["vm-1"].holder == "pid 1 (dev@desk) since 2026-01-01T00:00:00Z"


def test_files_with_keys_that_others_read_are_told(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "Kdns.private"
    key.write_text("x")
    key.chmod(0o640)
    (found,) = look(folder, secrets=(str(key), str(tmp_path / "absent"))).secrets

    assert (found.path, found.why) == (str(key), "mode 0640")


def test_hosts_without_a_trusted_key_and_without_a_key_to_log_in_are_named(folder: Path) -> None:
    seen = look(folder, HOST)

    assert seen.unknown == ("h1",)
    (keys,) = seen.keys
    assert (keys.host, keys.usable) == ("h1", ())
    assert keys.unusable == ("/nowhere/key No such file or directory",)
