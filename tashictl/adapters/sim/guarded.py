"""A script of no operation on a simulated host: its guard, and what its steps do.

`planning.shell` and `planning.replica` are the truth, as in `script` and `steps`.
"""

from __future__ import annotations

import hashlib

from tashictl.adapters.sim.host import NoSpace, Pace, SimHost
from tashictl.adapters.sim.steps import Died
from tashictl.model.steps import Guard, MakeReplicaFolder, MarkFences, PlaceReplica, Step

_QUICK_S = 0.02


class Refused(Exception):
    """The fence, or the guard, did not let the script begin."""


def claim_of(host: SimHost, lib_dir: str) -> tuple[str, int, int, str, str]:
    """Who has claimed a host: cluster, epoch, operation, uuid, controller."""
    known = (*host.text(f"{lib_dir}/cluster").split(), "", "", "", "", "")[:5]
    return known[0], int(known[1] or 0), int(known[2] or 0), known[3], known[4]


def let_in(host: SimHost, guard: Guard, holder: object) -> Pace:
    """Wait for the claim's lock, which is then held; raises Refused."""
    if host.time_s > guard.not_after_s:
        raise Refused("late", str(host.time_s))
    if not guard.claims and not host.text(f"{guard.lib_dir}/cluster"):
        raise Refused("unclaimed")
    if not (yield from host.take("cluster", holder, guard.lock_wait_s)):
        raise Refused("busy", "host")
    if host.time_s > guard.not_after_s:
        raise Refused("late", str(host.time_s))
    cluster, epoch, _, _, who = claim_of(host, guard.lib_dir)
    if not cluster and not guard.claims:
        raise Refused("unclaimed")
    if cluster not in ("", guard.cluster):
        raise Refused("foreign", cluster, who)
    if epoch > guard.epoch:
        raise Refused("epoch", str(epoch))


class GuardedBody:
    """One step as it is carried out; `data` is what it reports, `said` its message."""

    def __init__(self, host: SimHost, step: Step, guard: Guard, holder: object) -> None:
        self.host = host
        self.step = step
        self.guard = guard
        self.holder = holder
        self.data: dict[str, str] = {}
        self.said = ""
        self.qemu_exits = False

    def do(self) -> Pace:
        """Carry the step out; raises Died."""
        yield _QUICK_S
        try:
            match self.step:
                case MarkFences():
                    yield from self._mark()
                case MakeReplicaFolder():
                    self._refuse_older(self.step)
                    self.host.folders.add(self.step.path)
                case PlaceReplica():
                    yield from self._place(self.step)
                case _:
                    raise Died(f"{self.step.name} is no step for a guard")
        except NoSpace:
            raise Died("No space left on device") from None

    def _mark(self) -> Pace:
        host, guard = self.host, self.guard
        _, _, counter, uuid, _ = claim_of(host, guard.lib_dir)
        claim = f"{guard.cluster} {guard.epoch} {counter} {uuid or 'host'} {guard.controller}"
        host.overwrite(f"{guard.lib_dir}/cluster", f"{claim:<119.119}\n")
        host.locks.pop("cluster", None)
        count = 0
        for path in host.below(f"{guard.lib_dir}/{guard.cluster}/fence"):
            if not (yield from host.take(path, self.holder, guard.lock_wait_s)):
                raise Died(f"a script still holds {path}")
            known = [int(n) for n in host.text(path).split()[:3]] or [0, 0, 0]
            if known[0] > guard.epoch:
                raise Died(f"{path} knows epoch {known[0]}")
            if known[0] < guard.epoch:
                host.overwrite(path, f"{f'{guard.epoch} 0 0 rebuilt':<79}\n")
            host.locks.pop(path, None)
            counter, count = max(counter, known[1]), count + 1
            yield _QUICK_S
        self.data = {"fences": str(count), "counter": str(counter)}

    def _refuse_older(self, step: MakeReplicaFolder | PlaceReplica) -> None:
        head = self.host.text(f"{step.path}/head").split()
        if head and (int(head[0]), int(head[1])) > (step.epoch, step.generation):
            raise Died(f"a newer replica is there: epoch {head[0]}, generation {head[1]}")

    def _place(self, step: PlaceReplica) -> Pace:
        self._refuse_older(step)
        text = self.host.text(step.part)
        if hashlib.sha256(text.encode("latin-1")).hexdigest() != step.sha256:
            self.host.files.pop(step.part, None)
            raise Died("the replica did not arrive whole")
        self.host.write(f"{step.path}/state.json", text)
        yield _QUICK_S
        self.host.write(f"{step.path}/head", f"{step.epoch} {step.generation} {step.digest}\n")
        self.host.files.pop(step.part, None)
