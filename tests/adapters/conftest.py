"""Journals in a folder of their own, under a clock that a test moves."""

from pathlib import Path

import pytest

from tashictl.adapters.journals import FileJournals
from tests.adapters.doubles import ManualClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir(mode=0o700)
    return tmp_path / "journal"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def journals(folder: Path, clock: ManualClock) -> FileJournals:
    return FileJournals(str(folder), clock)
