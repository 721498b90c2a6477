"""Lasting files, private folders, and the file systems that are warned about."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from pathlib import Path

import pytest

from tashictl.adapters import files
from tashictl.errors import Conflict, NotPermitted, OperationFailed
from tests.adapters.doubles import counted_fsyncs, failing

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local ext4 rw 0 0
server:/x /mnt/two\\040words cifs rw 0 0
/dev/sdc1 /over nfs rw 0 0
/dev/sdd1 /over xfs rw 0 0
broken
"""


def test_a_lasting_file_is_whole_private_and_synced_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = counted_fsyncs(monkeypatch)
    path = tmp_path / "known_hosts"
    files.write_lasting(str(path), b"one")
    files.write_lasting(str(path), b"two")
    assert files.read_file(str(path)) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(synced) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["known_hosts"]


def test_a_file_of_the_current_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.write_lasting("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_a_new_file_does_not_replace_another(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    files.write_new(path, b"1")
    with pytest.raises(Conflict):
        files.write_new(path, b"2")
    assert files.read_file(path) == b"1"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_temporary_name_that_is_taken_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_serial", itertools.count(5))
    left = tmp_path / f".x.{os.getpid()}.5.tmp"
    left.write_bytes(b"left by a dead process")
    files.write_lasting(str(tmp_path / "x"), b"1")
    assert left.read_bytes() == b"left by a dead process"


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, OperationFailed, "E-DISK-FULL"),
        (errno.EDQUOT, OperationFailed, "E-DISK-FULL"),
        (errno.EACCES, NotPermitted, "E-ACCESS"),
        (errno.EROFS, NotPermitted, "E-ACCESS"),
        (errno.EIO, OperationFailed, "E-FILE"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_failing_system_call_is_an_error_of_ours_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[Exception],
    code: str,
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        failing(patch, call, number)
        with pytest.raises(kind) as caught:
            files.write_lasting(str(path), b"new")
    assert getattr(caught.value, "code", "") == code
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "fsync", errno.EINVAL)
    files.sync_folder(str(tmp_path))


def test_reading_what_is_not_there_gives_none_and_a_folder_an_error(tmp_path: Path) -> None:
    assert files.read_file(str(tmp_path / "none")) is None
    with pytest.raises(OperationFailed):
        files.read_file(str(tmp_path))


def test_names_of_a_folder_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert files.names_in(str(tmp_path / "none")) == ()
    (tmp_path / "file").touch()
    with pytest.raises(OperationFailed):
        files.names_in(str(tmp_path / "file"))


def test_a_private_folder_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "state"
    files.make_private_folder(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    files.make_private_folder(str(path))
    with pytest.raises(OperationFailed):
        files.make_private_folder(str(path / "a" / "b"))


@pytest.mark.parametrize(("mode", "private"), [(0o600, True), (0o640, False), (0o604, False)])
def test_files_that_others_can_read_are_named(tmp_path: Path, mode: int, private: bool) -> None:
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    assert (files.exposure(str(path)) is None) is private


def test_a_folder_that_others_can_enter_is_named_with_the_right_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert files.exposure(str(tmp_path)) == "mode 0755, should be 0700"


def test_a_file_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").touch(mode=0o600)
    if (tmp_path / "x").stat().st_uid == 0:
        assert files.exposure(str(tmp_path / "x")) is None
        os.chown(tmp_path / "x", 4711, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert "belongs to user" in (files.exposure(str(tmp_path / "x")) or "")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/state", None),
        ("/home/dev/.tashi", "nfs4"),
        ("/home", "nfs4"),
        ("/homeless", None),
        ("/home/local/x", None),
        ("/mnt/two words/x", "cifs"),
        ("/over/x", None),
    ],
)
def test_the_mount_below_a_path_says_whether_it_is_a_network_file_system(
    path: str, kind: str | None
) -> None:
    assert files.network_type(path, MOUNTS) == kind


def test_a_network_file_system_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "network_type", {"/home/x": "nfs4"}.get)
    assert "nfs4" in (files.network_warning("/home/x") or "")
    monkeypatch.setattr(files, "network_type", {"/home/x": None}.get)
    assert files.network_warning("/home/x") is None
