"""Scripts that belong to no operation: no journal, no attempt; safe to come late or twice."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script
from tashictl.model.steps import Guard, Step
from tashictl.ops import answers
from tashictl.ops.context import Context, may_begin_s
from tashictl.ops.ports import World
from tashictl.planning import scripts
from tashictl.planning.frames import StepAnswer, parse

_LOCK_WAIT_S = 10
_SLACK_S = 15.0


class Terms(Struct, frozen=True, kw_only=True):
    """Under what a script begins; `offset_s` is the host's clock minus ours.

    `wait_s` is how long it waits for each lock, `claims` as in `Guard`. `work_s` is how long its
    steps may take on the host, 0 for stepTimeout.
    """

    epoch: int
    offset_s: float = 0.0
    wait_s: int = _LOCK_WAIT_S
    claims: bool = False
    work_s: int = 0


def make(
    world: World,
    context: Context,
    steps: Sequence[Step],
    terms: Terms,
) -> Script:
    """The script that does `steps` under a guard."""
    ours, wait_s = context.settings.tashictl, terms.wait_s
    guard = Guard(
        cluster=ours.cluster_id,
        epoch=terms.epoch,
        lib_dir=ours.lib_dir,
        not_after_s=int(world.clock.now().timestamp() + terms.offset_s + may_begin_s(ours, wait_s)),
        lock_wait_s=wait_s,
        controller=world.who.controller(),
        claims=terms.claims,
    )
    timeout_s = (terms.work_s or int(ours.step_timeout_s)) + wait_s
    return scripts.guarding(tuple(steps), guard, world.dice.nonce(), timeout_s)


def limit_s(context: Context, script: Script) -> float:
    """How long the answer to a script is waited for."""
    return context.settings.tashictl.connect_timeout_s + script.timeout_s + _SLACK_S


def run(world: World, context: Context, host: HostConfig, script: Script) -> None:
    """Have a script carried out; raises as `judge` does."""
    deadline_s = world.clock.monotonic_s() + limit_s(context, script)
    judge(host.name, script, world.remote.run(host, script, deadline_s))


def judge(host: str, script: Script, reply: Reply) -> tuple[StepAnswer, ...]:
    """What each step answered; raises Unreachable, Uncertain, StepFailed, NotPermitted."""
    if reply.fault is not None and not reply.sent:
        raise answers.unreachable(host, reply)
    answer = parse(reply.out, script.nonce)
    if answer.refused:
        raise answers.refusal(host, answer.refused[0], " ".join(answer.refused[1:]))
    for index, step in enumerate(script.steps):
        said = answer.steps.get(index)
        if said is not None and said.rc not in (None, 0):
            message = said.message or f"exit code {said.rc}"
            raise answers.step_failed(step, host, message, said.data.get("why", ""))
    if not answer.complete or len(answer.steps) < len(script.steps):
        raise answers.no_answer(host, reply)
    return tuple(answer.steps[index] for index in range(len(script.steps)))
