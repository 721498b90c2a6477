"""An sshd for all tests of a module, sick hosts, and a host that nobody trusts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ssh.site import Site
from tests.live.sshd import Sick


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("ssh"))
    yield found
    found.close()


@pytest.fixture
def sick() -> Iterator[Sick]:
    found = Sick()
    yield found
    found.close()


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Site]:
    """An sshd of its own, whose log shows what it was asked."""
    found = Site(tmp_path, "LogLevel DEBUG1\n")
    found.remote.close()
    yield found
    found.close()
