"""From the inventory and ~/.ssh/config to a route."""

import shutil
from pathlib import Path

import pytest

from tashictl.adapters.ssh.config import SshConfig, parse_answer, resolve
from tashictl.adapters.ssh.faults import Down
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault

HOST = HostConfig(name="node1", address="node1")
FULL = {"hostname": "10.0.0.1", "user": "op", "port": "2222", "identityfile": ["/k"]}


def written(folder: Path, text: str) -> Path:
    path = folder / "config"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_config_speaks_where_the_inventory_is_silent() -> None:
    route = resolve(HOST, FULL)
    assert (route.address, route.user, route.port) == ("10.0.0.1", "op", 2222)
    assert (route.identities, route.only, route.agent) == (("/k",), False, True)


def test_the_inventory_wins() -> None:
    host = HostConfig(
        name="node1", address="10.9.9.9", user="me", port=22022, identity_file="/mine"
    )
    route = resolve(host, {**FULL, "identitiesonly": "no"})
    assert (route.address, route.user, route.port) == ("10.9.9.9", "me", 22022)
    assert (route.identities, route.only, route.agent) == (("/mine",), True, False)


@pytest.mark.parametrize(
    ("options", "only", "agent"),
    [
        ({"identitiesonly": "yes"}, True, True),
        ({"identityagent": "none"}, False, False),
        ({}, False, True),
    ],
)
def test_identity_options(options: dict[str, object], only: bool, agent: bool) -> None:
    route = resolve(HOST, options)
    assert (route.only, route.agent) == (only, agent)


@pytest.mark.parametrize(
    ("options", "proxy"),
    [
        ({"proxyjump": "none", "proxycommand": "none"}, None),
        (
            {"proxyjump": "none", "proxycommand": "nc %h %p # %% %r %n"},
            "nc 10.0.0.1 2222 # % op node1",
        ),
        (
            {"proxyjump": "gate"},
            "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -W '[10.0.0.1]:2222' -- gate",
        ),
        (
            {"proxyjump": "a, me@b:2200"},
            "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -J a -W '[10.0.0.1]:2222'"
            " -- ssh://me@b:2200",
        ),
    ],
)
def test_proxies(options: dict[str, object], proxy: str | None) -> None:
    assert resolve(HOST, {**FULL, **options}).proxy == proxy


def test_what_a_proxy_command_is_given_is_quoted() -> None:
    route = resolve(HOST, {"hostname": "a;rm -rf $HOME", "proxycommand": "nc %h %p"})
    assert route.proxy == "nc 'a;rm -rf $HOME' 22"


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "Host node*\n User op\n Port 2200\nHost *\n User other\n")
    route = SshConfig(path).route(HOST)
    assert (route.address, route.user, route.port) == ("node1", "op", 2200)


def test_a_changed_file_is_read_again_and_an_absent_one_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config"
    found = SshConfig(path)
    assert found.route(HOST).port == 22
    written(tmp_path, "Host *\n Port 2200\n")
    assert found.route(HOST).port == 2200
    path.unlink()
    assert found.route(HOST).port == 22


def test_no_path_reads_nothing() -> None:
    assert SshConfig(None).route(HOST).address == "node1"


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "Host *\n ProxyCommand evil\n")
    path.chmod(0o666)
    with pytest.raises(Down, match=r"name does not resolve") as caught:
        SshConfig(path).route(HOST)
    assert "chmod go-w" in caught.value.detail


@pytest.mark.parametrize("text", ["Include other\n", "  match host x\n User y\n", "MATCH all\n"])
def test_what_paramiko_would_misread_is_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(Down) as caught:
        SshConfig(written(tmp_path, text)).route(HOST)
    assert caught.value.fault is Fault.RESOLVE
    assert "no ssh to read" in caught.value.detail


def test_the_answer_of_ssh_is_read_without_its_own_defaults() -> None:
    answer = (
        "user /unset-by-the-config\nhostname 10.0.0.1\nport 22\n"
        "identityfile ~/.ssh/a b\nidentityfile /unset-by-the-config\nproxyjump none\n"
    )
    route = resolve(HOST, parse_answer(answer))
    assert (route.user, route.address, route.port) == ("root", "10.0.0.1", 22)
    assert (route.identities, route.proxy) == (("~/.ssh/a b",), None)
