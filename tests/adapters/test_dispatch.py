"""Choosing the way to a host, and the dry run."""

import io
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import BinaryIO

import pytest
from msgspec import structs

from tashictl.adapters.dispatch import Dispatch, DryRunRemote
from tashictl.adapters.ssh.relay import ByteStream
from tashictl.errors import InvalidRequest, OperationFailed
from tashictl.model.host import HostConfig
from tashictl.model.script import HostKey, Reply, Script, SweepStats

NEAR = HostConfig(name="near", address="near", transport="local")
FAR = HostConfig(name="far", address="far")
READING = Script(text="true", nonce="0" * 16, changing=False, timeout_s=5)
CHANGING = structs.replace(READING, changing=True)


class Recorder:
    """A carrier that notes what it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        self.asked.append(f"run {host.name}")
        return Reply(rc=0, out=self.name.encode(), sent=True)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        listed = list(hosts)
        for host in listed:
            make_script(host)
            on_result(host, Reply(rc=0, out=self.name.encode()))
        return SweepStats(answered=len(listed), failed=0, seconds=0.0)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ByteStream:
        raise AssertionError

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> ByteStream:
        raise AssertionError

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        self.asked.append("put")
        return Reply(rc=0)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        self.asked.append("get")
        return Reply(rc=0)

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        raise AssertionError

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        return HostKey(algorithm="a", base64="b", fingerprint=self.name)

    def drop(self, host: HostConfig) -> None:
        self.asked.append(f"drop {host.name}")

    def close(self) -> None:
        self.asked.append("close")


class Both:
    """A dispatch over two recorders, and which of them were made."""

    def __init__(self) -> None:
        self.made: dict[str, Recorder] = {}
        self.remote = Dispatch({"local": self.make("local"), "paramiko": self.make("paramiko")})

    def make(self, name: str) -> Callable[[], Recorder]:
        def maker() -> Recorder:
            assert name not in self.made
            self.made[name] = Recorder(name)
            return self.made[name]

        return maker


def test_each_host_goes_its_way_and_the_other_way_is_never_made() -> None:
    both = Both()
    for _ in range(2):
        assert both.remote.run(NEAR, READING, 0).out == b"local"
    assert list(both.made) == ["local"]
    assert both.remote.host_key(FAR, 0).fingerprint == "paramiko"


def test_an_unknown_transport_is_refused_with_the_known_ones() -> None:
    host = structs.replace(FAR, transport="pigeon")
    with pytest.raises(InvalidRequest, match="pigeon") as caught:
        Both().remote.run(host, READING, 0)
    assert caught.value.hint == "one of local, paramiko"
    with pytest.raises(InvalidRequest):
        Both().remote.sweep([NEAR, host], lambda _: READING, 1, lambda *_: None)


def test_a_round_over_both_ways_has_every_result_and_one_count() -> None:
    hosts = [NEAR, FAR, *(structs.replace(FAR, name=f"f{i}") for i in range(20))]
    results: dict[str, bytes] = {}
    inside = threading.Lock()

    def take(host: HostConfig, reply: Reply) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        results[host.name] = reply.out
        inside.release()

    stats = Both().remote.sweep(hosts, lambda _: READING, 5, take)
    assert (stats.answered, stats.failed, len(results)) == (22, 0, 22)
    assert (results["near"], results["far"]) == (b"local", b"paramiko")


def test_what_the_caller_raises_in_a_round_comes_out_of_it() -> None:
    def fail(_host: HostConfig, _reply: Reply) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Both().remote.sweep([NEAR, FAR], lambda _: READING, 5, fail)


def test_a_round_over_nothing_is_over() -> None:
    assert Both().remote.sweep([], lambda _: READING, 5, lambda *_: None).answered == 0


def test_drop_and_close_make_nothing() -> None:
    both = Both()
    both.remote.drop(FAR)
    both.remote.close()
    assert both.made == {}
    both.remote.run(FAR, READING, 0)
    both.remote.drop(FAR)
    both.remote.close()
    assert both.made["paramiko"].asked == ["run far", "drop far", "close"]


def test_a_dry_run_reads_and_sends_nothing_else() -> None:
    inner = Recorder("x")
    dry = DryRunRemote(inner)
    assert dry.run(FAR, READING, 0).rc == 0
    assert dry.get(FAR, "/p", io.BytesIO(), 0).rc == 0
    assert dry.host_key(FAR, 0).fingerprint == "x"
    dry.sweep([FAR], lambda _: READING, 1, lambda *_: None)
    before = list(inner.asked)
    for refused in (
        lambda: dry.run(FAR, CHANGING, 0),
        lambda: dry.put(FAR, io.BytesIO(), "/p", 0, 0),
        lambda: dry.open_stream(FAR, "/s", 0),
        lambda: dry.forward(FAR, "/s"),
        lambda: dry.sweep([FAR], lambda _: CHANGING, 1, lambda *_: None),
    ):
        with pytest.raises(OperationFailed) as caught:
            refused()
        assert (caught.value.code, caught.value.host) == ("E-DRYRUN", "far")
    assert inner.asked == before
