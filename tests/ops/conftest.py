"""A stage for each test."""

from pathlib import Path

import pytest

from tests.ops.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts, nothing runs."""
    return Stage(tmp_path)
