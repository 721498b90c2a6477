"""Look closely at hosts, and mend what is safe; nothing of it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tashictl.errors import InvalidRequest, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.script import Reply, Script
from tashictl.model.state import State
from tashictl.model.steps import Step
from tashictl.ops import answers, guarded
from tashictl.ops.context import Context
from tashictl.ops.host import enforced_cpu
from tashictl.ops.ports import World
from tashictl.planning import facts, render, requirements
from tashictl.planning.doctor import host as judge
from tashictl.planning.doctor import probe, reading
from tashictl.planning.doctor.findings import Finding
from tashictl.planning.doctor.subject import Subject
from tashictl.planning.net import layout


class Examination(Struct, frozen=True, kw_only=True):
    """A host after a look at it; `error` says why it gave no answer, `offset_s` is its clock's."""

    host: HostConfig
    findings: tuple[Finding, ...]
    offset_s: float = 0.0
    error: TashiError | None = None

    @property
    def mendings(self) -> tuple[tuple[Step, str], ...]:
        """What would mend it, each step with the diff of the file that it writes."""
        return tuple((step, f.diff) for f in self.findings for step in f.steps)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps alone."""
        return tuple(step for step, _ in self.mendings)


def examine(world: World, context: Context, hosts: Iterable[HostConfig]) -> list[Examination]:
    """Look at hosts at once, each with its own deadline; changes nothing."""
    asked = tuple(hosts)
    state = world.store.read()
    nonces: dict[str, str] = {}
    begun_s: dict[str, float] = {}
    found: dict[str, Examination] = {}
    cpu = enforced_cpu(context)

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        begun_s[host.name] = world.clock.now().timestamp()
        place = requirements.place(host, context.settings, context.inventory.networks)
        ask = probe.Ask(settings=context.settings, cpu=cpu, networks=place.networks)
        return probe.script(ask, nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        nonce = nonces.get(host.name)  # none was made for a host that was not reached
        subject = _subject(context, state, host, begun_s.get(host.name, 0.0))
        now = world.clock.now()
        seen = reading.read(reply.out, nonce, now) if nonce is not None else None
        if seen is None:
            found[host.name] = _silent(subject, reply)
            return
        found[host.name] = Examination(
            host=host,
            findings=judge.findings(seen, subject),
            offset_s=seen.reading.facts.clock_offset_s,
        )

    timeout_s = context.settings.tashictl.connect_timeout_s + facts.MORE_TIMEOUT_S
    world.remote.sweep(asked, script_for, timeout_s, result)
    return [found[host.name] for host in asked]


def _subject(context: Context, state: State, host: HostConfig, asked_s: float) -> Subject:
    place = requirements.place(host, context.settings, context.inventory.networks)
    ifups = {}
    for network in probe.wired(place.networks):
        try:
            ifups[network.id] = _ifup(context, host, network)
        except InvalidRequest:  # `vm create` says what is wrong with a template
            continue
    return Subject(
        place=place,
        vms=tuple(vm for vm in state.vms.values() if vm.host == host.name),
        ifups=ifups,
        asked_s=asked_s,
        added=host.name in state.hosts,
    )


def _ifup(context: Context, host: HostConfig, network: Network) -> str:
    """As the start of a VM there would write it."""
    style = layout.style_of(host)
    return render.ifup(context.ifup_of(host.name), network, style=style, host=host.name)


def _silent(subject: Subject, reply: Reply) -> Examination:
    host = subject.place.config
    error = answers.unreachable(host.name, reply)
    hint = error.hint if subject.added else f"tashictl host add {host.name}"
    why = judge.unreached(subject, reply.fault, error.cause, hint)
    error.hint = why.remedy
    return Examination(host=host, findings=(why,), error=error)


def mend(world: World, context: Context, sick: Examination) -> None:
    """Carry out what would mend a host, under a guard.

    Raises NotPermitted, StepFailed, Unreachable or Uncertain; each step may come twice.
    """
    epoch = world.store.read().meta.epoch
    with world.locks.host_shared(sick.host.name):  # it is not removed meanwhile
        script = script_of(world, context, sick, epoch)
        guarded.run(world, context, sick.host, script)


def script_of(world: World, context: Context, sick: Examination, epoch: int) -> Script:
    """The one script that mends a host."""
    terms = guarded.Terms(epoch=epoch, offset_s=sick.offset_s)
    return guarded.make(world, context, sick.steps, terms)


def again(
    world: World, context: Context, before: Sequence[Examination], names: Iterable[str]
) -> list[Examination]:
    """The same examinations, those of some hosts made anew."""
    asked = set(names)
    anew = examine(world, context, [one.host for one in before if one.host.name in asked])
    by_name = {one.host.name: one for one in anew}
    return [by_name.get(one.host.name, one) for one in before]
