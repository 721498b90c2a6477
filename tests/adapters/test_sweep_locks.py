"""The locks of sweeps: which go beside each other, and what the error says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tashictl.adapters.locks import FileSweepLocks
from tashictl.errors import Conflict, InvalidRequest
from tashictl.ops.ports_sweep import SweepLocks
from tests.adapters.doubles import ManualClock

Shard = tuple[int, int] | None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def locks(folder: Path, actor: str = "dev@ws") -> SweepLocks:
    return FileSweepLocks(str(folder), ManualClock(), actor)


def refused(folder: Path, shard: Shard) -> Conflict:
    with pytest.raises(Conflict) as caught, locks(folder, "ops@ws").sweep(shard):
        pass
    assert (caught.value.code, caught.value.exit_code) == ("E-SWEEPING", 5)
    return caught.value


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (None, None, "a sweep is running"),
        (None, (1, 4), "a sweep is running"),
        ((1, 4), None, "a sweep of shard 1/4 is running"),
        ((1, 4), (1, 4), "a sweep of shard 1/4 is running"),
        ((2, 4), (1, 3), "a sweep of shard 2/4 is running"),
    ],
)
def test_a_sweep_in_the_way_is_named_at_once(
    folder: Path, first: Shard, second: Shard, said: str
) -> None:
    with locks(folder).sweep(first):
        error = refused(folder, second)
    assert error.what == said
    assert error.cause == f"held by pid {os.getpid()} (dev@ws) since 2026-03-01T00:00:00Z"
    with locks(folder).sweep(second):
        pass


def test_shards_of_one_number_run_side_by_side(folder: Path) -> None:
    with locks(folder).sweep((1, 3)), locks(folder).sweep((2, 3)), locks(folder).sweep((3, 3)):
        refused(folder, None)
        refused(folder, (2, 3))


def test_a_sweep_that_was_refused_holds_nothing(folder: Path) -> None:
    with locks(folder).sweep((1, 3)):
        refused(folder, (1, 3))
        refused(folder, (1, 2))
        with locks(folder).sweep((2, 3)):
            pass
    with locks(folder).sweep((1, 2)):
        pass
    with locks(folder).sweep(None):
        pass


def test_a_lock_is_free_again_after_an_error_and_its_name_is_gone(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks(folder).sweep(None):
        _ = 1 // 0
    assert (folder / "sweep").read_bytes() == b""


def test_the_name_of_one_that_died_is_not_given(folder: Path) -> None:
    (folder / "sweep").write_text("pid 1 (gone@ws) since ever\n")
    (folder / "sweep-3-9").write_text("pid 1 (gone@ws) since ever\n")
    with locks(folder).sweep((1, 4)):
        assert "gone" not in refused(folder, None).cause


def test_a_missing_folder_says_that_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest), locks(tmp_path / "none").sweep(None):
        pass
