"""Images: streamed to every host, checked there, resumed, and never mixed up."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

FOLDER = "var/lib/tashi/shared/images"
CONFIG = "connectTimeout = 2\nlockTimeout = 2\n"
BIG_BYTES = 24 << 20


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Hosts with 64 MiB for images."""
    with Lab(2, tashi_mib=64) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster with one small image."""
    directory = tmp_path_factory.mktemp("images") / "cluster"
    return invariants.blank_cluster(lab, directory, tashictl_argv, CONFIG)


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """Whole hosts; images of a test are removed from them, their records may stay."""
    yield
    invariants.ready(lab, cluster)
    cluster.run("host", "check", check=False)
    for host in lab.hosts:
        for path in (host.root / FOLDER).iterdir():
            if path.name != invariants.IMAGE:
                path.unlink()
    assert invariants.complaints(lab, cluster) == []


def image(folder: Path, name: str, size_bytes: int = 100_000) -> Path:
    """A file of random bytes."""
    path = folder / name
    path.write_bytes(os.urandom(size_bytes))
    return path


def send(cluster: Tashictl, path: Path, *more: str) -> Result:
    """`image import -o json`."""
    return cluster.run("image", "import", str(path), *more, "-o", "json", check=False)


def there(host: Host, path: Path) -> bool:
    """The host has exactly that file, and no part of it."""
    place = host.root / FOLDER / path.name
    assert not Path(f"{place}.part").exists()
    return place.exists() and place.read_bytes() == path.read_bytes()


def test_an_image_comes_to_every_host_with_its_sha256(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "one.img")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    told = send(cluster, path, "--sha256", sha256).json()
    assert (told["name"], told["sha256"], told["hosts"]) == ("one.img", sha256, ["h1", "h2"])
    assert (told["format"], told["size_bytes"]) == ("raw", 100_000)
    listed = cluster.run("image", "list", "-o", "json").json()
    assert told in listed
    assert all(there(host, path) for host in lab.hosts)


def test_a_second_import_sends_nothing(lab: Lab, cluster: Tashictl, tmp_path: Path) -> None:
    path = image(tmp_path, "twice.img")
    assert send(cluster, path).rc == 0
    before = [(host.root / FOLDER / path.name).stat() for host in lab.hosts]
    assert send(cluster, path).rc == 0
    after = [(host.root / FOLDER / path.name).stat() for host in lab.hosts]
    assert [(s.st_ino, s.st_mtime_ns) for s in before] == [(s.st_ino, s.st_mtime_ns) for s in after]
    assert all(there(host, path) for host in lab.hosts)


def test_a_wrong_sha256_is_refused_before_anything_is_sent(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "wrong.img")
    with invariants.untouched(lab, cluster, but="/state/locks"):
        invariants.refused(send(cluster, path, "--sha256", "0" * 64), 2, "sha256")
        invariants.refused(send(cluster, path, "--sha512", "0" * 128), 2, "sha512")
        invariants.refused(send(cluster, path, "--host", "h9"), 2, "h9")


def test_a_name_with_other_content_is_a_conflict(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    other = image(tmp_path, "other.img")
    with invariants.untouched(lab, cluster, but="/state/locks"):
        invariants.refused(send(cluster, other, "--name", invariants.IMAGE), 5, invariants.IMAGE)


def test_a_strangers_file_of_that_name_is_never_overwritten(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "taken.img")
    stranger = lab.host("h1").root / FOLDER / "taken.img"
    stranger.write_bytes(b"a stranger's")
    result = send(cluster, path, "--host", "h1")
    assert result.rc in (1, 5), str(result)
    assert stranger.read_bytes() == b"a stranger's"


def test_an_import_to_one_host_places_vms_only_there(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "only.img", 1 << 20)
    assert send(cluster, path, "--host", "h2").json()["hosts"] == ["h2"]
    assert not (lab.host("h1").root / FOLDER / path.name).exists()
    made = cluster.run("vm", "create", "v1", "--disk", "only.img", "-o", "json").json()
    assert made["host"] == "h2"
    elsewhere = ("vm", "create", "v2", "--disk", "only.img", "--host", "h1", "-o", "json")
    result = cluster.run(*elsewhere, check=False)
    assert result.rc == 8, str(result)
    assert "only.img" in result.out + result.err


def test_a_host_that_is_down_makes_an_import_partial(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "partial.img")
    lab.host("h1").pause_network()
    result = send(cluster, path)
    assert result.json()["hosts"] == ["h2"]
    error = invariants.refused(result, 4, "h1")
    assert "repeat" in error["hint"]
    lab.host("h1").resume_network()
    assert send(cluster, path).json()["hosts"] == ["h1", "h2"]
    assert all(there(host, path) for host in lab.hosts)


def test_a_full_disk_is_said_and_leaves_nothing(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "full.img", 4 << 20)
    for host in lab.hosts:
        host.fill_disk(1 << 20)
    result = send(cluster, path)
    error = invariants.refused(result, 1)
    assert "no space" in json_words(error), error
    assert "4 mib" in json_words(error), error
    assert f"/{FOLDER}" in str(error["message"])
    assert not any(list((host.root / FOLDER).glob(f"{path.name}*")) for host in lab.hosts)
    assert "full.img" not in [i["name"] for i in cluster.run("image", "list", "-o", "json").json()]
    for host in lab.hosts:
        host.free_disk()
    assert send(cluster, path).rc == 0
    assert all(there(host, path) for host in lab.hosts)


def json_words(error: dict[str, object]) -> str:
    """Message and cause in small letters."""
    return f"{error['message']} {error['cause']}".lower()


def test_a_cut_import_is_completed_by_the_next_one(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "cut.img", BIG_BYTES)
    host = lab.host("h1")
    part = host.root / FOLDER / f"{path.name}.part"
    process = cluster.start("image", "import", str(path), "--host", "h1", "-o", "json")
    try:
        assert invariants.until(lambda: part.exists() and part.stat().st_size > 1 << 20)
        process.send_signal(signal.SIGSTOP)
        host.cut_sessions()
        size_bytes = part.stat().st_size
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 6, out + err
    assert "repeat the import: it goes on where it was" in err
    assert "Traceback" not in err
    assert 0 < size_bytes < BIG_BYTES
    assert not (host.root / FOLDER / path.name).exists()
    had = part.stat()
    assert had.st_size > 0
    assert send(cluster, path, "--host", "h1").rc == 0
    assert there(host, path)
    assert (host.root / FOLDER / path.name).stat().st_ino == had.st_ino  # gone on with, not anew


def test_a_killed_import_is_completed_by_the_next_one(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "killed.img", BIG_BYTES)
    part = lab.host("h1").root / FOLDER / f"{path.name}.part"
    process = cluster.start("image", "import", str(path), "--host", "h1")
    try:
        assert invariants.until(lambda: part.exists() and part.stat().st_size > 1 << 20)
    finally:
        process.kill()
        process.communicate()
    assert send(cluster, path, "--host", "h1").rc == 0
    assert there(lab.host("h1"), path)
    assert cluster.run("op", "list", "-o", "json").json() == []


def test_a_part_with_other_content_is_not_taken_for_ours(
    lab: Lab, cluster: Tashictl, tmp_path: Path
) -> None:
    path = image(tmp_path, "mixed.img", 1 << 20)
    part = lab.host("h1").root / FOLDER / f"{path.name}.part"
    part.write_bytes(b"of another file" * 1000)
    first = send(cluster, path, "--host", "h1")
    assert first.rc in (0, 1), str(first)
    assert first.rc == 0 or send(cluster, path, "--host", "h1").rc == 0
    assert there(lab.host("h1"), path)


def test_a_qcow2_that_was_cut_short_before_it_came_here_is_refused_by_the_hosts(
    lab: Lab, cluster: Tashictl, guest_image: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(guest_image.read_bytes()[: 3 << 20])

    done = send(cluster, cut)

    assert done.rc == 1
    assert "the image is damaged" in done.err
    for host in lab.hosts:
        names = [p.name for p in (host.root / FOLDER).iterdir()]
        assert [n for n in names if n.startswith("cut")] == []
    assert "cut.qcow2" not in cluster.run("image", "list", "-o", "name").out
