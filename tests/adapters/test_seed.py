"""The volume is read back by pycdlib itself here; by cloud-init and a guest in the live tests."""

import io
import os
import stat
import time
from pathlib import Path

import pytest
from pycdlib.pycdlib import PyCdlib

from tashictl.adapters.seed import FileSeeds
from tashictl.errors import OperationFailed

TEXTS = {"meta-data": b"a: 1\n", "user-data": b"#!/bin/sh\n" * 900, "network-config": b""}


@pytest.fixture
def seeds(tmp_path: Path) -> FileSeeds:
    return FileSeeds(str(tmp_path / "seeds"))


def test_the_volume_is_called_cidata_and_holds_every_text_under_each_kind_of_name(
    seeds: FileSeeds,
) -> None:
    volume = PyCdlib()
    volume.open_fp(io.BytesIO(seeds.make(TEXTS)))

    assert volume.pvd.volume_identifier.rstrip() == b"cidata"
    for name, text in TEXTS.items():
        for path in ({"joliet_path": f"/{name}"}, {"rr_path": f"/{name}"}):
            found = io.BytesIO()
            volume.get_file_from_iso_fp(found, **path)
            assert found.getvalue() == text


def test_the_same_texts_give_the_same_bytes_at_any_time_and_place(
    seeds: FileSeeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = seeds.make(TEXTS)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert seeds.make(dict(reversed(TEXTS.items()))) == first
    finally:
        monkeypatch.undo()
        time.tzset()
    assert seeds.make({**TEXTS, "meta-data": b"a: 2\n"}) != first


def test_a_seed_is_kept_for_its_owner_alone_and_forgotten(seeds: FileSeeds, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        seeds.keep("u-1", b"secret")
    finally:
        os.umask(before)

    folder = tmp_path / "seeds"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seeds.read("u-1") == b"secret"
    seeds.forget("u-1")
    seeds.forget("u-1")
    assert seeds.read("u-1") is None
    assert list(folder.iterdir()) == []


def test_what_nobody_needs_goes_with_what_dead_writers_left(
    seeds: FileSeeds, tmp_path: Path
) -> None:
    seeds.forget_but(["u-0"])  # before there is a folder
    for uuid in ("u-1", "u-2", "u-3"):
        seeds.keep(uuid, uuid.encode())
    (tmp_path / "seeds" / ".u-4.iso.99.0.tmp").write_bytes(b"half")

    seeds.forget_but(["u-2", "u-9"])

    assert [p.name for p in (tmp_path / "seeds").iterdir()] == ["u-2.iso"]


def test_a_seed_that_cannot_be_kept_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "seeds").write_bytes(b"a file where the folder should be")

    with pytest.raises(OperationFailed) as caught:
        FileSeeds(str(tmp_path / "seeds")).keep("u-1", b"x")
    assert "seeds" in caught.value.what
