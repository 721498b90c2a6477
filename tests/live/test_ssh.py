"""The SSH adapter against a real sshd, and against hosts that are ill."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fabric
import paramiko
import pytest
from msgspec import structs
from paramiko.common import AUTH_FAILED

from tashictl.adapters.ssh import link as links
from tashictl.adapters.ssh.hostkeys import HostKeyStore, host_key
from tashictl.adapters.ssh.remote import SshRemote
from tashictl.errors import NotPermitted, Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, Reply, Script
from tests.live.sshd import Sick, Sshd, echo_socket, make_key

MIB = 1 << 20


def script(text: str, timeout_s: int = 20) -> Script:
    return Script(text=text, nonce="0" * 16, changing=True, timeout_s=timeout_s)


def within(seconds: float) -> float:
    return time.monotonic() + seconds


class Site:
    """An sshd, a store that trusts it as `h1`, and a Remote."""

    def __init__(self, folder: Path, extra: str = "", env: str = "") -> None:
        self.sshd = Sshd(folder / "sshd", extra, env)
        self.store = HostKeyStore(folder / "known_hosts")
        self.remote = SshRemote(folder / "known_hosts", connect_timeout_s=2)
        self.host = self.named("h1")
        self.key = self.remote.host_key(self.host, within(5))
        self.store.trust("h1", self.key)

    def named(self, name: str, port: int | None = None) -> HostConfig:
        return HostConfig(
            name=name,
            address="127.0.0.1",
            port=port or self.sshd.port,
            identity_file=str(self.sshd.identity),
        )

    def run(self, text: str, seconds: float = 10) -> Reply:
        return self.remote.run(self.host, script(text), within(seconds))

    def close(self) -> None:
        self.remote.close()
        self.sshd.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("ssh"))
    yield found
    found.close()


@pytest.fixture
def sick() -> Iterator[Sick]:
    found = Sick()
    yield found
    found.close()


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


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Site]:
    """An sshd of its own, whose log shows what it was asked."""
    found = Site(tmp_path, "LogLevel DEBUG1\n")
    found.remote.close()
    yield found
    found.close()


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


@pytest.mark.parametrize(
    ("kind", "fault", "seconds"),
    [
        ("refused", Fault.REFUSED, 0.5),
        ("black_hole", Fault.TCP_TIMEOUT, 2.5),
        ("silent", Fault.NO_BANNER, 2.5),
    ],
)
def test_a_sick_host_costs_its_deadline_and_says_what_it_has(
    site: Site, sick: Sick, kind: str, fault: Fault, seconds: float
) -> None:
    reply = site.remote.run(site.named("h1", getattr(sick, kind)()), script("true"), within(3))
    assert (reply.fault, reply.sent) == (fault, False)
    assert reply.seconds < seconds


@pytest.mark.parametrize(
    ("data", "again_s", "fault"),
    [
        (b"hello there\r\n", 0.1, Fault.NO_BANNER),
        (b"SSH-2.0-slow\r\n", None, Fault.KEX),
        (b"SSH-2.0-x\r\n" + b"\0\0\0\x20", 0.2, Fault.KEX),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, Fault.NO_BANNER),
    ],
)
def test_a_host_that_trickles_is_left_at_the_deadline(
    site: Site, sick: Sick, data: bytes, again_s: float | None, fault: Fault
) -> None:
    host = site.named("h1", sick.speaking(data, again_s))
    reply = site.remote.run(host, script("true"), within(1.5))
    assert (reply.fault, reply.sent) == (fault, False)
    assert reply.seconds < 2


class _Silent(paramiko.ServerInterface):
    """Never says whether a login is good."""

    def __init__(self, healed: threading.Event) -> None:
        self._healed = healed

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._healed.wait(20)
        return AUTH_FAILED


def test_key_exchange_and_login_share_one_deadline(site: Site, tmp_path: Path) -> None:
    key = paramiko.Ed25519Key.from_private_key_file(str(make_key(tmp_path / "host")))
    healed = threading.Event()

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        time.sleep(1)
        transport = paramiko.Transport(client)
        transport.add_server_key(key)
        transport.start_server(server=_Silent(healed))
        healed.wait(20)
        transport.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        host = site.named("silent-login", server.getsockname()[1])
        site.store.trust("silent-login", host_key(key.get_name(), key.asbytes()))
        try:
            reply = site.remote.run(host, script("true"), within(2))
            assert (reply.fault, reply.sent) == (Fault.TIMEOUT, False)
            assert reply.seconds < 2.5
        finally:
            healed.set()


def test_a_name_that_does_not_resolve(site: Site) -> None:
    host = structs.replace(site.host, address="nowhere.invalid")
    reply = site.remote.run(host, script("true"), within(5))
    assert (reply.fault, reply.sent) == (Fault.RESOLVE, False)


def test_a_hung_command_ends_on_the_host_or_at_our_deadline(site: Site) -> None:
    reply = site.remote.run(site.host, script("echo a; sleep 60", timeout_s=1), within(10))
    assert (reply.rc, reply.fault) == (124, None)
    begun = time.monotonic()
    reply = site.run("echo a; sleep 20", seconds=1.5)
    assert time.monotonic() - begun < 2
    assert (reply.rc, reply.fault, reply.sent, reply.out) == (None, Fault.TIMEOUT, True, b"a\n")
    assert site.run("echo well").out == b"well\n"


def test_a_connection_cut_in_the_middle_may_have_done_everything(site: Site) -> None:
    threading.Timer(0.7, site.sshd.kill_connections).start()
    reply = site.run("echo begun; sleep 20")
    assert (reply.fault, reply.sent, reply.rc, reply.out) == (Fault.CUT, True, None, b"begun\n")
    assert reply.seconds < 3


def test_a_dead_connection_is_replaced_before_anything_is_sent(site: Site) -> None:
    assert site.run("true").rc == 0
    site.sshd.kill_connections()
    reply = site.run("echo again")
    assert (reply.rc, reply.out) == (0, b"again\n")


def test_a_frozen_connection_is_replaced_before_anything_is_sent(site: Site) -> None:
    assert site.run("true").rc == 0
    site.sshd.kill_connections(signal.SIGSTOP)
    link = next(iter(site.remote._pool._links.values()))
    link.used_s -= 60
    try:
        reply = site.run("echo again", seconds=4)
        assert (reply.rc, reply.out) == (0, b"again\n")
    finally:
        site.sshd.kill_connections(signal.SIGCONT)


def test_a_flood_on_both_streams_does_not_block(site: Site) -> None:
    reply = site.run("head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero; exit 4")
    assert (reply.rc, len(reply.out), len(reply.err)) == (4, 5000000, 5000000)


def test_output_without_end_is_capped(site: Site) -> None:
    reply = site.run("exec cat /dev/zero")
    assert (reply.fault, reply.sent) == (Fault.EXEC, True)
    assert "16 MiB" in reply.detail
    assert len(reply.out) <= 16 * MIB


def test_a_large_script_arrives_whole(site: Site) -> None:
    reply = site.run("# " + "x" * 5_000_000 + "\necho end")
    assert reply.out == b"end\n"


def test_a_child_that_keeps_stdout_open_does_not_hold_us(site: Site) -> None:
    reply = site.run("sleep 15 & echo done", seconds=12)
    assert (reply.rc, reply.out) == (0, b"done\n")
    assert reply.seconds < 8


def at_once(site: Site, count: int) -> list[Reply]:
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda i=i: replies.append(site.run(f"sleep 0.1; echo {i}", 60)))
        for i in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_many_threads_share_one_connection(site: Site) -> None:
    replies = at_once(site, 40)
    assert {reply.fault for reply in replies} == {None}
    assert sorted(int(reply.out) for reply in replies) == list(range(40))


def test_a_host_that_allows_few_sessions_is_given_few(tmp_path: Path) -> None:
    place = Site(tmp_path, "MaxSessions 2\n")
    try:
        replies = at_once(place, 12)
        assert {reply.fault for reply in replies} == {None}
        assert sorted(int(reply.out) for reply in replies) == list(range(12))
    finally:
        place.close()


def test_a_host_that_allows_no_session_says_so(tmp_path: Path) -> None:
    place = Site(tmp_path, "MaxSessions 0\n")
    try:
        reply = place.run("true")
        assert (reply.fault, reply.sent) == (Fault.EXEC, False)
        assert reply.seconds < 4
    finally:
        place.close()


def test_become_runs_as_root_and_passes_the_status(site: Site) -> None:
    host = structs.replace(site.host, become=True)
    reply = site.remote.run(host, script("id -u; exit 5"), within(20))
    assert (reply.rc, reply.out, reply.fault) == (5, b"0\n", None)


def test_sudo_that_asks_for_a_password_is_a_fault_of_its_own(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (tools / "sudo").chmod(0o755)
    (tmp_path / "site").mkdir()
    place = Site(tmp_path / "site", env=f"PATH={tools}:/usr/bin:/bin")
    try:
        host = structs.replace(place.host, become=True)
        reply = place.remote.run(host, script("touch /nowhere/x"), within(10))
        assert (reply.fault, reply.sent) == (Fault.SUDO, False)
        assert "password is required" in reply.detail
    finally:
        place.close()


def test_a_sweep_streams_results_and_a_sick_host_costs_only_itself(site: Site, sick: Sick) -> None:
    good = [site.named(f"n{i}") for i in range(55)]
    for host in good:
        site.store.trust(host.name, site.key)
    hung = site.named("hung")
    site.store.trust("hung", site.key)
    ill = {
        "refused": site.named("refused", sick.refused()),
        "hole": site.named("hole", sick.black_hole()),
        "silent": site.named("silent", sick.silent()),
        "unknown": site.named("unknown"),
        "hung": hung,
    }
    results: dict[str, Reply] = {}
    ends: dict[str, float] = {}
    inside = threading.Lock()
    begun = time.monotonic()

    def make(host: HostConfig) -> Script:
        return script("sleep 30" if host.name == "hung" else f"echo {host.name}", 40)

    def take(host: HostConfig, reply: Reply) -> None:
        assert inside.acquire(blocking=False)
        results[host.name] = reply
        ends[host.name] = time.monotonic() - begun
        inside.release()

    remote = SshRemote(site.remote._store._path, connect_timeout_s=2)
    stats = remote.sweep([*ill.values(), *good], make, 20, take)
    remote.close()
    assert (stats.answered, stats.failed) == (55, 5)
    assert all(results[h.name].out == f"{h.name}\n".encode() for h in good)
    assert {name: results[name].fault for name in ill} == {
        "refused": Fault.REFUSED,
        "hole": Fault.TCP_TIMEOUT,
        "silent": Fault.NO_BANNER,
        "unknown": Fault.HOSTKEY_UNKNOWN,
        "hung": Fault.TIMEOUT,
    }
    assert all(reply.sent == (name == "hung") for name, reply in results.items() if name in ill)
    assert max(ends[h.name] for h in good) < ends["hung"]
    assert stats.seconds < 21.5


def test_many_logins_at_once_all_succeed(site: Site) -> None:
    hosts = [site.named(f"n{i}") for i in range(100)]
    for host in hosts:
        site.store.trust(host.name, site.key)
    remote = SshRemote(site.remote._store._path, connect_timeout_s=15)
    faults: list[str] = []
    stats = remote.sweep(
        hosts, lambda _: script("true"), 60, lambda _, reply: faults.append(str(reply.fault))
    )
    remote.close()
    assert (stats.answered, set(faults)) == (100, {"None"})


def test_a_sweep_ends_with_what_its_callers_raise(site: Site) -> None:
    def fail(_host: HostConfig) -> Script:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        site.remote.sweep([site.host], fail, 5, lambda *_: None)


def test_a_kept_connection_serves_the_sweep_and_the_streams_after_it(
    site: Site, tmp_path: Path
) -> None:
    before = site.run("echo $SSH_CONNECTION").out
    seen: list[bytes] = []
    site.remote.sweep(
        [site.host], lambda _: script("echo $SSH_CONNECTION"), 10, lambda _, r: seen.append(r.out)
    )
    assert seen == [before]
    with echo_socket(tmp_path / "s") as path:
        stream = site.remote.open_stream(site.host, str(path), within(5))
        stream.send(b"ping")
        assert stream.receive(within(5)) == b"ping"
        stream.close()
    assert site.run("echo $SSH_CONNECTION").out == before


def exchange(site: Site, host: HostConfig, path: Path) -> None:
    stream = site.remote.open_stream(host, str(path), within(10))
    data = os.urandom(300_000)
    threading.Thread(target=stream.send, args=(data,)).start()
    back = b""
    while len(back) < len(data):
        back += stream.receive(within(10))
    assert back == data
    with pytest.raises(Unreachable) as caught:
        stream.receive(within(0.3))
    assert caught.value.code == "E-TIMEOUT"
    stream.close()
    stream.close()


def test_a_stream_carries_bytes_both_ways_and_knows_its_deadline(
    site: Site, tmp_path: Path
) -> None:
    with echo_socket(tmp_path / "s") as path:
        exchange(site, site.host, path)


def test_a_stream_with_become_goes_through_a_relay(site: Site, tmp_path: Path) -> None:
    with echo_socket(tmp_path / "s") as path:
        exchange(site, structs.replace(site.host, become=True), path)


def test_a_host_without_stream_forwarding_is_reached_through_a_relay(tmp_path: Path) -> None:
    place = Site(tmp_path, "AllowStreamLocalForwarding no\n")
    try:
        with echo_socket(tmp_path / "s") as path:
            exchange(place, place.host, path)
    finally:
        place.close()


def test_a_stream_to_no_socket_is_unreachable_and_says_so(site: Site, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no such socket"):
        stream = site.remote.open_stream(site.host, str(tmp_path / "none"), within(10))
        stream.receive(within(10))


def test_a_cut_stream_is_unreachable_not_at_its_end(site: Site, tmp_path: Path) -> None:
    with echo_socket(tmp_path / "s") as path:
        stream = site.remote.open_stream(site.host, str(path), within(5))
        threading.Timer(0.3, site.remote.drop, args=(site.host,)).start()
        with pytest.raises(Unreachable) as caught:
            stream.receive(within(5))
        assert caught.value.code == "E-CUT"


def test_a_forwarded_port_reaches_the_socket(site: Site, tmp_path: Path) -> None:
    with echo_socket(tmp_path / "s") as path, site.remote.forward(site.host, str(path)) as where:
        assert where[0] == "127.0.0.1"
        for _ in range(2):
            with socket.create_connection(where, 5) as client:
                client.sendall(b"x" * 200_000)
                got = 0
                while got < 200_000:
                    got += len(client.recv(65536))
    with pytest.raises(OSError):
        socket.create_connection(where, 1)


def test_a_file_is_put_hashed_and_fetched_again(site: Site, tmp_path: Path) -> None:
    data = os.urandom(5 * MIB + 17)
    target = tmp_path / "it's a $(name)"
    for become in (False, True):
        host = structs.replace(site.host, become=become)
        reply = site.remote.put(host, io.BytesIO(data), str(target), len(data), within(30))
        assert (reply.rc, reply.fault) == (0, None), reply
        assert reply.out.decode() == hashlib.sha256(data).hexdigest()
        assert target.read_bytes() == data
        sink = io.BytesIO()
        reply = site.remote.get(host, str(target), sink, within(30))
        assert (reply.rc, reply.fault, sink.getvalue() == data) == (0, None, True)
        target.unlink()


class Source(io.BytesIO):
    """Counts what is read; calls `at_read` each time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.rewound = False
        self.reads = 0

    def seek(self, *where: int) -> int:
        self.rewound = True
        return super().seek(*where)

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        self.at_read(self.reads)
        return super().read(size)

    def at_read(self, number: int) -> None:
        pass


def test_a_true_part_is_gone_on_with_and_a_false_one_written_anew(
    site: Site, tmp_path: Path
) -> None:
    data = os.urandom(3 * MIB)
    target = tmp_path / "part"
    for held, resumed in (
        (data[: 2 * MIB], True),
        (b"y" * 2 * MIB, False),
        (data + b"more", False),
        (data, True),
    ):
        target.write_bytes(held)
        source = Source(data)
        reply = site.remote.put(site.host, source, str(target), len(data), within(20))
        assert reply.out.decode() == hashlib.sha256(data).hexdigest()
        assert target.read_bytes() == data
        assert source.rewound != resumed


def test_a_put_that_is_cut_leaves_the_part_and_resumes(site: Site, tmp_path: Path) -> None:
    class Cutting(Source):
        def at_read(self, number: int) -> None:
            if number == 40:
                site.sshd.kill_connections()

    data = os.urandom(24 * MIB)
    target = tmp_path / "part"
    reply = site.remote.put(site.host, Cutting(data), str(target), len(data), within(20))
    assert (reply.fault, reply.sent) == (Fault.CUT, True)
    time.sleep(0.3)
    assert 0 < target.stat().st_size < len(data)
    source = Source(data)
    reply = site.remote.put(site.host, source, str(target), len(data), within(20))
    assert (reply.rc, reply.out.decode()) == (0, hashlib.sha256(data).hexdigest())
    assert not source.rewound


@pytest.mark.parametrize("small_buffer", [False, True], ids=["window full", "socket full"])
def test_a_put_to_a_frozen_host_ends_at_its_deadline(
    site: Site, tmp_path: Path, small_buffer: bool
) -> None:
    class Freezing(Source):
        def at_read(self, number: int) -> None:
            if number == 1:
                if small_buffer:
                    (link,) = site.remote._pool._links.values()
                    link._line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                site.sshd.kill_connections(signal.SIGSTOP)

    data = bytes(64 * MIB)
    try:
        begun = time.monotonic()
        reply = site.remote.put(
            site.host, Freezing(data), str(tmp_path / "p"), len(data), within(3)
        )
        assert time.monotonic() - begun < 4
        assert (reply.fault, reply.sent) == (Fault.TIMEOUT, True)
    finally:
        site.sshd.kill_connections(signal.SIGCONT)


def test_a_full_disk_is_the_hosts_word_not_a_fault(site: Site, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        data = os.urandom(8 * MIB)
        reply = site.remote.put(
            site.host, io.BytesIO(data), str(small / "f"), len(data), within(20)
        )
        assert reply.fault is None
        assert reply.rc not in (0, None)
        assert b"No space left" in reply.err
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_source_that_ends_early_is_said(site: Site, tmp_path: Path) -> None:
    reply = site.remote.put(site.host, io.BytesIO(b"short"), str(tmp_path / "f"), 10, within(10))
    assert reply.fault is Fault.EXEC
    assert "5 bytes early" in reply.detail


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
