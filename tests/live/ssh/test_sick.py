"""Hosts that are ill, and connections that die, freeze or hang."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import paramiko
import pytest
from msgspec import structs
from paramiko.common import AUTH_FAILED

from tashictl.adapters.ssh.hostkeys import host_key
from tashictl.model.script import Fault
from tests.live.ssh.site import MIB, Site, script, within
from tests.live.sshd import Sick, make_key


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
