"""A workstation with a cluster directory, and one without."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.office import Office


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """No cluster yet."""
    return Office(tmp_path, monkeypatch)


@pytest.fixture
def office(bare: Office) -> Iterator[Office]:
    bare.make()
    yield bare
