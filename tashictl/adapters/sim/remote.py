"""The Remote of the ports over the simulated network, and the monitor of a simulated QEMU."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import BinaryIO

import msgspec

from tashictl.adapters.sim import probe
from tashictl.adapters.sim.faults import Moment
from tashictl.adapters.sim.host import File, Process, SimHost
from tashictl.adapters.sim.script import Run
from tashictl.adapters.sim.timeline import Timeline
from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats
from tashictl.model.steps import Step

_LATENCY_S = 0.01
_CONNECT_S = 10.0
_GUEST_GOES_S = 0.7
_CHUNK = 50  # bytes of QMP that arrive at once, so that lines come in pieces


class Network:
    """All hosts, what is on the way to them, and every script that was ever sent."""

    def __init__(self, timeline: Timeline, hosts: Iterable[SimHost]) -> None:
        self.timeline = timeline
        self.hosts = {host.name: host for host in hosts}
        self.sent: list[tuple[SimHost, Script]] = []
        self.refused: set[str] = set()  # nonces of scripts that a fence answered with no
        self.held: list[tuple[SimHost, Script]] = []  # on the way for very long

    def deliver(self, host: SimHost, script: Script) -> Run:
        """A script arrives, unasked for."""
        run = Run(host, script, _no_fault)
        run.start()
        return run

    def deliver_held(self) -> None:
        """All that was held up arrives, but for second copies of what was refused."""
        held, self.held = self.held, []
        for host, script in held:
            if script.nonce not in self.refused:
                self.deliver(host, script)


def _no_fault(run: Run, step: Step, moment: Moment) -> None:
    del run, step, moment


class Line:
    """What faults do to one controller's connection; counts are of bytes that still arrive."""

    def __init__(self) -> None:
        self.signal: Callable[[], None] | None = None  # raised in the controller, as soon as it can
        self.cut_at: int | None = None
        self.frozen_at: int | None = None
        self.truncate_at: int | None = None
        self.unsent = False
        self.hold = False
        self.twice = False

    def renew(self) -> None:
        """A new exchange begins: what befell the last one is over."""
        self.signal = None
        self.cut_at = self.frozen_at = self.truncate_at = None


class SimRemote:
    """Hosts of a `Network`, as one controller reaches them.

    `happen` is told of each moment of each step and may turn switches on the `line`.
    """

    def __init__(self, network: Network, happen: Callable[[Run, Step, Moment], str | None]) -> None:
        self.line = Line()
        self.host: SimHost | None = None
        self._network = network
        self._timeline = network.timeline
        self._happen = happen

    # -- scripts

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run one script; what goes wrong on the way is in the reply."""
        self._timeline.sleep(_LATENCY_S)
        line, sim = self.line, self._network.hosts[host.name]
        if line.unsent or not sim.reachable:
            line.unsent = False
            fault = Fault.TCP_TIMEOUT if not sim.reachable else Fault.CUT
            self._timeline.sleep(_CONNECT_S if not sim.reachable else 0.0)
            return Reply(fault=fault, detail="simulated")
        if not script.changing:
            return Reply(rc=0, out=probe.answer(sim, script), sent=True)
        self._network.sent.append((sim, script))
        if line.hold:
            line.hold = False
            self._network.held.append((sim, script))
            return Reply(fault=Fault.CUT, detail="simulated", sent=True)
        if line.twice:
            line.twice = False
            self._network.held.append((sim, script))
        return self._await(sim, script, deadline_s, on_output)

    def _await(
        self,
        sim: SimHost,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None,
    ) -> Reply:
        line = self.line
        line.renew()
        run = Run(sim, script, self._happen)
        begun_s = self._timeline.monotonic_s()
        self._timeline.at(begun_s + _LATENCY_S, run.start)
        shown = 0

        def news() -> bool:
            if line.signal is not None or line.cut_at is not None:
                return True
            if line.frozen_at is not None:
                return False
            return run.ended or (on_output is not None and len(run.out) > shown)

        while True:
            in_time = self._timeline.wait(news, deadline_s)
            if line.signal is not None:
                signal, line.signal = line.signal, None
                signal()
            if on_output is not None and len(run.out) > shown:
                chunk, shown = run.out[shown:], len(run.out)
                on_output(chunk)
            if run.ended or line.cut_at is not None or not in_time:
                break
        if run.refused:
            self._network.refused.add(script.nonce)
        return _reply(run, line, self._timeline.monotonic_s() - begun_s)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        """Run a script on many hosts: those that only look at once, each answers when it can."""
        begun_s, replies = self._timeline.monotonic_s(), []
        asked = [(self._takes_s(host, timeout_s), host) for host in hosts]
        for takes_s, host in sorted(asked, key=lambda one: one[0]):
            left_s = begun_s + takes_s - self._timeline.monotonic_s()
            if left_s > 0:
                self._timeline.sleep(left_s)
            replies.append(self._look(host, make_script, timeout_s))
            if follow is not None and replies[-1].fault is None:
                follow(host, replies[-1])
            on_result(host, replies[-1])
        failed = sum(reply.fault is not None for reply in replies)
        seconds = self._timeline.monotonic_s() - begun_s
        return SweepStats(answered=len(replies) - failed, failed=failed, seconds=seconds)

    def _takes_s(self, host: HostConfig, timeout_s: float) -> float:
        sim = self._network.hosts[host.name]
        if not sim.reachable:
            return min(_CONNECT_S, timeout_s)
        return timeout_s if sim.hung else min(sim.late_s + _LATENCY_S, timeout_s)

    def _look(
        self,
        host: HostConfig,
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
    ) -> Reply:
        """One answer of a sweep; no script is made for a host that is not reached."""
        line, sim = self.line, self._network.hosts[host.name]
        if not sim.reachable:
            return Reply(fault=Fault.TCP_TIMEOUT, detail="simulated")
        if line.unsent:
            line.unsent = False
            return Reply(fault=Fault.CUT, detail="simulated")
        script = make_script(host)
        if script.changing:
            return self.run(host, script, self._timeline.monotonic_s() + timeout_s)
        if sim.hung or line.frozen_at is not None:
            line.renew()
            return Reply(fault=Fault.TIMEOUT, detail="simulated", sent=True)
        out = probe.answer(sim, script)
        if sim.truncates or line.truncate_at is not None:
            line.renew()
            out = out[: len(out) // 2]
        return Reply(rc=0, out=out, sent=True)

    # -- files

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        """Write a file in two parts, so that it may be cut off in the middle."""
        del deadline_s
        self._timeline.sleep(_LATENCY_S)
        line, sim = self.line, self._network.hosts[host.name]
        line.renew()
        if line.unsent or not sim.reachable:
            line.unsent = False
            return Reply(fault=Fault.CUT, detail="simulated")
        if posixpath.dirname(path) not in sim.folders:
            return Reply(rc=1, err=f"{path}: No such file or directory\n".encode(), sent=True)
        data = source.read(size_bytes).decode("latin-1")
        if sim.full:
            return Reply(rc=1, err=b"cat: write error: No space left on device\n", sent=True)
        if line.hold:
            line.hold = False
            sim.files[path] = File(data[: len(data) // 2])
            return Reply(fault=Fault.CUT, detail="simulated", sent=True)
        sim.files[path] = File(data)
        digest = hashlib.sha256(data.encode("latin-1")).hexdigest()
        return Reply(rc=0, out=digest.encode(), sent=True)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        """Read a file."""
        del deadline_s
        sim = self._network.hosts[host.name]
        if path not in sim.files:
            return Reply(rc=1, err=f"cat: {path}: No such file or directory\n".encode(), sent=True)
        data = sim.text(path).encode("latin-1")
        sink.write(data)
        return Reply(rc=0, out=hashlib.sha256(data).hexdigest().encode(), sent=True)

    # -- streams and the rest

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> SimStream:
        """Connect to QEMU's monitor; raises Unreachable."""
        self._timeline.sleep(_LATENCY_S)
        sim = self._network.hosts[host.name]
        if not sim.reachable or self.line.unsent:
            self.line.unsent = False
            self._timeline.sleep(min(10.0, max(0.0, deadline_s - self._timeline.monotonic_s())))
            raise Unreachable("E-TCP-TIMEOUT", "no answer to the TCP connection", host=host.name)
        process = next((p for p in sim.processes.values() if unix_path in p.sockets), None)
        if process is None or unix_path not in sim.files:
            raise Unreachable("E-EXEC", f"{unix_path}: nobody listens", host=host.name)
        self.line.renew()
        return SimStream(self._timeline, sim, process, self.line)

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> SimStream:
        """Refused: nothing listens in a simulated guest."""
        del deadline_s
        raise Unreachable("E-REFUSED", f"{address} port {port} refuses", host=host.name)

    def forward(self, host: HostConfig, unix_path: str) -> AbstractContextManager[tuple[str, int]]:
        """Refused: there are no ports in this world."""
        raise Unreachable("E-EXEC", f"{unix_path}: no forwarding is simulated", host=host.name)

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        """A key that is made of the host's name."""
        del deadline_s
        return HostKey(algorithm="ssh-ed25519", base64=host.name, fingerprint=f"SHA256:{host.name}")

    def drop(self, host: HostConfig) -> None:
        """Nothing is kept between two exchanges; the host is what is spoken of from now on."""
        self.host = self._network.hosts[host.name]

    def close(self) -> None:
        """Nothing is kept open."""


def _reply(run: Run, line: Line, seconds: float) -> Reply:
    cut = line.cut_at is not None or (run.ended and run.rc is None)
    if line.frozen_at is not None and not cut:
        out = run.out[: line.frozen_at]
        return Reply(out=out, fault=Fault.TIMEOUT, sent=True, seconds=seconds)
    if cut:
        return Reply(out=run.out[: line.cut_at], fault=Fault.CUT, sent=True, seconds=seconds)
    if not run.ended:
        return Reply(out=run.out, fault=Fault.TIMEOUT, sent=True, seconds=seconds)
    return Reply(rc=run.rc, out=run.out[: line.truncate_at], sent=True, seconds=seconds)


class SimStream:
    """A connection to the monitor of a simulated QEMU."""

    def __init__(self, timeline: Timeline, host: SimHost, process: Process, line: Line) -> None:
        self._timeline = timeline
        self._host = host
        self._process = process
        self._line = line
        self._out = b""
        version = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "simulated"}
        self._say({"QMP": {"version": version, "capabilities": []}})

    def send(self, data: bytes) -> None:
        """Take one line and answer it."""
        request = msgspec.json.decode(data, type=dict[str, object])
        match request.get("execute"):
            case "query-uuid":
                answer: dict[str, object] = {"UUID": self._process.uuid}
            case "query-status":
                paused = self._process.paused
                status = "paused" if paused else "running"
                answer = {"running": not paused, "status": status, "singlestep": False}
            case "stop" | "cont":
                self._process.paused = request["execute"] == "stop"
                answer = {}
            case "system_powerdown":
                self._power_down()
                answer = {}
            case _:
                answer = {}
        self._say({"return": answer, "id": request.get("id")})

    def receive(self, deadline_s: float) -> bytes:
        """Some bytes; raises Unreachable past the deadline."""
        self._timeline.sleep(_LATENCY_S)
        if self._line.cut_at is not None:
            raise Unreachable("E-CUT", "the connection was cut", host=self._host.name)
        if self._is_gone():
            return b""
        if self._host.mute or not self._host.reachable:
            self._timeline.wait(lambda: False, deadline_s)
            raise Unreachable("E-TIMEOUT", "no answer within the time limit", host=self._host.name)
        if not self._timeline.wait(lambda: bool(self._out) or self._is_gone(), deadline_s):
            raise Unreachable("E-TIMEOUT", "no answer within the time limit", host=self._host.name)
        if self._is_gone():
            return b""
        chunk, self._out = self._out[:_CHUNK], self._out[_CHUNK:]
        return chunk

    def close(self) -> None:
        """Nothing to end."""

    def _is_gone(self) -> bool:
        return self._process.pid not in self._host.processes

    def _power_down(self) -> None:
        """The guest goes a moment later, unless it is deaf."""
        host, process = self._host, self._process
        if host.deaf or process.paused:
            return

        def go() -> None:
            if process.pid in host.processes:
                host.leave(process)

        self._timeline.at(self._timeline.monotonic_s() + _GUEST_GOES_S, go)

    def _say(self, message: dict[str, object]) -> None:
        self._out += msgspec.json.encode(message) + b"\r\n"
