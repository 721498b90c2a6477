"""Folders for sockets: only what belongs to the caller alone, or can be made so."""

from pathlib import Path

import pytest

from tashictl.adapters import places
from tashictl.model.places import RunFolder


def folder(path: Path, **more: bool) -> RunFolder:
    return RunFolder(base=str(path), path=f"{path}/run", **more)


def test_the_first_that_is_the_callers_alone_is_taken_and_nothing_is_made(tmp_path: Path) -> None:
    gone, shared, own = tmp_path / "gone", tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    shared.chmod(0o750)
    own.mkdir()
    own.chmod(0o700)

    assert places.first_safe([folder(gone), folder(shared), folder(own)]) == folder(own)
    assert places.first_safe([folder(gone, make=True)]) == folder(gone, make=True)
    assert places.first_safe([folder(gone), folder(shared)]) is None
    assert not gone.exists()


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o770, False), (0o707, False)])
def test_a_folder_that_is_more_than_sockets_may_be_read_but_not_written(
    tmp_path: Path, mode: int, safe: bool
) -> None:
    tmp_path.chmod(mode)

    found = places.first_safe([folder(tmp_path, make=True, open_to_read=True)])

    assert (found is not None) is safe


def test_a_link_a_file_and_what_is_below_a_file_are_not_taken(tmp_path: Path) -> None:
    real, link, file = tmp_path / "real", tmp_path / "link", tmp_path / "file"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    file.touch(0o600)

    for path in (link, file, file / "below"):
        assert places.first_safe([folder(path, make=True)]) is None


def test_a_folder_of_another_user_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    uid = tmp_path.stat().st_uid
    monkeypatch.setattr("tashictl.adapters.places.os.getuid", lambda: uid + 1)

    assert places.first_safe([folder(tmp_path, make=True)]) is None


def test_what_is_missing_on_the_way_is_made_private(tmp_path: Path) -> None:
    places.make(str(tmp_path / "a" / "b"))
    places.make(str(tmp_path / "a" / "b"))

    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "a", tmp_path / "a" / "b")} == {0o700}


@pytest.mark.parametrize(
    ("systemd", "lingers", "ends"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_without_linger_systemd_ends_what_a_user_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemd: bool, lingers: bool, ends: bool
) -> None:
    monkeypatch.setattr(places, "_SYSTEMD", tmp_path if systemd else tmp_path / "none")
    monkeypatch.setattr(places, "_LINGER", tmp_path)
    if lingers:
        (tmp_path / "tia").touch()

    assert places.ends_at_logout("tia") is ends
