"""The Remote of the ports on this machine: no SSH, the same deadlines."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import BinaryIO

from tashictl.adapters.ssh import work
from tashictl.adapters.ssh.faults import Down, left_s
from tashictl.adapters.ssh.line import Line, through
from tashictl.adapters.ssh.relay import listening
from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats

_READ = 1 << 16
_TURN_S = 0.1
_SEND_S = 30.0
_CONNECT_S = 20.0
_REAP_S = 1.0
_WIDTH = 8


class ProcessExchange:
    """An exchange with a local process; see `work.Exchange`."""

    def __init__(
        self, process: subprocess.Popen[bytes], deadline_s: float, sink: work.Sink
    ) -> None:
        self._process = process
        self._deadline_s = deadline_s
        self._selector = selectors.DefaultSelector()
        for pipe, take in ((process.stdout, sink.out), (process.stderr, sink.err)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe.fileno(), selectors.EVENT_READ, take)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def feed(self, data: bytes | memoryview) -> bool:
        """Write all of `data`; False when the command takes no more. Raises Down(TIMEOUT)."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return False
        view = memoryview(data)
        self._selector.register(stdin.fileno(), selectors.EVENT_WRITE)
        try:
            while view:
                self._turn()
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(stdin.fileno(), view[:_READ]) :]
        except BrokenPipeError:
            return False
        finally:
            self._selector.unregister(stdin.fileno())
        return True

    def end_of_input(self) -> None:
        """Close its stdin."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def finish(self) -> int:
        """Collect until its end; the exit status. Raises Down: TIMEOUT, CUT, EXEC (too much)."""
        while self._selector.get_map():
            # A child that kept the pipe open does not hold us: what the command said is in it.
            over = self._process.poll() is not None
            if not self._turn() and over:
                break
        try:
            rc = self._process.wait(left_s(self._deadline_s))
        except subprocess.TimeoutExpired as error:
            raise Down(Fault.TIMEOUT, "the time limit was over") from error
        if rc < 0:
            raise Down(Fault.CUT, f"the command was killed by signal {-rc}")
        return rc

    def _turn(self) -> bool:
        heard = False
        for key, mask in self._selector.select(min(_TURN_S, left_s(self._deadline_s))):
            if not mask & selectors.EVENT_READ:
                continue
            with contextlib.suppress(BlockingIOError):
                data = os.read(key.fd, _READ)
                heard = True
                if data:
                    key.data(data)
                else:
                    self._selector.unregister(key.fd)
        return heard

    def close(self) -> None:
        """Give the descriptors back and end what still runs; never raises."""
        self._selector.close()
        if self._process.poll() is None:
            # What runs as root under sudo cannot be killed from here: its own limit ends it.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_S)


@contextlib.contextmanager
def start(command: str, deadline_s: float, sink: work.Sink) -> Iterator[work.Exchange]:
    """Run a command line in a session of its own, which ends with the block."""
    left_s(deadline_s)
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise Down(Fault.EXEC, str(error)) from error
    exchange = ProcessExchange(process, deadline_s, sink)
    try:
        yield exchange
    finally:
        exchange.close()


class SocketStream:
    """A stream over a connected socket, or over a relay's two ends."""

    def __init__(self, host: str, line: Line) -> None:
        self._host = host
        self._line = line
        self._heard = False

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Unreachable when that takes half a minute."""
        try:
            self._line.sock.settimeout(_SEND_S)
            self._line.sock.sendall(data)
        except OSError as error:
            raise self._failure(error) from error

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes, b"" at the end; raises Unreachable past `deadline_s`."""
        try:
            self._line.sock.settimeout(left_s(deadline_s))
            data = self._line.sock.recv(_READ)
        except OSError as error:
            raise self._failure(error) from error
        except Down as down:
            raise Down(down.fault, down.detail, self._host) from down
        if not data and not self._heard and (said := self._line.said()):
            raise Down(Fault.EXEC, said, self._host)
        self._heard = True
        return data

    def close(self) -> None:
        """End the stream; never raises."""
        with contextlib.suppress(OSError):
            self._line.sock.shutdown(socket.SHUT_RDWR)
        self._line.close()

    def _failure(self, error: OSError) -> Down:
        fault = Fault.TIMEOUT if isinstance(error, TimeoutError) else Fault.CUT
        return Down(fault, str(error), self._host)


def _fault_of(error: OSError) -> Fault:
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    return Fault.TCP_TIMEOUT if isinstance(error, TimeoutError) else Fault.NO_ROUTE


class LocalRemote:
    """This machine as a host; the paths are the same as over SSH, ``become`` too (sudo -n)."""

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script; never raises for what happens on the way: the reply says it."""
        return work.run_script(start, script, host.become, deadline_s, on_output)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run a script for each host, a few at a time; `on_result` runs in this thread."""
        begun_s = time.monotonic()
        listed, answered = tuple(hosts), 0

        def one(host: HostConfig, script: Script) -> Reply:
            reply = self.run(host, script, time.monotonic() + timeout_s)
            if follow is not None and reply.fault is None:
                follow(host, reply)
            return reply

        with ThreadPoolExecutor(_WIDTH) as pool:
            tasks = {pool.submit(one, host, make_script(host)): host for host in listed}
            for task in as_completed(tasks):
                reply = task.result()
                answered += reply.fault is None
                on_result(tasks[task], reply)
        return SweepStats(
            answered=answered,
            failed=len(listed) - answered,
            seconds=time.monotonic() - begun_s,
        )

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> SocketStream:
        """Connect to a unix socket; raises Unreachable."""
        if host.become:
            return self._relayed_stream(host, unix_path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(left_s(deadline_s))
            sock.connect(unix_path)
        except (OSError, Down) as error:
            sock.close()
            raise Down(Fault.EXEC, f"{unix_path}: {error}", host.name) from error
        return SocketStream(host.name, Line(sock))

    def open_tcp(
        self, host: HostConfig, address: str, port: int, deadline_s: float
    ) -> SocketStream:
        """Connect to a TCP port; raises Unreachable: E-REFUSED, E-NO-ROUTE, E-TCP-TIMEOUT."""
        try:
            sock = socket.create_connection((address, port), left_s(deadline_s))
        except OSError as error:
            raise Down(_fault_of(error), f"{address} port {port}: {error}", host.name) from error
        except Down as down:
            raise Down(down.fault, down.detail, host.name) from down
        return SocketStream(host.name, Line(sock))

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Copy `size_bytes` into `path`, resuming a shorter file that is there."""
        return work.put(start, host.become, source, path, size_bytes, deadline_s)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Copy a file into `sink`; `out` of the reply is its sha256 in hex."""
        return work.get(start, host.become, path, sink, deadline_s)

    def forward(
        self, host: HostConfig, unix_path: str
    ) -> contextlib.AbstractContextManager[tuple[str, int]]:
        """Listen on a local port whose connections end at a unix socket."""
        return listening(lambda: self.open_stream(host, unix_path, time.monotonic() + _CONNECT_S))

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:  # noqa: ARG002 - the port's
        """There is none; raises Unreachable."""
        raise Unreachable(
            "E-LOCAL",
            f"{host.name} is this machine and has no host key",
            hint="nothing needs to be trusted for transport: local",
            host=host.name,
        )

    def drop(self, host: HostConfig) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is kept."""

    def _relayed_stream(self, host: HostConfig, unix_path: str) -> SocketStream:
        if not work.is_clean(unix_path):
            raise Down(Fault.EXEC, f"{unix_path!r} is no path of a socket", host.name)
        try:
            line = through(work.command_line(work.STREAM_S, host.become, work.JOIN))
        except OSError as error:
            raise Down(Fault.EXEC, str(error), host.name) from error
        stream = SocketStream(host.name, line)
        stream.send(f"{unix_path}\n".encode("utf-8", "surrogateescape"))
        return stream
