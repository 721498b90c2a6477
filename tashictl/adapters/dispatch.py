"""Which Remote a host is reached through, and the Remote of a dry run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from tashictl.adapters.ssh.relay import ByteStream
from tashictl.errors import InvalidRequest, OperationFailed
from tashictl.model.host import HostConfig
from tashictl.model.script import HostKey, Reply, Script, SweepStats


class Carrier(Protocol):
    """What every way to a host offers: the Remote of the ports, which documents it."""

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script."""
        ...

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run a script on each of many hosts."""
        ...

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ByteStream:
        """Connect to a unix socket on the host."""
        ...

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> ByteStream:
        """Connect to a TCP port as the host sees it."""
        ...

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Stream a file to the host."""
        ...

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Stream a file from the host."""
        ...

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        """Listen on a local port for a unix socket on the host."""
        ...

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """Ask the host for its key."""
        ...

    def drop(self, host: HostConfig) -> None:
        """Cut the connection to a host."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class Dispatch:
    """A Remote that sends each host through the carrier of its `transport`; thread-safe.

    `makers` are called when a transport is first used, so that a cluster of this machine alone
    never loads an SSH library. An unknown transport raises InvalidRequest before anything is sent.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Carrier]]) -> None:
        self._makers = dict(makers)
        self._carriers: dict[str, Carrier] = {}
        self._lock = threading.Lock()

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script; never raises for what happens on the way."""
        return self._of(host).run(host, script, deadline_s, on_output)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """One round over all transports at once, results as they come."""
        shares: dict[str, list[HostConfig]] = {}
        for host in hosts:
            self._of(host)
            shares.setdefault(host.transport, []).append(host)
        if not shares:
            return SweepStats(answered=0, failed=0, seconds=0.0)
        if len(shares) == 1:
            (name,) = shares
            return self._carriers[name].sweep(
                shares[name], make_script, timeout_s, on_result, follow
            )
        return _Shares(self._carriers, make_script, on_result, follow).work(shares, timeout_s)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ByteStream:
        """Connect to a unix socket on the host; raises Unreachable."""
        return self._of(host).open_stream(host, unix_path, deadline_s)

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> ByteStream:
        """Connect to a TCP port as the host sees it; raises Unreachable."""
        return self._of(host).open_tcp(host, address, port, deadline_s)

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Stream a file to the host, resuming a part that is there."""
        return self._of(host).put(host, source, path, size_bytes, deadline_s)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Stream a file from the host into `sink`."""
        return self._of(host).get(host, path, sink, deadline_s)

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        """Listen on a local port whose connections end at a unix socket on the host."""
        return self._of(host).forward(host, unix_path)

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """Ask the host for its key without trusting it; raises Unreachable."""
        return self._of(host).host_key(host, deadline_s)

    def drop(self, host: HostConfig) -> None:
        """Cut the connection to a host, if there is one."""
        carrier = self._carriers.get(host.transport)
        if carrier is not None:
            carrier.drop(host)

    def close(self) -> None:
        """Close all connections."""
        for carrier in list(self._carriers.values()):
            carrier.close()

    def _of(self, host: HostConfig) -> Carrier:
        with self._lock:
            carrier = self._carriers.get(host.transport)
            if carrier is None:
                make = self._makers.get(host.transport)
                if make is None:
                    raise InvalidRequest(
                        "E-TRANSPORT",
                        f"host {host.name} wants transport {host.transport!r}",
                        hint="one of " + ", ".join(sorted(self._makers)),
                        host=host.name,
                    )
                carrier = self._carriers[host.transport] = make()
            return carrier


class _Shares:
    """The parts of one round, each in a thread of its own; the caller's functions take turns."""

    def __init__(
        self,
        carriers: Mapping[str, Carrier],
        make_script: Callable[[HostConfig], Script],
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None,
    ) -> None:
        self._follow = follow
        self._carriers = carriers
        self._make_script = make_script
        self._on_result = on_result
        self._turn = threading.RLock()
        self._stats: list[SweepStats] = []
        self._failures: list[Exception] = []

    def work(self, shares: Mapping[str, list[HostConfig]], timeout_s: float) -> SweepStats:
        begun_s = time.monotonic()
        threads = [
            threading.Thread(target=self._part, args=(name, hosts, timeout_s), daemon=True)
            for name, hosts in shares.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        return SweepStats(
            answered=sum(part.answered for part in self._stats),
            failed=sum(part.failed for part in self._stats),
            seconds=time.monotonic() - begun_s,
        )

    def _part(self, name: str, hosts: list[HostConfig], timeout_s: float) -> None:
        try:
            part = self._carriers[name].sweep(
                hosts, self._script, timeout_s, self._result, self._follow
            )
            self._stats.append(part)
        except Exception as error:  # noqa: BLE001 - it must reach the caller's thread
            self._failures.append(error)

    def _script(self, host: HostConfig) -> Script:
        with self._turn:
            return self._make_script(host)

    def _result(self, host: HostConfig, reply: Reply) -> None:
        with self._turn:
            self._on_result(host, reply)


class DryRunRemote:
    """A Remote that lets only reading through; the rest raises E-DRYRUN before anything is sent.

    Streams and ports are refused as well: what travels on them cannot be told apart.
    """

    def __init__(self, inner: Carrier) -> None:
        self._inner = inner

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run a script that is marked read-only; raises OperationFailed for any other."""
        return self._inner.run(host, _only_reading(host, script), deadline_s, on_output)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run read-only scripts; the first other one ends the round with OperationFailed."""

        def make(host: HostConfig) -> Script:
            return _only_reading(host, make_script(host))

        return self._inner.sweep(hosts, make, timeout_s, on_result, follow)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ByteStream:  # noqa: ARG002
        """Raises OperationFailed."""
        raise _refusal(host, f"a stream to {unix_path}")

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> ByteStream:  # noqa: ARG002
        """Raises OperationFailed."""
        raise _refusal(host, f"a stream to {address} port {port}")

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Raises OperationFailed."""
        del source, size_bytes, deadline_s
        raise _refusal(host, f"a copy to {path}")

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Stream a file from the host into `sink`."""
        return self._inner.get(host, path, sink, deadline_s)

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        """Raises OperationFailed."""
        raise _refusal(host, f"a port for {unix_path}")

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """Ask the host for its key; trusting it is another matter."""
        return self._inner.host_key(host, deadline_s)

    def drop(self, host: HostConfig) -> None:
        """Cut the connection to a host, if there is one."""
        self._inner.drop(host)

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


def _only_reading(host: HostConfig, script: Script) -> Script:
    if script.changing:
        raise _refusal(host, "a script that changes something")
    return script


def _refusal(host: HostConfig, thing: str) -> OperationFailed:
    return OperationFailed(
        "E-DRYRUN",
        f"{thing} was about to be sent in a dry run",
        cause="nothing was sent",
        hint="this is a fault of tashictl: please report it",
        host=host.name,
    )
