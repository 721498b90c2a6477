"""The build of the demo image, as far as it needs no tools."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tashictl.adapters.demo import build
from tashictl.errors import NotPermitted


def test_every_text_of_the_guest_has_a_place_in_it() -> None:
    there = {path.name for path in build.SOURCES.iterdir()}
    assert there == {*build.PLACES, "syslinux.cfg"}


def test_the_deaf_guest_lacks_only_the_listener_to_the_power_button() -> None:
    inittab = (build.SOURCES / "inittab").read_bytes()
    deaf = build._without_acpid(inittab)
    assert set(inittab.splitlines()) - set(deaf.splitlines()) == {
        b"::respawn:/bin/acpid -f -l /dev/null"
    }
    assert build._without_acpid(b"#!/bin/sh\nexit\n") == b"#!/bin/sh\nexit\n"


@pytest.mark.parametrize("given", ["", "relative"])
def test_the_cache_is_in_the_home_unless_xdg_says_otherwise(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/dev")
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert build.default_cache() == Path("/home/dev/.cache/tashictl")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/dev")
    assert build.default_cache() == Path("/var/cache/dev/tashictl")


def test_what_a_killed_build_left_is_removed_an_hour_later(tmp_path: Path) -> None:
    old, new, image = tmp_path / "build-old", tmp_path / "build-new", tmp_path / "guest-1"
    for folder in (old, new, image):
        folder.mkdir()
        (folder / "file").touch()
    long_ago = time.time() - 2 * build._DEAD_AFTER_S
    for folder in (old, image):
        os.utime(folder, (long_ago, long_ago))
    build._forget_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build-new", "guest-1"]


def test_a_cache_that_cannot_be_written_is_said_with_the_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(build.tempfile, "mkdtemp", refuse)
    with pytest.raises(NotPermitted) as caught:
        build._place_of_work(tmp_path)
    assert "XDG_CACHE_HOME" in caught.value.hint
