"""BIND for the tests of a module, and without traces of the test before."""

from collections.abc import Iterator

import pytest

from tashictl.adapters.dns.server import DnsServer
from tests.live.conftest import give_up
from tests.live.dns.site import NETWORK, NETWORK_V6, ZONE, settings
from tests.live.lab import needs
from tests.live.lab.bind import Bind, Zone
from tests.live.lab.tsig import Key


@pytest.fixture(scope="module", autouse=True)
def tools(machine: None) -> None:
    """Skips where a server is missing."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.generate("tashi", "hmac-md5")


@pytest.fixture(scope="module")
def newer_key() -> Key:
    return Key.generate("newer", "hmac-sha256")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, key: Key, newer_key: Key) -> Iterator[Bind]:
    zones = (
        ZONE,
        NETWORK,
        NETWORK_V6,
        Zone("newer.test", ("newer",), ("newer",)),
        Zone("big.test"),
    )
    with Bind(tmp_path_factory.mktemp("named"), zones, (key, newer_key)) as bind:
        yield bind


@pytest.fixture
def bind(running: Bind) -> Iterator[Bind]:
    """The one server of this module, up and without what a test before left."""
    if not running.up:
        running.start()
    running.thaw()
    yield running
    running.thaw()
    if not running.up:
        running.start()
    for zone in (ZONE, NETWORK, NETWORK_V6):
        left = {r.name for r in running.records(zone)} - {f"ns.{ZONE}."}
        running.drop(zone, *left)


@pytest.fixture
def server(bind: Bind, key: Key) -> DnsServer:
    return DnsServer(settings(bind, key))
