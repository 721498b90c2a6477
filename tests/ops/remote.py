"""All hosts in memory as one remote: what was sent, in its order, and what is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO

from tashictl.adapters.clock import Waiting
from tashictl.adapters.journals import FileJournals
from tashictl.errors import Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.operation import Begun
from tashictl.model.script import Fault, HostKey, Reply, Script, SweepStats
from tashictl.ops import ports
from tests.ops.hosts import KEY, Host, Refusal, Stream, Trouble

_BEGIN = re.compile(r"^begin (\d+) (\w+)$", re.MULTILINE)


class Remote:
    """The hosts; scripts in the order that they were sent."""

    def __init__(self, journals: FileJournals, clock: Waiting, events: list[str]) -> None:
        self.hosts: dict[str, Host] = {}
        self.down: set[str] = set()
        self.scripts: list[Script] = []  # changing ones that left
        self.asked: list[Script] = []  # read-only ones
        self.keys: dict[str, HostKey] = {}
        self.probes: dict[str, Callable[[str], bytes]] = {}
        self.probe_fault: dict[str, Fault] = {}
        self.dropped: list[str] = []
        self.put_fault: Reply | None = None
        self.put_interrupted = False
        self.guests: dict[tuple[str, str, int], Callable[[], ports.Stream]] = {}
        self.streams: list[Stream] = []
        self._journals = journals
        self._clock = clock
        self._events = events
        self._troubles: dict[str, list[Trouble | None]] = {}

    def upon(self, step: str, *troubles: Trouble | None) -> None:
        """What goes wrong when a step arrives for the first, the second … time.

        `step` is a kind, or a place and a kind: ``0 WriteManifest``.
        """
        self._troubles[step] = list(troubles)

    def _trouble(self, index: str, name: str) -> Trouble | None:
        for key in (f"{index} {name}", name):
            waiting = self._troubles.get(key)
            if waiting:
                return waiting.pop(0)
        return None

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        if not script.changing:
            return self._probed(host, script)
        places = [(int(i), name) for i, name in _BEGIN.findall(script.text)]
        assert [name for _, name in places] == [s.name for s in script.steps]
        if script.guard is None:
            self._is_journalled(script, tuple(i for i, _ in places))
        self._events.append("run")
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        self.scripts.append(script)
        assert deadline_s > self._clock.monotonic_s() + script.timeout_s
        return self._carried_out(self.hosts[host.name], script, places, on_output)

    def _is_journalled(self, script: Script, places: tuple[int, ...]) -> None:
        assert script.fence is not None
        view = self._journals.read(script.fence.operation)
        assert view is not None and view.alive
        begun = [e for e in view.entries if isinstance(e, Begun)]
        assert begun[-1].steps == places
        assert begun[-1].attempt <= script.fence.attempt

    def _carried_out(
        self,
        host: Host,
        script: Script,
        places: list[tuple[int, str]],
        on_output: Callable[[bytes], None] | None,
    ) -> Reply:
        nonce, out = script.nonce, b""

        def say(text: str) -> None:
            nonlocal out
            line = f"\n@{nonce} {text}\n".encode()
            out += line
            if on_output is not None:
                on_output(line)

        troubles = [self._trouble(str(i), name) for i, name in places]
        for early in (Trouble.UNSENT, Trouble.LOST, Trouble.CTRL_C):
            if early in troubles:
                return _early(early)
        why = self._refusal(host, script)
        if why:
            say(f"R {why}")
            say("Z")
            return Reply(rc=0, out=out, sent=True)
        for (index, name), step, trouble in zip(places, script.steps, troubles, strict=True):
            say(f"B {index} {name}")
            failed, why = trouble is Trouble.FAILS, "no space left"
            try:
                lines = "" if failed else host.do(step)
            except Refusal as refusal:
                failed, lines, why = True, "", str(refusal)
            for line in lines.splitlines():
                say(line)
            if trouble is Trouble.CTRL_C_AFTER:
                raise KeyboardInterrupt
            if trouble is Trouble.MUTE:
                return Reply(out=out, fault=Fault.CUT, sent=True)
            out += why.encode() if failed else b""
            say(f"E {index} {int(failed)}")
            if failed:
                break
        say("Z")
        return Reply(rc=0, out=out, sent=True, seconds=0.5)

    def _refusal(self, host: Host, script: Script) -> str:
        now_s = self._clock.now().timestamp()
        if script.guard is not None:
            return host.guard_refusal(script.guard, now_s)
        assert script.fence is not None
        return host.refusal(script.fence, now_s)

    def _probed(self, host: HostConfig, script: Script) -> Reply:
        self.asked.append(script)
        fault = Fault.REFUSED if host.name in self.down else self.probe_fault.get(host.name)
        if fault is not None:
            return Reply(fault=fault)
        return Reply(rc=0, out=self.probes[host.name](script.nonce), sent=True)

    def sweep(
        self,
        hosts: Iterable[HostConfig],
        make_script: Callable[[HostConfig], Script],
        timeout_s: float,
        on_result: Callable[[HostConfig, Reply], None],
        follow: Callable[[HostConfig, Reply], None] | None = None,
    ) -> SweepStats:
        for host in hosts:
            limit_s = self._clock.monotonic_s() + timeout_s
            reply = self.run(host, make_script(host), limit_s)
            if follow is not None and reply.fault is None:
                follow(host, reply)
            on_result(host, reply)
        return SweepStats(answered=0, failed=0, seconds=0.0)

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> Stream:
        trouble = self._trouble("", "AwaitQmp") or self._trouble("", "monitor")
        if trouble is Trouble.CTRL_C:
            raise KeyboardInterrupt
        if host.name in self.down or trouble is Trouble.UNSENT:
            raise Unreachable("E-REFUSED", f"{host.name} not reached", host=host.name)
        stream = Stream(self.hosts[host.name], trouble)
        self.streams.append(stream)
        return stream

    def open_tcp(
        self, host: HostConfig, address: str, port: int, deadline_s: float
    ) -> ports.Stream:
        answer = self.guests.get((host.name, address, port))
        if answer is None:
            self._clock.sleep(1.0)
            raise Unreachable("E-TCP-TIMEOUT", "no answer to the TCP connection", host=host.name)
        return answer()

    def put(
        self, host: HostConfig, source: BinaryIO, path: str, size_bytes: int, deadline_s: float
    ) -> Reply:
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        if self.put_interrupted:
            raise KeyboardInterrupt
        if self.put_fault is not None:
            return self.put_fault
        data = source.read()
        self.hosts[host.name].files[path] = data
        return Reply(rc=0, out=sha256(data).hexdigest().encode(), sent=True)

    def get(self, host: HostConfig, path: str, sink: BinaryIO, deadline_s: float) -> Reply:
        if host.name in self.down:
            return Reply(fault=Fault.REFUSED)
        data = self.hosts[host.name].files.get(path)
        if data is None:
            return Reply(rc=1, err=b"no such file", sent=True)
        sink.write(data)
        return Reply(rc=0, out=sha256(data).hexdigest().encode(), sent=True)

    @contextmanager
    def forward(self, host: HostConfig, unix_path: str) -> Iterator[tuple[str, int]]:
        yield from ()
        raise NotImplementedError

    def host_key(self, host: HostConfig, deadline_s: float) -> HostKey:
        if host.name in self.down:
            raise Unreachable("E-REFUSED", f"{host.name} not reached", host=host.name)
        return self.keys.get(host.name, KEY)

    def drop(self, host: HostConfig) -> None:
        self.dropped.append(host.name)

    def close(self) -> None:
        pass


def _early(trouble: Trouble) -> Reply:
    if trouble is Trouble.CTRL_C:
        raise KeyboardInterrupt
    if trouble is Trouble.UNSENT:
        return Reply(fault=Fault.TCP_TIMEOUT)
    return Reply(fault=Fault.CUT, sent=True)
