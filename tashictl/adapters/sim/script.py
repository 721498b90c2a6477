"""A changing script as it runs on a simulated host: the fence, the steps, the frames.

`planning.shell` is the truth for the fence: the same checks in the same order, with the same
refusals. Descriptor 7 is the lock ``cluster``, descriptor 9 the VM's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator

from tashictl.adapters.sim import guarded
from tashictl.adapters.sim.faults import Moment
from tashictl.adapters.sim.guarded import Refused
from tashictl.adapters.sim.host import File, NoSpace, Pace, SimHost
from tashictl.adapters.sim.steps import Body, Died
from tashictl.model.script import Script
from tashictl.model.steps import Fence, Step

_BEGIN = re.compile(r"^begin (\d+) (\w+)$", re.MULTILINE)
_GENERATION = re.compile(r'^.*"generation":([0-9]*).*$', re.MULTILINE | re.DOTALL)
_STALL_S = 70.0
_HANG_S = 1e6
TIMED_OUT = 124  # timeout(1)

Reached = Callable[["Run", Step, Moment], str | None]


class Run:
    """One delivery of a script; `out` grows, `rc` is set at its end, None when it was cut off.

    `reached` is asked at each moment of each step and answers with the fault that happens.
    """

    def __init__(self, host: SimHost, script: Script, reached: Reached) -> None:
        self.host = host
        self.script = script
        self.out = b""
        self.rc: int | None = None
        self.ended = False
        self.refused = False
        self._reached = reached
        self._pace = self._carry_out()

    def start(self) -> None:
        """Begin on the host, with its deadline there."""
        timeline = self.host.timeline
        self.host.scripts.append(self)
        timeline.at(timeline.monotonic_s() + self.script.timeout_s, self._time_out)
        self._go_on()

    def stop(self) -> None:
        """End where it stands: the host has gone down."""
        self._end(None)

    def _time_out(self) -> None:
        self._end(TIMED_OUT)

    def _go_on(self) -> None:
        if self.ended:
            return
        try:
            seconds = next(self._pace)
        except StopIteration:
            self._end(0)
            return
        timeline = self.host.timeline
        timeline.at(timeline.monotonic_s() + seconds, self._go_on)

    def _end(self, rc: int | None) -> None:
        if self.ended:
            return
        self.ended, self.rc = True, rc
        self.host.release(self)
        if self in self.host.scripts:
            self.host.scripts.remove(self)

    def _say(self, *words: str) -> None:
        self.out += f"\n@{self.script.nonce} {' '.join(words)}\n".encode()

    # -- the script's text

    def _carry_out(self) -> Pace:
        fence, guard = self.script.fence, self.script.guard
        try:
            if guard is not None:
                yield from guarded.let_in(self.host, guard, self)
            elif fence is not None:
                yield from self._fence(fence)
                self._manifest(fence)
            else:
                raise ValueError("a changing script without a fence")
        except Refused as refused:
            self.refused = True
            self._say("R", *refused.args)
            self._say("Z")
            return
        found = _BEGIN.findall(self.script.text)
        if [name for _, name in found] != [step.name for step in self.script.steps]:
            raise ValueError("the script's text and its steps differ")
        for (index, _), step in zip(found, self.script.steps, strict=True):
            if not (yield from self._step(index, step, fence)):
                break
        self._say("Z")

    def _step(self, index: str, step: Step, fence: Fence | None) -> Generator[float, None, bool]:
        frame = f"{index} {step.name}"
        self._try_mark(fence, f"{frame} begun")
        self._say("B", frame)
        guard = self.script.guard
        body: guarded.GuardedBody | Body
        if fence is not None:
            body = Body(self.host, step, fence)
        else:
            assert guard is not None
            body = guarded.GuardedBody(self.host, step, guard, self)
        rc = 0
        try:
            yield from self._with_faults(body, step)
        except Died as died:
            rc = 1
            self.out += f"{died}\n".encode()
        for key, value in body.data.items():
            self._say("D", key, value)
        self.out += body.said.encode()
        self._try_mark(fence, f"{frame} rc {rc}")
        self._say("E", index, str(rc))
        yield 0.0
        return rc == 0

    def _with_faults(self, body: Body | guarded.GuardedBody, step: Step) -> Pace:
        kind = self._reached(self, step, Moment.SENT)
        if kind == "fail":
            raise Died("made to fail")
        body.qemu_exits = kind == "exit"
        yield from _pause(kind)
        yield from body.do()
        kind = self._reached(self, step, Moment.DONE)
        yield from _pause(kind)
        if kind == "fail":
            raise Died("made to fail after it was done")

    # -- the fence

    def _fence(self, fence: Fence) -> Pace:
        host, lib = self.host, fence.lib_dir
        if host.time_s > fence.not_after_s:
            raise Refused("late", str(host.time_s))
        record = host.fence_path(fence)
        host.files.setdefault(record, File())
        if not (yield from host.take("cluster", self, fence.lock_wait_s)):
            raise Refused("busy", "host")
        try:
            self._claim(fence, f"{lib}/cluster")
        finally:
            host.locks.pop("cluster", None)
        if not (yield from host.take(record, self, fence.lock_wait_s)):
            raise Refused("busy", "vm")
        if host.time_s > fence.not_after_s:
            raise Refused("late", str(host.time_s))
        known = host.text(record).split()
        ours = (fence.epoch, fence.operation, fence.attempt)
        if known and tuple(map(int, known[:3])) > ours:
            raise Refused("newer", *known[:3])
        try:
            self._mark(fence, "begun")
        except NoSpace:
            raise Refused("folder", record) from None

    def _claim(self, fence: Fence, path: str) -> None:
        known = (*self.host.text(path).split(), "", "", "", "", "")[:5]
        cluster, epoch, operation, uuid, who = known
        last = int(operation or 0)
        if cluster not in ("", fence.cluster):
            raise Refused("foreign", cluster, who)
        if int(epoch or 0) > fence.epoch:
            raise Refused("epoch", epoch)
        same = int(epoch or 0) == fence.epoch
        own = (last, uuid) == (fence.operation, fence.uuid)
        if same and last > fence.seen and not own:
            raise Refused("counter", operation, uuid)
        if not same or last < fence.operation:
            new = f"{fence.cluster} {fence.epoch} {fence.operation} {fence.uuid}"
            try:
                self.host.overwrite(path, f"{f'{new} {fence.controller}':<119.119}\n")
            except NoSpace:
                raise Refused("folder", path) from None

    def _manifest(self, fence: Fence) -> None:
        if fence.uuid == "host" or not self.script.steps:
            return
        folder = self.script.steps[0].folder
        text = self.host.text(f"{folder}/manifest.json")
        if not text:
            return
        if f'"uuid":"{fence.uuid}"' not in text:
            raise Refused("manifest", folder)
        found = _GENERATION.search(text)
        generation = int(found.group(1) or 0) if found else 0
        if generation > fence.generation:
            raise Refused("generation", str(generation))

    def _mark(self, fence: Fence, what: str) -> None:
        line = f"{fence.epoch} {fence.operation} {fence.attempt} {what}"
        self.host.overwrite(self.host.fence_path(fence), f"{line:<79}\n")

    def _try_mark(self, fence: Fence | None, what: str) -> None:
        if fence is None or self.host.fence_path(fence) not in self.host.files:
            return  # the host was released: its folder is gone
        try:
            self._mark(fence, what)
        except NoSpace:
            return  # as in the text: only the first mark is looked at


def _pause(kind: str | None) -> Pace:
    if kind == "hang":
        yield _HANG_S
    elif kind == "stall":
        yield _STALL_S
