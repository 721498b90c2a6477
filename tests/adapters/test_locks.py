"""Locks: who may hold what beside whom, how long one waits, and what the error says."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.locks import FileLocks, _quoted
from tashictl.errors import Conflict, InvalidRequest, OperationFailed
from tests.adapters.doubles import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def mine(folder: Path, clock: ManualClock) -> FileLocks:
    return FileLocks(str(folder), clock, "dev@ws", 10.0)


@pytest.fixture
def yours(folder: Path, clock: ManualClock) -> FileLocks:
    return FileLocks(str(folder), clock, "ops@ws", 2.0)


def test_a_held_vm_is_refused_after_the_timeout_with_its_holder(
    mine: FileLocks, yours: FileLocks, clock: ManualClock
) -> None:
    with mine.vm(7), pytest.raises(Conflict) as caught, yours.vm(7):
        pass
    error = caught.value
    assert (error.code, error.exit_code) == ("E-LOCKED", 5)
    assert "VM 7" in error.what
    assert error.cause == f"held by pid {os.getpid()} (dev@ws) since 2026-03-01T00:00:00Z"
    assert clock.passed_s == pytest.approx(2.0)


def test_a_lock_is_free_again_after_its_block_and_after_an_exception(
    mine: FileLocks, yours: FileLocks
) -> None:
    with mine.vm(7):
        pass
    with pytest.raises(ZeroDivisionError), mine.image("a/b"):
        _ = 1 // 0
    with yours.vm(7), yours.image("a/b"):
        pass


def test_a_waiter_gets_the_lock_as_soon_as_it_is_let_go(
    mine: FileLocks, yours: FileLocks, clock: ManualClock
) -> None:
    held = mine.vm(7)
    held.__enter__()

    def let_go() -> None:
        if clock.passed_s > 0.5:
            held.__exit__(None, None, None)

    clock.meanwhile = let_go
    with yours.vm(7):
        clock.meanwhile = lambda: None
        assert 0.5 < clock.passed_s < 0.7


def test_different_things_do_not_hinder_each_other(mine: FileLocks, yours: FileLocks) -> None:
    with mine.vm(1), mine.image("x"), mine.host("h1"), mine.state():
        with yours.vm(2), yours.image("y"), yours.host("h2"), yours.host_shared("h3"):
            pass
        for other in (yours.image("x"), yours.host("h1"), yours.state()):
            with pytest.raises(Conflict), other:
                pass


def test_shared_holders_stand_beside_each_other_and_keep_out_the_exclusive(
    mine: FileLocks, yours: FileLocks
) -> None:
    with mine.host_shared("h1"), yours.host_shared("h1"):
        with pytest.raises(Conflict) as caught, yours.host("h1"):
            pass
        assert caught.value.cause == "held by another process"
    with mine.host("h1"), pytest.raises(Conflict) as caught, yours.host_shared("h1"):
        pass
    assert "dev@ws" in caught.value.cause


def test_the_name_of_a_holder_that_died_is_not_given_for_a_shared_one(
    folder: Path, mine: FileLocks, yours: FileLocks
) -> None:
    (folder / "host-h1").write_text("pid 1 (gone@ws) since ever\n")
    with mine.host_shared("h1"), pytest.raises(Conflict) as caught, yours.host("h1"):
        pass
    assert "gone" not in caught.value.cause


def test_the_lock_file_of_a_removed_vm_goes_with_its_holder(
    folder: Path, mine: FileLocks, yours: FileLocks
) -> None:
    with mine.vm(7):
        mine.forget_vm(7)
        with pytest.raises(Conflict), yours.vm(7):
            pass
    assert not (folder / "vm-7").exists()
    with mine.vm(7):
        pass
    assert (folder / "vm-7").exists(), "only the VM that was forgotten loses its file"


def test_a_waiter_does_not_hold_a_file_that_was_removed_meanwhile(
    folder: Path, mine: FileLocks, yours: FileLocks, clock: ManualClock
) -> None:
    held = mine.vm(7)
    held.__enter__()

    def end() -> None:
        clock.meanwhile = lambda: None
        mine.forget_vm(7)
        held.__exit__(None, None, None)

    clock.meanwhile = end
    with yours.vm(7), pytest.raises(Conflict), mine.vm(7):
        pass


def test_a_lock_on_a_file_that_lost_its_name_is_not_taken(
    folder: Path, mine: FileLocks, yours: FileLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    names = [folder / "vm-7"]

    def flock(fd: int, operation: int) -> None:
        if names:  # the holder ended between our open and our lock
            names.pop().unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with mine.vm(7), pytest.raises(Conflict), yours.vm(7):
        pass


def test_forgetting_a_vm_that_another_holds_leaves_its_lock(
    folder: Path, mine: FileLocks, yours: FileLocks
) -> None:
    with mine.vm(7):
        yours.forget_vm(7)
        assert (folder / "vm-7").exists()
    yours.forget_vm(7)
    assert not (folder / "vm-7").exists()
    yours.forget_vm(7)


def test_a_missing_folder_says_that_there_is_no_cluster(tmp_path: Path) -> None:
    locks = FileLocks(str(tmp_path / "none"), ManualClock(), "dev@ws", 1.0)
    with pytest.raises(InvalidRequest) as caught, locks.vm(1):
        pass
    assert caught.value.code == "E-NO-CLUSTER"


def test_a_lock_that_cannot_be_opened_is_an_error_of_ours(folder: Path, mine: FileLocks) -> None:
    (folder / "vm-1").mkdir()
    with pytest.raises(OperationFailed) as caught, mine.vm(1):
        pass
    assert caught.value.code == "E-FILE"


def test_names_with_slashes_and_dots_stay_in_the_folder(folder: Path, mine: FileLocks) -> None:
    with mine.image("../../etc/passwd"), mine.host("a/../b"):
        pass
    assert sorted(path.name for path in folder.iterdir()) == [
        "host-a=..=b",
        "image-..=..=etc=passwd",
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, min_size=2))
def test_no_two_names_share_a_lock(names: list[str]) -> None:
    quoted = [_quoted(name) for name in names]
    assert len(set(quoted)) == len(names)
    assert not any("/" in name or "\0" in name for name in quoted)


def test_threads_exclude_each_other(folder: Path) -> None:
    inside: list[int] = []
    most = [0]

    def work() -> None:
        locks = FileLocks(str(folder), SystemClock(), "dev@ws", 30.0)
        for _ in range(20):
            with locks.vm(1):
                inside.append(1)
                most[0] = max(most[0], len(inside))
                locks.forget_vm(1)
                time.sleep(0.0001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
