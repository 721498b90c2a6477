"""What every live test gets: a machine that can, a guest image, a lab, the installed tashictl."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ground import SHELLS, Ground
from tests.live.lab import cluster as clusters
from tests.live.lab import guest, needs, runner
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and only those, as live."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.live)


def give_up(reason: str) -> None:
    """Skips, or where CI is set fails: there a missing part is a fault of the set-up."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skips every live test, with all that is missing, where a lab cannot stand."""
    lacking = needs.missing_for_hosts()
    if platform.system() == "Linux":
        lacking += needs.missing_for_guest()
    if lacking:
        give_up(needs.explain(lacking))


@pytest.fixture(scope="session")
def guest_image(machine: None) -> Path:
    """The demo image."""
    return guest.build()


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Three hosts, for all tests of a module; a test that breaks one heals and wipes it."""
    with Lab(3) as raised:
        yield raised


@pytest.fixture(scope="session")
def tashictl_argv() -> list[str]:
    """How the installed tashictl is called."""
    path = runner.installed()
    if path is None:
        give_up("tashictl is not installed beside the running Python; try: pip install -e .")
    return [str(path)]


@pytest.fixture(scope="module")
def tashictl(
    lab: Lab, guest_image: Path, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """tashictl on a cluster made of the module's lab, its hosts trusted, the image imported."""
    directory = tmp_path_factory.mktemp("live") / "cluster"
    return clusters.make_cluster(lab, directory, tashictl_argv, guest_image)


@pytest.fixture(params=list(SHELLS))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A place for scripts on this machine, by each shell, with one image."""
    made = Ground(tmp_path, request.param)
    (made.images / "base.img").write_bytes(b"x" * 4096)
    yield made
    made.clean()
