"""Many at once on one host, sudo, and sweeps over many hosts."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from msgspec import structs

from tashictl.adapters.ssh.remote import SshRemote
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, Reply, Script
from tests.live.ssh.site import Site, script, within
from tests.live.sshd import Sick, echo_socket


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
