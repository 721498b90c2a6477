"""A new state folder: private, complete, and never over an old one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tashictl.adapters.store.create import create
from tashictl.adapters.store.form import read_state
from tashictl.errors import Conflict, InvalidRequest, OperationFailed
from tests.adapters.doubles import CLUSTER


def test_a_new_folder_is_private_and_holds_an_empty_database(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "backups",
        "journal",
        "locks",
        "tashi.json",
    ]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_dir()} == {0o700}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read_state(str(folder / "tashi.json")).meta.cluster == CLUSTER


def test_an_existing_database_is_refused_and_left_alone(folder: Path, state_file: Path) -> None:
    before = state_file.read_bytes()
    with pytest.raises(Conflict) as caught:
        create(str(folder), "ffffffffffff")
    assert caught.value.code == "E-EXISTS"
    assert state_file.read_bytes() == before


@pytest.mark.parametrize("name", ["backups/old.json", "journal/3.jsonl"])
def test_a_folder_that_lost_its_database_is_not_made_anew(
    folder: Path, state_file: Path, name: str
) -> None:
    state_file.unlink()
    (folder / name).touch()
    with pytest.raises(Conflict) as caught:
        create(str(folder), CLUSTER)
    assert "restore" in caught.value.hint
    assert not state_file.exists()


@pytest.mark.parametrize("cluster", ["", "0123456789AB", "0123456789abc", "../../../etc"])
def test_an_odd_cluster_id_is_refused(tmp_path: Path, cluster: str) -> None:
    with pytest.raises(InvalidRequest):
        create(str(tmp_path / "state"), cluster)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cluster_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed):
        create(str(tmp_path / "none" / "state"), CLUSTER)
