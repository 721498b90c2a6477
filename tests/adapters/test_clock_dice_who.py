"""The small ports: time, randomness, identity."""

from __future__ import annotations

import pwd
import re
import time
import uuid
from datetime import timedelta

import pytest

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.dice import SystemDice
from tashictl.adapters.who import SystemWho


def test_the_clock_is_aware_and_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_sleeping_passes_monotonic_time_and_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    clock = SystemClock()
    before = clock.monotonic_s()
    for seconds in (0.5, 0.0, -1.0):
        clock.sleep(seconds)
    assert slept == [0.5]
    assert clock.monotonic_s() >= before


def test_uuids_are_of_version_4_and_in_canonical_form() -> None:
    for text in {SystemDice().uuid() for _ in range(100)}:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


def test_nothing_is_drawn_twice() -> None:
    dice = SystemDice()
    assert len({dice.uuid() for _ in range(100)}) == 100
    assert len({dice.nonce() for _ in range(100)}) == 100


def test_a_nonce_is_sixteen_hex_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", SystemDice().nonce())


def test_a_mac_has_tashis_prefix_and_is_local_and_unicast() -> None:
    mac = SystemDice().mac()
    assert re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", mac)
    assert int(mac[:2], 16) & 0b11 == 0b10


def test_the_user_is_asked_of_the_system_and_not_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = SystemWho().user()
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME", "HOME"):
        monkeypatch.setenv(name, "mallory")
    assert SystemWho().user() == expected
    assert SystemWho().controller().startswith(f"{expected}@")


def test_a_user_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert SystemWho().user().isdigit()
