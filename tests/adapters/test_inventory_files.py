"""The inventory's sources: which files are read or run, and which are not believed."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tashictl.adapters.inventory_files import add_host, read, read_default
from tashictl.errors import Conflict, InvalidRequest, Problems, TashiError

UID = os.getuid()


def never(path: str) -> subprocess.CompletedProcess[bytes]:
    raise AssertionError(f"{path} was run")


def answering(out: bytes = b"", rc: int = 0, err: bytes = b""):  # type: ignore[no-untyped-def]
    return lambda path: subprocess.CompletedProcess([path], rc, out, err)


def failing(error: Exception):  # type: ignore[no-untyped-def]
    def run(_: str) -> subprocess.CompletedProcess[bytes]:
        raise error

    return run


def write(path: Path, text: str = "", mode: int = 0o644) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def refused(path: object, uid: int = UID, run=never) -> TashiError:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidRequest) as caught:
        read(str(path), uid, run)
    return caught.value


def test_a_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "hosts: {}\n")
    assert read(path, UID, never) == ((path, "hosts: {}\n"),)


def test_a_folder_gives_its_yaml_and_json_files_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", "d.txt", ".hidden.yaml", "e.yaml~", "run"):
        write(tmp_path / name, name, 0o755)
    assert [Path(p).name for p, _ in read(str(tmp_path), UID, never)] == [
        "a.yaml", "b.yml", "c.json"
    ]  # fmt: skip


def test_a_yaml_file_is_data_even_if_its_executable_bit_is_set(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "x", 0o755)
    assert read(path, UID, never) == ((path, "x"),)


def test_an_executable_is_run_and_its_output_is_the_inventory(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "#!/bin/sh\n", 0o755)
    assert read(path, UID, answering(b'{"hosts": {}}')) == ((path, '{"hosts": {}}'),)


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_an_executable_that_others_may_write_is_refused_and_not_run(
    tmp_path: Path, mode: int
) -> None:
    error = refused(write(tmp_path / "hosts", "", mode))
    assert (error.code, error.exit_code) == ("E-TRUST", 2)
    assert error.hint == f"look at it, then: chmod go-w {tmp_path}/hosts"


def test_an_executable_in_a_folder_that_everybody_may_write_is_not_run(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "", 0o755)
    tmp_path.chmod(0o777)
    assert refused(path).code == "E-TRUST"


@pytest.mark.skipif(UID != 0, reason="only root can give a file away")
def test_an_executable_of_another_user_is_refused_and_not_run(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "", 0o755)
    os.chown(path, 4242, 4242)
    error = refused(path)
    assert (error.code, error.cause) == (
        "E-TRUST",
        "it belongs to user id 4242, not to you or root",
    )


def test_an_executable_that_fails_says_its_last_line(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "", 0o755)
    error = refused(path, run=answering(rc=3, err=b"one\nno such cloud\n\n"))
    assert (error.what, error.cause) == (f"{path} ended with 3", "no such cloud")
    assert "did not end" in refused(path, run=failing(subprocess.TimeoutExpired(path, 30))).what
    assert "interpreter" in refused(path, run=failing(OSError(8, "Exec format error"))).hint


def test_a_data_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "", 0o646)
    assert refused(tmp_path / "a.yaml").code == "E-TRUST"
    assert refused(tmp_path).code == "E-TRUST"
    tmp_path.chmod(0o777)
    assert refused(tmp_path).what == f"{tmp_path} may not be believed"


def test_all_files_of_a_folder_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"x\n\xff")
    (tmp_path / "b.yaml").mkdir()
    (tmp_path / "c.yaml").symlink_to("nowhere")
    with pytest.raises(Problems) as caught:
        read(str(tmp_path), UID, never)
    assert [p.what for p in caught.value.problems] == [
        f"no UTF-8 text, {tmp_path}/a.yaml:2",
        f"{tmp_path}/b.yaml is no regular file",
        f"{tmp_path}/c.yaml leads nowhere",
    ]


def test_an_inventory_that_was_named_must_be_there_and_the_default_need_not(
    tmp_path: Path,
) -> None:
    assert refused(tmp_path / "none").code == "E-INVENTORY"
    assert read_default(str(tmp_path), UID, never) == ()
    (tmp_path / "inventory").mkdir()
    path = write(tmp_path / "inventory" / "h.yaml", "hosts:")
    assert read_default(str(tmp_path), UID, never) == ((path, "hosts:"),)


def test_a_host_is_added_as_a_file_of_its_own_that_others_may_read(tmp_path: Path) -> None:
    path = add_host(str(tmp_path), "node1", "hosts: {node1: }\n")
    assert path == f"{tmp_path}/node1.yaml"
    assert Path(path).read_text() == "hosts: {node1: }\n"
    assert stat.S_IMODE(Path(path).stat().st_mode) & 0o133 == 0
    assert [p.name for p in tmp_path.iterdir()] == ["node1.yaml"]


def test_a_host_is_never_added_over_a_file_or_outside_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "node1.yaml", "mine")
    with pytest.raises(Conflict) as caught:
        add_host(str(tmp_path), "node1", "hosts: {node1: }\n")
    assert caught.value.hint == "add to it:\nhosts: {node1: }\n"
    assert (tmp_path / "node1.yaml").read_text() == "mine"
    with pytest.raises(InvalidRequest):
        add_host(str(tmp_path), "../node1", "x")


def test_an_inventory_that_is_one_file_is_left_alone_and_the_yaml_to_add_is_shown(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "hosts.yaml", "hosts: {}\n")
    with pytest.raises(InvalidRequest) as caught:
        add_host(path, "node1", "  node1: {}\n")
    assert caught.value.exit_code == 2
    assert "node1: {}" in caught.value.hint
    assert Path(path).read_text() == "hosts: {}\n"
