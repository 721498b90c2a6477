"""A new state folder, and stores on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.create import create
from tashictl.adapters.store.tiny import TinyStore
from tashictl.adapters.store.upgrade import LADDER, Ladder
from tests.adapters.doubles import CLUSTER, ManualClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with an empty database."""
    create(str(tmp_path / "state"), CLUSTER)
    return tmp_path / "state"


@pytest.fixture
def state_file(folder: Path) -> Path:
    return folder / "tashi.json"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reopened(folder: Path, clock: ManualClock) -> Callable[..., TinyStore]:
    """Make a store object on the folder; the options are TinyStore's."""

    def make(keep: int = 20, ladder: Ladder = LADDER) -> TinyStore:
        locks = FileLocks(f"{folder}/locks", clock, "dev@ws", 10.0)
        return TinyStore(str(folder), locks, clock, keep, ladder)

    return make


@pytest.fixture
def store(reopened: Callable[..., TinyStore]) -> TinyStore:
    return reopened()
