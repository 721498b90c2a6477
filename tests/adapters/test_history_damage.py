"""The history: neither damage nor a full disk spreads from it."""

from __future__ import annotations

import random
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.adapters.history import FILE
from tashictl.errors import OperationFailed
from tests.adapters.shelf import (
    DAY_S,
    START_S,
    Shelf,
    counters,
    one,
    point,
    vm,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def overwritten(offset: int, data: bytes) -> Callable[[Path], None]:
    def overwrite(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[offset : offset + len(data)] = data
        path.write_bytes(raw)

    return overwrite


def other_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE albums (title TEXT)")


DAMAGES = {
    "no database": overwritten(0, b"not a database, whatever its name may say"),
    "schema gone": overwritten(100, b"\xff" * 16000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:20000]),
    "all pages but the first": lambda path: overwritten(
        16384, b"\x5a" * (path.stat().st_size - 16384)
    )(path),
    "another program's": other_program,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_with_one_warning_and_a_new_one_is_begun(
    shelf: Shelf, damage: Callable[[Path], None]
) -> None:
    history = shelf.open()
    history.append({vm(1): counters(START_S)}, [point(START_S, n) for n in range(200)])
    damage(shelf.path)
    spoilt = shelf.path.read_bytes()

    history.append({vm(1): counters(START_S + 60)}, [point(START_S + 60)])

    aside = f"{FILE}.damaged-20261126T120000Z"
    assert shelf.files() == {FILE, aside}
    assert (shelf.folder / aside).read_bytes() == spoilt
    assert len(shelf.warnings) == 1 and aside in shelf.warnings[0]
    assert history.last() == {vm(1): counters(START_S + 60)}
    assert one(history.series(vm(1), [], 0, START_S + 60)).mean == (0.5,)
    assert len(shelf.warnings) == 1


def test_a_sweep_that_reads_first_finds_the_damage_too(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({vm(1): counters(START_S)}, [])
    DAMAGES["no database"](shelf.path)

    assert history.last() == {}
    assert len(shelf.warnings) == 1


def test_who_only_shows_sets_nothing_aside(shelf: Shelf) -> None:
    shelf.open().append({vm(1): counters(START_S)}, [point(START_S)])
    DAMAGES["no database"](shelf.path)

    with pytest.raises(OperationFailed, match="E-HISTORY") as caught:
        shelf.open(read_only=True).latest()
    assert "sweep" in caught.value.hint
    assert shelf.files() == {FILE}


def test_of_many_damaged_files_the_newest_are_kept(shelf: Shelf) -> None:
    history = shelf.open()
    for _ in range(6):
        history.append({vm(1): counters(START_S)}, [])
        DAMAGES["no database"](shelf.path)
    history.last()

    assert len(shelf.files()) == 3


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_whatever_bytes_are_overwritten_the_history_goes_on(
    tmp_path_factory: pytest.TempPathFactory, dice: random.Random
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("spoilt"))
    history = shelf.open()
    for hour in range(0, 60, 2):
        at_s = START_S + 3600 * hour
        history.append({vm(1): counters(at_s)}, [point(at_s, n) for n in range(40)])
    raw = bytearray(shelf.path.read_bytes())
    for _ in range(dice.randrange(1, 30)):
        start = dice.randrange(len(raw))
        raw[start : start + 64] = dice.randbytes(64)
    shelf.path.write_bytes(raw[: len(raw)])

    history.last()
    history.latest()
    history.subjects()
    history.series(vm(1), [], 0, START_S + 4 * DAY_S)
    for hour in range(60, 100, 2):
        at_s = START_S + 3600 * hour
        history.append({vm(1): counters(at_s)}, [point(at_s, n) for n in range(40)])
    assert len(shelf.warnings) <= 2
    assert one(history.series(vm(1), [], at_s, at_s)).mean == (0.5,)


def test_a_newer_schema_is_refused_and_left_alone(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({vm(1): counters(START_S)}, [])
    with sqlite3.connect(shelf.path) as later:
        later.execute("PRAGMA user_version=99")

    with pytest.raises(OperationFailed, match="schema 99"):
        history.append({vm(1): counters(START_S + 60)}, [])
    assert shelf.files() == {FILE}


def test_a_full_disk_is_an_error_and_what_was_there_stays(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({vm(1): counters(START_S)}, [point(START_S, n) for n in range(100)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (shelf.path.stat().st_size + 5000, hard))
    try:
        with pytest.raises(OperationFailed) as caught:
            big = {f"name{i}": float(i) for i in range(300)}
            history.append({}, [point(START_S + 60, n, **big) for n in range(500)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert caught.value.code == "E-HISTORY"
    assert "space" in caught.value.hint
    assert shelf.warnings == []
    assert len(history.latest()) == 100
    history.append({}, [point(START_S + 120)])
    assert one(history.series(vm(1), [], 0, START_S + 120)).at_s == (START_S, START_S + 120)


def test_a_first_sweep_on_a_full_disk_leaves_no_file_that_is_half_made(shelf: Shelf) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OperationFailed, match="E-HISTORY"):
            shelf.open().append({}, [point(START_S)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    shelf.open().append({}, [point(START_S)])

    assert shelf.warnings == []
    assert len(shelf.open().latest()) == 1


def test_a_second_writer_waits_and_then_says_so(shelf: Shelf) -> None:
    history = shelf.open(timeout_s=0.2)
    history.append({}, [point(START_S)])
    holder = sqlite3.connect(shelf.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(OperationFailed, match=r"locked, waited 0\.2 s") as caught:
        history.append({}, [point(START_S + 60)])
    assert caught.value.code == "E-HISTORY"
    assert history.latest() != {}  # reading goes on
    holder.execute("ROLLBACK")
    holder.close()
    history.append({}, [point(START_S + 60)])
    assert shelf.files() == {FILE}


def test_a_folder_that_is_not_there_or_in_the_way_is_an_error_of_ours(shelf: Shelf) -> None:
    shelf.path.mkdir()

    with pytest.raises(OperationFailed, match="E-HISTORY"):
        shelf.open().append({}, [point(START_S)])
