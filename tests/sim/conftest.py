"""The simulation writes real state folders; they are removed when it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sim.harness import remove_templates


@pytest.fixture(scope="session", autouse=True)
def clean_up() -> Iterator[None]:
    yield
    remove_templates()
