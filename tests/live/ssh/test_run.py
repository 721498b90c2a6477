"""One script on one host: streams, keys that are not trusted, logins."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import fabric
import paramiko
import pytest
from msgspec import structs

from tashictl.adapters.ssh import link as links
from tashictl.adapters.ssh.remote import SshRemote
from tashictl.errors import NotPermitted
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault
from tests.live.ssh.site import Site, script, within
from tests.live.sshd import make_key


def test_a_script_runs_and_its_streams_and_status_come_back(site: Site) -> None:
    reply = site.run("echo out; echo err >&2; exit 3")
    assert (reply.rc, reply.out, reply.err) == (3, b"out\n", b"err\n")
    assert (reply.fault, reply.sent) == (None, True)


def test_a_second_script_uses_the_same_connection(site: Site) -> None:
    first, second = (site.run("echo $SSH_CONNECTION").out for _ in range(2))
    assert first == second != b"\n"


def test_output_is_seen_as_it_arrives(site: Site) -> None:
    seen: list[float] = []
    text = "for i in 1 2 3; do echo $i; sleep 0.3; done"
    begun = time.monotonic()
    site.remote.run(
        site.host, script(text), within(10), lambda _: seen.append(time.monotonic() - begun)
    )
    assert len(seen) == 3
    assert seen[2] - seen[0] > 0.5


@pytest.mark.parametrize(
    ("change", "fault"),
    [("forget", Fault.HOSTKEY_UNKNOWN), ("replace", Fault.HOSTKEY_CHANGED)],
)
def test_a_host_whose_key_is_not_trusted_is_sent_nothing(
    stranger: Site, tmp_path: Path, change: str, fault: Fault
) -> None:
    if change == "forget":
        stranger.store.forget("h1")
    else:
        other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
        stranger.store.trust(
            "h1",
            structs.replace(
                stranger.key,
                base64=other[1],
                fingerprint=(
                    subprocess.run(
                        ["ssh-keygen", "-l", "-f", str(tmp_path / "other.pub")],
                        capture_output=True,
                        check=True,
                        text=True,
                    ).stdout.split()[1]
                ),
            ),
        )
    reply = stranger.run(f"touch {tmp_path}/ran")
    assert (reply.fault, reply.sent, reply.rc) == (fault, False, None)
    assert stranger.key.fingerprint in reply.detail
    assert "userauth-request" not in stranger.sshd.log()
    assert not (tmp_path / "ran").exists()
    stranger.store.trust("h1", stranger.key)
    assert stranger.run("true").rc == 0
    assert "userauth-request" in stranger.sshd.log()


def test_a_stream_to_a_host_with_a_changed_key_is_not_permitted(
    stranger: Site, tmp_path: Path
) -> None:
    text = (make_key(tmp_path / "other").with_suffix(".pub")).read_text()
    (tmp_path / "known_hosts").write_text(f"h1 {text}")
    with pytest.raises(NotPermitted, match="host key has changed"):
        stranger.remote.open_stream(stranger.host, "/run/x", within(5))


def test_a_revoked_key_is_refused(stranger: Site, tmp_path: Path) -> None:
    key = stranger.key
    with (tmp_path / "known_hosts").open("a") as file:
        file.write(f"@revoked * {key.algorithm} {key.base64}\n")
    reply = stranger.run("true")
    assert (reply.fault, reply.sent) == (Fault.HOSTKEY_CHANGED, False)
    assert "@revoked" in reply.detail


def test_fabric_cannot_install_its_own_policy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[fabric.Connection] = []
    plain = fabric.Connection.open

    def spy(self: fabric.Connection) -> object:
        made.append(self)
        self.client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        self.client.load_system_host_keys()
        return plain(self)

    monkeypatch.setattr(fabric.Connection, "open", spy)
    reply = site.remote.run(site.named("unheard-of"), script("true"), within(5))
    assert reply.fault is Fault.HOSTKEY_UNKNOWN
    assert isinstance(made[0].client, links.StrictClient)
    site.remote.run(site.named("unheard-of-too"), script("true"), within(5))
    # Two threads that share a fabric.Config break each other.
    assert made[0].config is not made[1].config


def test_a_refused_login_is_told_from_all_else(site: Site, tmp_path: Path) -> None:
    host = structs.replace(site.host, identity_file=str(make_key(tmp_path / "wrong")))
    reply = site.remote.run(host, script("true"), within(5))
    assert (reply.fault, reply.sent) == (Fault.AUTH, False)
    assert "wrong: refused" in reply.detail
    reply = site.remote.run(
        structs.replace(site.host, identity_file="/absent"), script("true"), within(5)
    )
    assert (reply.fault, reply.sent) == (Fault.AUTH, False)
    assert "/absent No such file" in reply.detail


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs the ssh program")
def test_a_host_behind_a_jump_is_reached_and_still_verified(site: Site, tmp_path: Path) -> None:
    jump = make_key(tmp_path / "jumpkey")
    known = tmp_path / "jump_known"
    known.write_text(f"[127.0.0.1]:{site.sshd.port} {site.key.algorithm} {site.key.base64}\n")
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n HostName 127.0.0.1\n Port {site.sshd.port}\n User root\n"
        f" IdentityFile {site.sshd.identity}\n IdentitiesOnly yes\n UserKnownHostsFile {known}\n"
        f"Host h1 strange\n HostName 127.0.0.1\n Port {site.sshd.port}\n ProxyJump gate\n"
        f" IdentityFile {site.sshd.identity}\n"
    )
    config.chmod(0o600)
    remote = SshRemote(site.remote._store._path, ssh_config=config, connect_timeout_s=5)
    try:
        reply = remote.run(HostConfig(name="h1", address="h1"), script("echo in"), within(15))
        assert (reply.out, reply.fault) == (b"in\n", None), reply
        host = HostConfig(name="strange", address="strange")
        assert remote.run(host, script("true"), within(15)).fault is Fault.HOSTKEY_UNKNOWN
        known.write_text((jump.with_suffix(".pub")).read_text())
        remote.close()
        reply = remote.run(HostConfig(name="h1", address="h1"), script("true"), within(15))
        assert (reply.fault, reply.sent) == (Fault.NO_BANNER, False)
        assert "verification failed" in reply.detail
    finally:
        remote.close()


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs the ssh program")
def test_a_config_with_include_and_match_is_read_as_ssh_reads_it(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "more").write_text(f"Host h1\n Port {site.sshd.port}\n HostName 127.0.0.1\n")
    config = tmp_path / "config"
    config.write_text(
        f"Include {tmp_path}/more\nMatch host 127.0.0.1\n IdentityFile {site.sshd.identity}\n"
        "Match user nobody-of-the-kind\n User wrong\n"
    )
    config.chmod(0o600)
    remote = SshRemote(site.remote._store._path, ssh_config=config)
    reply = remote.run(HostConfig(name="h1", address="h1"), script("id -un"), within(10))
    remote.close()
    assert (reply.out, reply.fault) == (b"root\n", None), reply
