"""`image build-demo`, from the command line to what it changes; the build itself is a double."""

from __future__ import annotations

from pathlib import Path

import pytest

from tashictl.adapters.demo import build, parts
from tests.cli.office import Office

BYTES = b"the demo image"


@pytest.fixture
def cached(office: Office, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the image will lie; building it writes a few bytes there."""
    path = office.home / "cache" / "guest-1" / "demo.qcow2"

    def made(cache: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BYTES)
        return path

    monkeypatch.setattr(parts, "missing", list)
    monkeypatch.setattr(build, "place", lambda _cache: path)
    monkeypatch.setattr(build, "build", made)
    return path


def test_the_demo_image_is_built_and_imported_onto_every_host(office: Office, cached: Path) -> None:
    done = office.ok("image", "build-demo", "--name", "tiny.qcow2", "-o", "json").json()
    assert (done["name"], done["hosts"]) == ("tiny.qcow2", ["node1", "node2"])
    assert done["size_bytes"] == len(BYTES)
    only = office.ok("image", "build-demo", "--name", "t2", "--host", "node2", "-o", "json").json()
    assert only["hosts"] == ["node2"]


def test_another_image_of_that_name_is_a_conflict(office: Office, cached: Path) -> None:
    done = office.run("image", "build-demo", "-o", "json")
    assert (done.code, done.error["code"]) == (5, "E-EXISTS")
    assert "--name" in done.error["hint"]


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_built(
    office: Office, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "missing", lambda: [("mcopy", "mtools"), ("syslinux", "syslinux")])
    done = office.run("image", "build-demo", "--name", "../x", "--host", "node9", "--host", "node8")
    assert done.code == 2
    for word in ("'../x'", "'node9'", "'node8'", "mcopy, syslinux", "mtools syslinux"):
        assert word in done.err
    assert not cached.exists()


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("more", [("--name", "tiny"), ("--to", "{home}/out.qcow2")])
def test_a_dry_run_says_what_it_would_do_and_changes_nothing(
    office: Office, cached: Path, more: tuple[str, ...], built: bool
) -> None:
    if built:
        build.build(office.home)
    before = office.everything()
    words = tuple(word.format(home=office.home) for word in more)
    done = office.ok("image", "build-demo", *words, "--dry-run")
    assert ("is built already" if built else "would build") in done.out
    assert ("would write" if more[0] == "--to" else "node1, node2") in done.out
    assert "nothing was changed" in done.out
    assert office.everything() == before
    assert office.remote.scripts == []


def test_a_dry_run_of_a_name_that_is_taken_is_a_conflict_as_the_real_one(
    office: Office, cached: Path
) -> None:
    build.build(office.home)
    assert office.run("image", "build-demo", "--dry-run").code == 5


def test_to_a_file_it_needs_no_cluster_and_never_overwrites(bare: Office, cached: Path) -> None:
    to = bare.home / "out.qcow2"
    done = bare.ok("image", "build-demo", "--to", str(to), "-o", "json").json()
    assert (done["name"], done["hosts"]) == ("out.qcow2", [])
    assert to.read_bytes() == BYTES
    assert to.stat().st_mode & 0o777 == 0o644
    assert str(to) in bare.ok("image", "build-demo", "--to", str(to)).out
    to.write_bytes(b"another")
    for dry in ((), ("--dry-run",)):
        assert bare.run("image", "build-demo", "--to", str(to), *dry).code == 5
    assert to.read_bytes() == b"another"


@pytest.mark.parametrize("more", [("--name", "x"), ("--host", "node1")])
def test_a_file_has_neither_name_nor_hosts(
    office: Office, cached: Path, more: tuple[str, str]
) -> None:
    done = office.run("image", "build-demo", "--to", str(office.home / "out"), *more)
    assert done.code == 2
    assert not (office.home / "out").exists()
