"""What every test gets: outside tests/live the world is out of reach."""

import os
from collections.abc import Generator

import hypothesis
import pytest

from tests.guard import GUARD, LIVE, TouchedTheWorld

BOOTED = "booted"  # the group of tests/live/conftest.py

# Timings vary on shared machines; in CI the same examples every time.
hypothesis.settings.register_profile(
    "tashictl", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("tashictl")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where two processes share the tests, a file stays together and what is longest comes first.

    Files that say so by a group of their own go one after the other: whole machines are booted
    there, and four at a time would be too slow for them.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(config.rootpath))))
    items.sort(key=lambda item: (not _is_booted(item), not item.path.is_relative_to(LIVE)))


def _is_booted(item: pytest.Item) -> bool:
    group = item.get_closest_marker("xdist_group")
    return group is not None and group.args == (BOOTED,)


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
