"""The local adapter: the contract of the SSH one, without SSH."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from msgspec import structs

from tashictl.adapters.local import LocalRemote
from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, Reply, Script
from tests.live.sshd import echo_socket

HERE = HostConfig(name="here", address="here", transport="local")
REMOTE = LocalRemote()


def script(text: str, timeout_s: int = 20) -> Script:
    return Script(text=text, nonce="0" * 16, changing=True, timeout_s=timeout_s)


def within(seconds: float) -> float:
    return time.monotonic() + seconds


def run(text: str, seconds: float = 10) -> Reply:
    return REMOTE.run(HERE, script(text), within(seconds))


def test_a_script_runs_and_its_streams_and_status_come_back() -> None:
    reply = run("echo out; echo err >&2; exit 3")
    assert (reply.rc, reply.out, reply.err) == (3, b"out\n", b"err\n")
    assert (reply.fault, reply.sent) == (None, True)


def test_output_is_seen_as_it_arrives() -> None:
    seen: list[bytes] = []
    REMOTE.run(HERE, script("echo 1; sleep 0.3; echo 2"), within(5), seen.append)
    assert seen == [b"1\n", b"2\n"]


def test_a_hung_command_ends_by_its_own_limit_or_is_killed_at_ours(tmp_path: Path) -> None:
    assert REMOTE.run(HERE, script("sleep 60", timeout_s=1), within(10)).rc == 124
    begun = time.monotonic()
    reply = run(f"echo a; sleep 2; touch {tmp_path}/late", seconds=0.7)
    assert time.monotonic() - begun < 1.2
    assert (reply.fault, reply.sent, reply.out) == (Fault.TIMEOUT, True, b"a\n")
    time.sleep(1.8)
    assert not (tmp_path / "late").exists()


def test_a_killed_script_has_no_status() -> None:
    reply = run("kill -9 $PPID; sleep 5")
    assert (reply.rc, reply.fault, reply.sent) == (None, Fault.CUT, True)


def test_a_flood_on_both_streams_does_not_block_and_is_capped() -> None:
    reply = run("head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero; exit 4")
    assert (reply.rc, len(reply.out), len(reply.err)) == (4, 5000000, 5000000)
    assert run("exec cat /dev/zero").fault is Fault.EXEC


def test_a_large_script_arrives_whole() -> None:
    assert run("# " + "x" * 3_000_000 + "\necho end").out == b"end\n"


def test_a_child_that_keeps_stdout_open_does_not_hold_us() -> None:
    reply = run("sleep 15 & echo done", seconds=12)
    assert (reply.rc, reply.out) == (0, b"done\n")
    assert reply.seconds < 2


def test_a_daemon_outlives_its_script(tmp_path: Path) -> None:
    run(f"setsid sh -c 'sleep 0.5; touch {tmp_path}/alive' >/dev/null 2>&1 </dev/null &")
    time.sleep(1)
    assert (tmp_path / "alive").exists()


def test_a_round_has_all_results_one_at_a_time() -> None:
    hosts = [structs.replace(HERE, name=f"n{i}") for i in range(12)]
    results: dict[str, bytes] = {}
    stats = REMOTE.sweep(
        hosts,
        lambda host: script(f"echo {host.name}"),
        10,
        lambda host, reply: results.update({host.name: reply.out}),
    )
    assert (stats.answered, stats.failed) == (12, 0)
    assert results == {host.name: f"{host.name}\n".encode() for host in hosts}


@pytest.mark.parametrize("become", [False, True])
def test_a_stream_carries_bytes_both_ways_and_knows_its_deadline(
    tmp_path: Path, become: bool
) -> None:
    host = structs.replace(HERE, become=become)
    with echo_socket(tmp_path / "s") as path:
        stream = REMOTE.open_stream(host, str(path), within(5))
        data = os.urandom(300_000)
        threading.Thread(target=stream.send, args=(data,)).start()
        back = b""
        while len(back) < len(data):
            back += stream.receive(within(10))
        assert back == data
        with pytest.raises(Unreachable) as caught:
            stream.receive(within(0.2))
        assert caught.value.code == "E-TIMEOUT"
        stream.close()
        stream.close()


@pytest.mark.parametrize("become", [False, True])
def test_a_stream_to_no_socket_is_unreachable(tmp_path: Path, become: bool) -> None:
    host = structs.replace(HERE, become=become)
    with pytest.raises(Unreachable, match="could not be started"):
        REMOTE.open_stream(host, str(tmp_path / "none"), within(5)).receive(within(5))


def test_a_forwarded_port_reaches_the_socket(tmp_path: Path) -> None:
    with (
        echo_socket(tmp_path / "s") as path,
        REMOTE.forward(HERE, str(path)) as where,
        socket.create_connection(where, 5) as client,
    ):
        client.sendall(b"ping")
        assert client.recv(10) == b"ping"


def test_a_file_is_put_resumed_hashed_and_fetched(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    target = tmp_path / "it's a $(name)"
    for held in (None, data[: 1 << 20], b"x" * 100):
        if held is not None:
            target.write_bytes(held)
        reply = REMOTE.put(HERE, io.BytesIO(data), str(target), len(data), within(20))
        assert (reply.rc, reply.out.decode()) == (0, hashlib.sha256(data).hexdigest())
        assert target.read_bytes() == data
    sink = io.BytesIO()
    assert REMOTE.get(HERE, str(target), sink, within(20)).rc == 0
    assert sink.getvalue() == data


def test_a_file_that_cannot_be_written_or_read_is_a_status(tmp_path: Path) -> None:
    reply = REMOTE.put(HERE, io.BytesIO(b"x"), str(tmp_path / "no" / "f"), 1, within(5))
    assert reply.fault is None
    assert reply.rc not in (0, None)
    assert REMOTE.get(HERE, str(tmp_path / "no"), io.BytesIO(), within(5)).rc == 1


def test_this_machine_has_no_host_key() -> None:
    with pytest.raises(Unreachable, match="no host key"):
        REMOTE.host_key(HERE, within(1))


def test_a_tcp_port_is_reached_and_a_closed_one_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stream = REMOTE.open_tcp(HERE, "127.0.0.1", port, within(5))
        there, _ = server.accept()
        with there:
            there.sendall(b"hello")
            assert stream.receive(within(5)) == b"hello"
            stream.close()
    with pytest.raises(Unreachable) as caught:
        REMOTE.open_tcp(HERE, "127.0.0.1", port, within(5))
    assert caught.value.code == "E-REFUSED"
    with pytest.raises(Unreachable) as caught:
        REMOTE.open_tcp(HERE, "127.0.0.1", port, within(-1))
    assert caught.value.code == "E-TIMEOUT"
