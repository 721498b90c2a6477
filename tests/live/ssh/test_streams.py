"""Streams to unix sockets on a host, and files to and from it."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from msgspec import structs

from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault
from tests.live.ssh.site import MIB, Site, within
from tests.live.sshd import echo_socket


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


def test_a_tcp_port_is_reached_as_the_host_sees_it_and_a_closed_one_costs_no_connection(
    site: Site,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stream = site.remote.open_tcp(site.host, "127.0.0.1", port, within(10))
        there, _ = server.accept()
        with there:
            there.sendall(b"SSH-2.0-x")
            assert stream.receive(within(10)) == b"SSH-2.0-x"
            stream.close()
    before = site.remote._pool.live(site.remote._config.route(site.host))
    with pytest.raises(Unreachable) as caught:
        site.remote.open_tcp(site.host, "127.0.0.1", port, within(10))
    assert caught.value.code == "E-TCP"
    assert site.remote._pool.live(site.remote._config.route(site.host)) is before is not None


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
