"""Which files are layers, in which order, and which of them may be believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters import trust
from tashictl.adapters.config_files import (
    NAMES,
    ClusterFolder,
    Surroundings,
    find_cluster,
    layers,
    surroundings,
)
from tashictl.errors import InvalidRequest, Problems

UID = os.getuid()


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """A current folder, a home and system folders below tmp_path; nothing is in them."""
    for name in ("here", "home", "share", "etc-tashi"):
        (tmp_path / name).mkdir(mode=0o755)
    return Surroundings(
        current=str(tmp_path / "here"),
        home=str(tmp_path / "home"),
        uid=UID,
        system=(str(tmp_path / "share"), str(tmp_path / "etc-tashi")),
    )


def write(folder: str, name: str, text: str = "", mode: int = 0o644) -> str:
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def cluster(path: str, asked: bool = True) -> ClusterFolder:
    return ClusterFolder(path=path, asked=asked)


def found(around: Surroundings, folder: ClusterFolder | None = None) -> list[str]:
    where = folder or cluster(f"{around.current}/none")
    return [layer.path for layer in layers(where, around)]


def refused(around: Surroundings, folder: ClusterFolder) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        layers(folder, around)
    return caught.value


def test_the_folders_and_in_each_the_files_are_read_in_tashis_order(
    around: Surroundings, tmp_path: Path
) -> None:
    folder = str(tmp_path / "cluster")
    expected = [
        write(place, name)
        for place in (
            f"{around.current}/etc",
            *around.system,
            f"{around.home}/.tashi",
            folder,
            f"{folder}/etc",
        )
        for name in ("TashiDefaults.cfg", "Tashi.cfg", "ClusterManagerDefaults.cfg",
                     "ClusterManager.cfg", "NodeManager.cfg", "Client.cfg", "AgentDefaults.cfg",
                     "Agent.cfg", "TashictlDefaults.cfg", "Tashictl.cfg")
    ]  # fmt: skip
    write(around.home, ".tashi/Other.cfg")
    assert found(around, cluster(folder)) == expected
    assert len(NAMES) == 12


def test_a_folder_that_is_searched_and_is_the_cluster_directory_is_read_once_and_last(
    around: Surroundings,
) -> None:
    write(around.current, "etc/Tashi.cfg", "[Vfs]\n")
    write(f"{around.home}/.tashi", "Tashi.cfg")
    assert found(around, cluster(around.current)) == [
        f"{around.home}/.tashi/Tashi.cfg",
        f"{around.current}/etc/Tashi.cfg",
    ]


def test_the_text_and_whether_others_can_read_it_come_with_each_layer(
    around: Surroundings,
) -> None:
    write(around.system[1], "Tashi.cfg", "[Vfs]\nprefix = /ä\n", 0o644)
    write(around.system[1], "Agent.cfg", "", 0o640)
    tashi, agent = layers(cluster(around.current), around)
    assert (tashi.text, tashi.others_read, tashi.ignored) == ("[Vfs]\nprefix = /ä\n", True, "")
    assert agent.others_read is False


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_searched_file_that_others_may_write_is_ignored(around: Surroundings, mode: int) -> None:
    path = write(around.current, "etc/Tashi.cfg", "[Vfs]\nprefix = /evil\n", mode)
    (layer,) = layers(cluster(f"{around.current}/none"), around)
    assert (layer.path, layer.text) == (path, "")
    assert layer.ignored == "others than its owner may write it"


def test_a_file_in_a_folder_that_everybody_may_write_is_ignored(around: Surroundings) -> None:
    write(around.current, "etc/Tashi.cfg")
    Path(around.current, "etc").chmod(0o777)
    (layer,) = layers(cluster(f"{around.current}/none"), around)
    assert layer.ignored == "of its folder: everybody may write it"


def test_a_file_of_another_user_is_ignored(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(around.current, "etc/Tashi.cfg", "[Vfs]\nprefix = /evil\n")
    foreign(monkeypatch)
    (layer,) = layers(cluster(f"{around.current}/none"), around)
    assert (layer.text, layer.ignored) == ("", "it belongs to user id 4242, not to you or root")


def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file and folder belong to user 4242, which needs no root."""

    def owned(status: os.stat_result) -> os.stat_result:
        return os.stat_result((*status[:4], 4242, *status[5:]))

    stat, fstat = os.stat, os.fstat
    monkeypatch.setattr(trust.os, "stat", lambda path: owned(stat(path)))
    monkeypatch.setattr(trust.os, "fstat", lambda fd: owned(fstat(fd)))


def test_a_cluster_directory_that_others_may_write_is_refused_with_the_chmod(
    around: Surroundings,
) -> None:
    path = write(around.home, "my lab/Tashi.cfg", mode=0o666)
    error = refused(around, cluster(f"{around.home}/my lab"))
    assert (error.code, error.exit_code) == ("E-TRUST", 2)
    assert error.hint == f"chmod go-w '{path}'"


def test_a_cluster_directory_of_another_user_is_taken_only_when_it_was_named(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(around.home, "lab/Tashi.cfg", "[Vfs]\n")
    foreign(monkeypatch)
    assert found(around, cluster(f"{around.home}/lab", asked=True)) == [path]
    error = refused(around, cluster(f"{around.home}/lab", asked=False))
    assert "belongs to user id 4242" in error.cause


def test_all_files_that_cannot_be_taken_are_named_at_once(around: Surroundings) -> None:
    folder = f"{around.home}/lab"
    write(folder, "Tashi.cfg", mode=0o666)
    Path(folder, "Agent.cfg").write_bytes(b"[Vfs]\n\xff\n")
    Path(folder, "Client.cfg").mkdir()
    os.mkfifo(Path(folder, "Tashictl.cfg"))
    with pytest.raises(Problems) as caught:
        layers(cluster(folder), around)
    assert sorted(p.what for p in caught.value.problems) == [
        f"{folder}/Client.cfg is no regular file",
        f"{folder}/Tashi.cfg may not be believed",
        f"{folder}/Tashictl.cfg is no regular file",
        f"no UTF-8 text, {folder}/Agent.cfg:2",
    ]


def test_a_file_that_the_caller_may_not_read_is_ignored_and_said(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(around.system[1], "Agent.cfg", "[DhcpDns]\n", 0o600)

    def forbidden(_: str) -> None:
        raise PermissionError

    monkeypatch.setattr(trust, "read", forbidden)
    for folder in (f"{around.current}/none", around.system[1]):
        told = {layer.path: layer.ignored for layer in layers(cluster(folder), around)}
        assert told[path] == "you may not read it"


def test_the_cluster_directory_is_the_option_then_the_environment(around: Surroundings) -> None:
    environ = {"TASHICTL_CLUSTER": "/srv/b"}
    assert find_cluster("a", environ, around) == cluster(f"{around.current}/a")
    assert find_cluster(None, environ, around) == cluster("/srv/b")


@pytest.mark.parametrize("name", ["Tashi.cfg", "etc/Tashi.cfg"])
def test_the_cluster_directory_is_the_current_folder_if_it_holds_one_else_in_the_home(
    around: Surroundings, name: str
) -> None:
    home = cluster(f"{around.home}/.tashi", asked=False)
    assert find_cluster(None, {"TASHICTL_CLUSTER": ""}, around) == home
    write(around.current, "etc/Agent.cfg")
    assert find_cluster(None, {}, around) == home
    write(around.current, name)
    assert find_cluster(None, {}, around) == cluster(around.current, asked=False)


def test_a_strangers_files_do_not_make_the_current_folder_the_cluster_directory(
    around: Surroundings,
) -> None:
    root = write(around.current, "Tashi.cfg", "[Vfs]\n", 0o666)
    etc = write(around.current, "etc/Tashi.cfg", "[Vfs]\n", 0o666)
    folder = find_cluster(None, {}, around)
    assert folder.path == f"{around.home}/.tashi"
    told = {layer.path: layer.ignored for layer in layers(folder, around)}
    assert set(told) == {root, etc}
    assert all(told.values())


def test_the_surroundings_of_a_process_are_its_folder_home_and_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.chdir(tmp_path)
    assert surroundings() == Surroundings(current=str(tmp_path), home="/home/x", uid=UID)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    lost = surroundings()
    assert found(replace(lost, system=(), home=str(tmp_path))) == []


def test_a_cluster_in_the_home_keeps_its_files_for_itself(
    around: Surroundings, tmp_path: Path
) -> None:
    own = write(f"{around.home}/.tashi", "Tashi.cfg")
    other = str(tmp_path / "other")
    assert found(around, cluster(other)) == [own]

    Path(around.home, ".tashi", "state").mkdir()

    assert found(around, cluster(other)) == []
    assert found(around, cluster(f"{around.home}/.tashi")) == [own]
