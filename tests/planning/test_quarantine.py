"""Addresses that nobody gets for a time."""

from datetime import UTC, datetime

from tashictl.model.state import Meta, Quarantined, State
from tashictl.model.vm import NicSpec
from tashictl.planning import quarantine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def kept(ip: str, until: str) -> Quarantined:
    return Quarantined(network=1, ip=ip, until=until, why="web9 is gone")


def test_an_address_is_kept_until_its_time_and_may_then_be_dropped() -> None:
    one, two = kept("10.0.0.1", "2026-03-01T12:00:00Z"), kept("10.0.0.2", "2026-03-01T12:00:01Z")
    state = State(meta=Meta(cluster="0123456789ab"), quarantine={k.key: k for k in (one, two)})
    assert quarantine.in_force(state, "2026-03-01T12:00:00Z") == (two,)
    assert quarantine.expired(state, "2026-03-01T12:00:00Z") == ("1/10.0.0.1",)


def test_of_the_interfaces_those_with_an_address_are_kept_back() -> None:
    nics = (
        NicSpec(index=0, network=1, mac="52:54:00:00:00:01", ip="10.0.0.1"),
        NicSpec(index=1, network=2, mac="52:54:00:00:00:02"),
    )
    assert quarantine.of(nics, NOW, 86400, "web9 is gone") == [
        kept("10.0.0.1", "2026-03-02T12:00:00Z")
    ]
