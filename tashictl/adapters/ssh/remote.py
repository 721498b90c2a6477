"""The Remote of the ports over SSH."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from paramiko.channel import Channel

from tashictl.adapters.ssh import work
from tashictl.adapters.ssh.config import Route, SshConfig
from tashictl.adapters.ssh.exchange import ChannelExchange
from tashictl.adapters.ssh.faults import Down, error_of, left_s
from tashictl.adapters.ssh.front import Attempt, reach
from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.ssh.keys import KeyRing
from tashictl.adapters.ssh.link import Link, fetch_host_key, log_in
from tashictl.adapters.ssh.pool import Pool, stale_limit_s
from tashictl.adapters.ssh.relay import listening
from tashictl.adapters.ssh.resolver import Resolver
from tashictl.adapters.ssh.stream import ChannelStream
from tashictl.adapters.ssh.sweep import Job, Sweep
from tashictl.adapters.ssh.watchdog import Watchdog
from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats

# What tells of a kept connection that it is dead; nothing was sent then, so a new one may serve.
_STALE = (Fault.CUT, Fault.TIMEOUT)
_STALE_S = 10.0
_RECENT_S = 5.0
# The default of 2 MiB would bound a download to 40 MB/s at 50 ms.
_GET_WINDOW_BYTES = 16 << 20
_SOCKET_PATH_MAX = 107


class SshRemote:
    """Hosts over SSH; thread-safe. Keys are verified against `known_hosts` and nothing else.

    `connect_timeout_s` bounds TCP and banner within each caller's own deadline. `ssh_config` None
    reads no configuration of the caller's; `use_agent` False leaves the SSH agent alone.
    """

    def __init__(
        self,
        known_hosts: Path,
        *,
        ssh_config: Path | None = None,
        connect_timeout_s: float = 10.0,
        use_agent: bool = True,
    ) -> None:
        self._store = HostKeyStore(known_hosts)
        self._config = SshConfig(ssh_config, use_agent)
        self._ring = KeyRing()
        self._connect_timeout_s = connect_timeout_s
        self._watchdog = Watchdog()
        self._resolver = Resolver()
        self._pool = Pool(self._dial)

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script; never raises for what happens on the way: the reply says it."""
        return work.run_script(self._starter(host), script, host.become, deadline_s, on_output)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run a script on each of many hosts, each with its own deadline, results as they come."""

        def prepare(host: HostConfig) -> Attempt | None:
            route = self._config.route(host)
            if self._pool.live(route) is not None:
                return None
            limit_s = time.monotonic() + min(timeout_s, self._connect_timeout_s)
            return Attempt(route, limit_s, await_banner=True)

        def perform(job: Job, script: Script) -> Reply:
            reply = self._perform(job, script)
            if follow is not None and reply.fault is None:
                follow(job.host, reply)
            return reply

        round_ = Sweep(prepare, make_script, perform, self._resolver)
        return round_.work(hosts, timeout_s, on_result)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ChannelStream:
        """Connect to a unix socket on the host; raises Unreachable."""
        try:
            if not work.is_clean(unix_path) or len(unix_path.encode()) > _SOCKET_PATH_MAX:
                raise Down(Fault.EXEC, f"{unix_path!r} is no path of a socket")
            # Also where scripts run by sudo: a run folder is open to the login user's group.
            with contextlib.suppress(_Refused):
                return self._direct_stream(host, unix_path, deadline_s)
            return self._relayed_stream(host, unix_path, deadline_s)
        except Down as down:
            raise error_of(down, host.name) from down

    def open_tcp(
        self, host: HostConfig, address: str, port: int, deadline_s: float
    ) -> ChannelStream:
        """Connect to a TCP port as the host sees it; raises Unreachable (E-TCP: it cannot)."""
        with contextlib.ExitStack() as stack:
            try:
                link, _ = self._pool.get(self._config.route(host), deadline_s)
                channel = stack.enter_context(link.tcp_channel(address, port, deadline_s))
            except Down as down:
                # A port that is silent says nothing about the connection to the host.
                if down.fault is Fault.CUT:
                    self._pool.drop(host.name)
                if down.fault is Fault.EXEC:
                    what = "the host cannot connect to it"
                    why = str(getattr(down.__cause__, "text", down.detail))
                    raise Unreachable("E-TCP", what, cause=why, host=host.name) from down
                raise error_of(down, host.name) from down
            return ChannelStream(host.name, link, channel, stack.pop_all().close)

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Stream `size_bytes` into `path` on the host, resuming a shorter file that is there."""
        starter = self._starter(host)
        return work.put(starter, host.become, source, path, size_bytes, deadline_s)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Stream a file from the host into `sink`; `out` of the reply is its sha256 in hex."""
        starter = self._starter(host, _GET_WINDOW_BYTES)
        return work.get(starter, host.become, path, sink, deadline_s)

    def forward(
        self, host: HostConfig, unix_path: str
    ) -> contextlib.AbstractContextManager[tuple[str, int]]:
        """Listen on a local port whose connections end at a unix socket on the host."""
        limit_s = self._connect_timeout_s * 2
        return listening(lambda: self.open_stream(host, unix_path, time.monotonic() + limit_s))

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """Ask the host for its key without trusting it, and without a login; raises Unreachable."""
        try:
            route = self._config.route(host)
            line = reach(self._resolver, route, self._connect_limit_s(deadline_s))
            return fetch_host_key(line, self._watchdog, deadline_s)
        except Down as down:
            raise error_of(down, host.name) from down

    def drop(self, host: HostConfig) -> None:
        """Cut the connection to a host, if there is one."""
        self._pool.drop(host.name)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _connect_limit_s(self, deadline_s: float) -> float:
        return min(deadline_s, time.monotonic() + self._connect_timeout_s)

    def _dial(self, route: Route, deadline_s: float) -> Link:
        left_s(deadline_s)
        line = reach(self._resolver, route, self._connect_limit_s(deadline_s))
        return log_in(line, route, self._ring, self._store, self._watchdog, deadline_s)

    def _perform(self, job: Job, script: Script) -> Reply:
        begun_s = time.monotonic()
        if job.line is not None:
            try:
                route = self._config.route(job.host)
                self._pool.adopt(
                    log_in(job.line, route, self._ring, self._store, self._watchdog, job.deadline_s)
                )
            except Down as down:
                seconds = time.monotonic() - begun_s
                return Reply(fault=down.fault, detail=down.detail, seconds=seconds)
        return self.run(job.host, script, job.deadline_s)

    def _starter(self, host: HostConfig, window: int | None = None) -> work.Starter:
        @contextlib.contextmanager
        def start(command: str, deadline_s: float, sink: work.Sink) -> Iterator[work.Exchange]:
            with contextlib.ExitStack() as stack:
                link, channel = self._session(stack, host, command, deadline_s, window)
                try:
                    with link.guard(deadline_s):
                        yield ChannelExchange(link.wire, channel, deadline_s, sink)
                except Down as down:
                    if down.fault in (Fault.TIMEOUT, Fault.CUT):
                        self._pool.discard(link)
                    raise

        return start

    def _session(
        self,
        stack: contextlib.ExitStack,
        host: HostConfig,
        command: str,
        deadline_s: float,
        window: int | None = None,
    ) -> tuple[Link, Channel]:
        """A started command; a kept connection that proves dead is replaced once, unsent."""

        def attempt(link: Link, limit_s: float) -> Channel:
            return stack.enter_context(link.session(command, limit_s, window))

        return self._on_link(host, deadline_s, attempt)

    def _on_link(
        self, host: HostConfig, deadline_s: float, attempt: Callable[[Link, float], Channel]
    ) -> tuple[Link, Channel]:
        route = self._config.route(host)
        link, fresh = self._pool.get(route, deadline_s)
        if not fresh:
            recent = time.monotonic() - link.used_s < _RECENT_S
            try:
                return link, attempt(
                    link, deadline_s if recent else stale_limit_s(deadline_s, _STALE_S)
                )
            except Down as down:
                if down.fault not in _STALE:
                    raise
                self._pool.discard(link)
            link, _ = self._pool.get(route, deadline_s)
        return link, attempt(link, deadline_s)

    def _direct_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ChannelStream:
        with contextlib.ExitStack() as stack:

            def attempt(link: Link, limit_s: float) -> Channel:
                return stack.enter_context(link.socket_channel(unix_path, limit_s))

            try:
                link, channel = self._on_link(host, deadline_s, attempt)
            except Down as down:
                if down.fault is Fault.EXEC:
                    raise _Refused from down
                raise
            return ChannelStream(host.name, link, channel, stack.pop_all().close)

    def _relayed_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> ChannelStream:
        command = work.command_line(work.STREAM_S, host.become, work.JOIN)
        with contextlib.ExitStack() as stack:
            link, channel = self._session(stack, host, command, deadline_s)
            stream = ChannelStream(host.name, link, channel, stack.pop_all().close)
        stream.send(f"{unix_path}\n".encode())
        return stream


class _Refused(Exception):
    """The host opens no channel to the socket; a relay may reach it and will say why not."""
