"""Which connections are kept, and which one goes when there are too many."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from tashictl.adapters.ssh import pool as pools
from tashictl.adapters.ssh.config import Route, SshConfig
from tashictl.adapters.ssh.link import Link
from tashictl.adapters.ssh.pool import Pool
from tashictl.model.host import HostConfig


class FakeLink:
    """What the pool looks at of a connection."""

    def __init__(self, route: Route, used_s: float) -> None:
        self.route = route
        self.used_s = used_s
        self.in_use = False
        self.retired = False

    def alive(self) -> bool:
        return not self.retired

    def retire(self) -> None:
        self.retired = True

    def close(self) -> None:
        self.retired = True


def dial(route: Route, deadline_s: float) -> Link:
    raise AssertionError("nobody was to connect")


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FakeLink]:
    """Connections to h0, h1 …, which were used in this order; the pool keeps three idle ones."""
    monkeypatch.setattr(pools, "_KEPT_MAX", 3)
    config = SshConfig(tmp_path / "none", use_agent=False)
    hosts = [HostConfig(name=f"h{n}", address="127.0.0.1") for n in range(6)]
    return [FakeLink(config.route(host), float(n)) for n, host in enumerate(hosts)]


def adopt(pool: Pool, links: list[FakeLink]) -> None:
    for link in links:
        pool.adopt(cast(Link, link))


def test_the_longest_idle_connection_makes_room_for_a_new_one(links: list[FakeLink]) -> None:
    adopt(Pool(dial), links[:5])
    assert [link.retired for link in links[:5]] == [True, False, False, False, False]


def test_a_connection_in_use_is_neither_counted_nor_given_up(links: list[FakeLink]) -> None:
    for link in links[:2]:
        link.in_use = True
    adopt(Pool(dial), links)
    assert not any(link.retired for link in links)


def test_a_new_connection_never_makes_room_for_itself(links: list[FakeLink]) -> None:
    links[5].used_s = -1.0
    pool = Pool(dial)
    adopt(pool, links)
    assert not links[5].retired
    assert pool.live(links[5].route) is not None
