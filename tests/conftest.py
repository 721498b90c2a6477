"""What every test gets: outside tests/live the world is out of reach."""

import os
from collections.abc import Generator

import hypothesis
import pytest

from tests import sharing
from tests.guard import GUARD, LIVE, TouchedTheWorld

# Timings vary on shared machines; in CI the same examples every time.
hypothesis.settings.register_profile(
    "tashictl", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("tashictl")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, what takes longest begins first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: sharing.rank(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Who gets which tests."""
    return sharing.Shared(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Guards set-up, call and tear-down of every fast test."""
    GUARD.on = not item.path.is_relative_to(LIVE)
    try:
        return (yield)
    finally:
        GUARD.on = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fails a test that touched the world also where its code, or a thread, lost the error."""
    GUARD.touched.clear()
    yield
    if GUARD.touched:
        raise TouchedTheWorld("; ".join(GUARD.touched))
