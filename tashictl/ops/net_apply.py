"""Apply a change of a host's network under the dead man's switch on the host itself.

The controller only arms, watches and proves: whatever becomes of it or of its connections, the
host goes back by itself unless it was confirmed. So nothing is journalled here; what is in flight
lies on the host, for any controller to see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from math import ceil

from msgspec import Struct

from tashictl.errors import (
    Conflict,
    Interrupted,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.host import HostConfig
from tashictl.model.net import HostNet, Pending
from tashictl.model.steps import ArmNet, ConfirmNet, GoNet, RollbackNet, Step
from tashictl.ops import guarded, net
from tashictl.ops.context import Context
from tashictl.ops.net_proof import Baseline, Prover, clock
from tashictl.ops.ports import World
from tashictl.planning import paths
from tashictl.planning.frames import StepAnswer
from tashictl.planning.net import text

WINDOW_S = 90
_POLL_S = 0.5
_LOOKS = 12  # that must fit into the window, as long as the first one took
_BACK_S = 90.0  # what going back itself may take, beyond the window


class Terms(Struct, frozen=True, kw_only=True):
    """How a change is made: back by itself after `window_s`; proved over `settle_s` at least.

    `window_s` None: 90 s, and more for a host that is slow to answer. `manual`: it is not
    confirmed here, but by `net confirm`.
    """

    window_s: int | None = None
    settle_s: float = 10.0
    manual: bool = False


class Applied(Struct, frozen=True, kw_only=True):
    """What became of a change; `pending` is as it was seen last."""

    host: str
    token: str
    confirmed: bool
    pending: Pending | None = None
    kept: str = ""


def window_s(terms: Terms, look_s: float) -> int:
    """How long a host waits for the confirmation, whose look took `look_s`."""
    if terms.window_s is not None:
        return terms.window_s
    return max(WINDOW_S, ceil(_LOOKS * look_s + terms.settle_s))


class Change:
    """One change on one host, from arming to its end."""

    def __init__(self, world: World, context: Context, looked: net.Looked, terms: Terms) -> None:
        assert looked.proposal is not None
        host, proposal, look_s = looked.host, looked.proposal, looked.seconds
        self.world, self.context, self.host = world, context, host
        self.proposal, self.terms = proposal, terms
        self.window_s = window_s(terms, look_s)
        self.token = world.dice.nonce()
        self.prover = Prover(world, context, looked)

    def steps(self) -> tuple[Step, ...]:
        """Arm, then go."""
        at = paths.at_host(self.host.name, self.context.settings)
        mark = {"token": self.token, "net_dir": net.net_dir(self.context)}
        arm = ArmNet(
            **at,
            **mark,
            forward=text.commands(self.proposal.forward),
            reverse=text.commands(self.proposal.reverse),
            files=self.proposal.files,
            digest=self.proposal.net.digest,
            window_s=self.window_s,
            up=self.proposal.owned,
            down=self.proposal.unowned,
        )
        return arm, GoNet(**at, **mark)

    def apply(self, peers: Sequence[HostConfig]) -> Applied:
        """Arm, apply, prove, confirm; `peers` are hosts that may look from beside.

        Raises OperationFailed when it went back, Unreachable when its end was not seen.
        """
        baseline = self.prover.baseline(peers)
        self._begin()
        try:
            return self._watch(baseline)
        except KeyboardInterrupt as error:
            self._go_back("interrupted")
            raise Interrupted(
                "E-INTERRUPTED",
                f"interrupted; the network of {self.host.name} goes back",
                hint=f"tashictl net list --pending {self.host.name}",
                host=self.host.name,
            ) from error

    def _begin(self) -> None:
        arm, go = self.steps()
        # From before it is sent: the host itself will not be earlier.
        until = self.world.clock.now() + timedelta(seconds=self.window_s)
        surely(self.world, self.context, self.host, arm)
        self.prover.good_at = self.world.clock.now()
        self._until_s = self.world.clock.monotonic_s() + self.window_s
        self.world.report.step(
            self.host.name, f"armed: goes back by itself at {clock(until)} unless confirmed"
        )
        try:
            run(self.world, self.context, self.host, go)
            self.prover.good_at = self.world.clock.now()
        except Unreachable:
            # What was sent may be done: the host itself tells what became of it.
            self.world.report.note(f"{self.host.name}: no answer to {go.name}; looked at again")
        except OperationFailed as error:
            self._go_back("unproved")
            raise self._went_back(error) from error

    def _watch(self, baseline: Baseline) -> Applied:
        """Wait for it to be applied, prove it, confirm it."""
        seen = self._await_applied()
        if self.terms.manual:
            self.world.report.step(self.host.name, "applied, not confirmed")
            return Applied(
                host=self.host.name, token=self.token, confirmed=False, pending=seen.pending
            )
        try:
            self.prover.prove(baseline, self._settle_s(), self._deadline_s())
            return self._confirm()
        except TashiError as error:
            self._go_back("unproved")
            raise self._went_back(error) from error

    def _settle_s(self) -> float:
        """How long it has to stand: longer than a bridge may learn before it forwards."""
        delays = [
            2 * link.forward_delay_s + 5
            for link in self.proposal.picture.links
            if link.kind == "bridge" and link.stp
        ]
        return max([self.terms.settle_s, *delays])

    def _deadline_s(self) -> float:
        return self._until_s - 5.0

    def _await_applied(self) -> HostNet:
        """Look, each time by a fresh connection, until it is applied; raises when it is not."""
        world = self.world
        while True:
            seen = self._fresh_look()
            pending = seen.pending if seen is not None else None
            if seen is not None and (pending is None or pending.token != self.token):
                raise self._went_back(None)
            if seen is not None and pending is not None:
                if pending.stage == "applied":
                    return seen
                if pending.stage in ("failed", "reverting", "reverted", "unclean"):
                    raise self._went_back(None)
            if world.clock.monotonic_s() > self._until_s:
                raise self._went_back(None)
            world.clock.sleep(_POLL_S)

    def _fresh_look(self) -> HostNet | None:
        return self.prover.fresh_look()

    def _confirm(self) -> Applied:
        world = self.world
        step = confirm_step(self.context, self.host, self.token)
        world.remote.drop(self.host)
        try:
            answers = surely(world, self.context, self.host, step)
            kept = answers[0].data.get("kept", "")
        except TashiError:
            seen = self._fresh_look()
            last = seen.pending if seen is not None else None
            if last is None or (last.token, last.stage) != (self.token, "confirmed"):
                raise
            kept = ""
        where = f"; before-state kept in {kept}" if kept else ""
        world.report.step(self.host.name, f"confirmed, files written{where}")
        return Applied(host=self.host.name, token=self.token, confirmed=True, kept=kept)

    def _go_back(self, why: str) -> None:
        """Ask the host to go back at once; if it cannot be asked it does so by itself."""
        step = rollback_step(self.context, self.host, self.token, why)
        self.world.remote.drop(self.host)
        try:
            run(self.world, self.context, self.host, step, limit_s=self.prover.look_limit_s)
        except TashiError:
            return

    def _went_back(self, why: TashiError | None) -> TashiError:
        """Wait until it has gone back; the error that says so, and why."""
        end = self.await_back()
        name = self.host.name
        if end is None:
            return Unreachable(
                "E-NET-LOST",
                f"{name} was not reached again after the change of its network",
                cause="it goes back by itself; that was not seen",
                hint=f"tashictl net list --pending {name}; at its console: "
                f"{net.net_dir(self.context)}/last/log",
                host=name,
            )
        cause = end.detail or end.stage
        if why is not None:
            cause = f"{why.what}" + (f": {why.cause}" if why.cause else "")
        if end.stage == "confirmed":
            return Conflict("E-NET-CONFIRMED", f"{name}: somebody else confirmed it", host=name)
        clean = end.stage == "reverted"
        return OperationFailed(
            "E-NET-REVERTED" if clean else "E-NET-UNCLEAN",
            f"{name}: the change of the network was taken back"
            + ("" if clean else ", and something is not as it was"),
            cause=text.why_back(cause),
            hint=f"tashictl net diff {name}" + ("" if clean else f"; the host's own log: "
            f"{net.net_dir(self.context)}/last/log"),
            host=name,
        )  # fmt: skip

    def await_back(self) -> Pending | None:
        """The end of the change, seen by fresh connections; None when the host is not reached."""
        world, prover = self.world, self.prover
        until_s = self._until_s + _BACK_S
        while world.clock.monotonic_s() < until_s:
            seen = self._fresh_look()
            pending = seen.pending if seen is not None else None
            if seen is not None and (pending is None or not pending.active):
                prover.tell_gap()
                if pending is not None and pending.token == self.token:
                    return pending
                return Pending(token=self.token, stage="reverted", detail="rebooted")
            world.clock.sleep(_POLL_S)
        return None


def confirm_step(context: Context, host: HostConfig, token: str) -> ConfirmNet:
    """What confirms a change."""
    at = paths.at_host(host.name, context.settings)
    return ConfirmNet(**at, token=token, net_dir=net.net_dir(context))


def rollback_step(context: Context, host: HostConfig, token: str, why: str) -> RollbackNet:
    """What takes a change back."""
    return RollbackNet(
        **paths.at_host(host.name, context.settings),
        token=token,
        net_dir=net.net_dir(context),
        why=why,
    )


def run(
    world: World, context: Context, host: HostConfig, step: Step, limit_s: float | None = None
) -> tuple[StepAnswer, ...]:
    """Have one step done under a guard; raises as `guarded.judge` does."""

    def cut() -> None:
        world.remote.drop(host)

    world.faults.reached(step.name, "before", cut)
    state = world.store.read()
    record = state.hosts.get(host.name)
    offset_s = record.facts.clock_offset_s if record is not None and record.facts else 0.0
    terms = guarded.Terms(epoch=state.meta.epoch, offset_s=offset_s)
    script = guarded.make(world, context, (step,), terms)
    limit = guarded.limit_s(context, script) if limit_s is None else limit_s
    begun = _Begun(script.nonce, lambda: world.faults.reached(step.name, "sent", cut))
    reply = world.remote.run(host, script, world.clock.monotonic_s() + limit, begun.output)
    answers = guarded.judge(host.name, script, reply)
    world.faults.reached(step.name, "after", cut)
    return answers


def surely(world: World, context: Context, host: HostConfig, step: Step) -> tuple[StepAnswer, ...]:
    """`run`, once more where no answer came: a step that was done says so the second time."""
    try:
        return run(world, context, host, step)
    except Uncertain:
        world.remote.drop(host)
        return run(world, context, host, step)


class _Begun:
    """Sees a script's output arrive, and tells when its step has begun."""

    def __init__(self, nonce: str, tell: Callable[[], None]) -> None:
        self._mark = f"@{nonce} B ".encode()
        self._seen = b""
        self._tell: Callable[[], None] | None = tell

    def output(self, chunk: bytes) -> None:
        """More of it."""
        self._seen += chunk
        if self._tell is not None and self._mark in self._seen:
            tell, self._tell = self._tell, None
            tell()
