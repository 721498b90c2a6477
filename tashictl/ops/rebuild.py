"""`state rebuild`: the state made anew from the hosts, when its file is lost, damaged or wrong.

First nothing is changed: every host is looked at, the newest copy of the state is found. Then the
old epoch is ended on every host, so that no script of it begins any more; only what is seen after
that counts. Killed at any point it is simply done again, under a higher epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from io import BytesIO

from msgspec import Struct

from tashictl.errors import InvalidRequest, NotPermitted, TashiError, Unreachable
from tashictl.model.host import HostConfig, HostFacts
from tashictl.model.rebuild import Counters, Evidence, Rebuilt
from tashictl.model.script import Fault, Reply, Script
from tashictl.model.state import State
from tashictl.model.steps import MarkFences
from tashictl.ops import answers, guarded
from tashictl.ops.context import Context
from tashictl.ops.execute import lock_wait_s
from tashictl.ops.host import enforced_cpu
from tashictl.ops.ports import World
from tashictl.ops.ports_rebuild import StateFile
from tashictl.planning import facts as facts_plan
from tashictl.planning import paths, rebuild, replica
from tashictl.planning.facts import Reading
from tashictl.planning.shell import quote

_FETCH_S = 300.0
_SLACK_S = 15.0


class Survey(Struct, frozen=True, kw_only=True):
    """What there is, before anything was changed.

    `base` is the newest copy of the state, found at `base_from`; `epoch` the new one; `members`
    are the hosts whose old epoch is to be ended.
    """

    base: State | None
    base_from: str
    epoch: int
    members: tuple[str, ...]
    looks: dict[str, HostFacts]
    without: frozenset[str]
    counters: Counters
    mark: str


class Outcome(Struct, frozen=True, kw_only=True):
    """The state that is in force now; `kept` is where that before it lies, if there was one."""

    rebuilt: Rebuilt
    kept: str | None


def survey(world: World, context: Context, file: StateFile, without: Collection[str]) -> Survey:
    """Look at all hosts of the inventory but `without`, and find the newest copy of the state.

    Raises Unreachable E-HOSTS-MISSING (or NotPermitted E-FOREIGN) when a host says nothing of
    ours and was not named: without it VMs would be forgotten.
    """
    mark = file.mark()
    asked = [h for h in context.inventory.hosts if h.name not in without]
    readings, silent = _look(world, context, asked, None)
    base, base_from = _base(world, context, file, readings)
    _refuse_missing(context, base, readings, silent, without)
    ours = context.settings.tashictl.cluster_id
    known = {*base.hosts, *_carrying(base)} if base is not None else set()
    looks = {h.name: readings[h.name].facts for h in asked}
    members = tuple(n for n, f in looks.items() if f.claimed_by == ours or f.vms or n in known)
    epochs, counters = _journals(world)
    for facts in looks.values():
        if facts.claimed_by == ours:
            epochs.append(facts.claimed_epoch)
        epochs += [fact.fence[0] for fact in facts.vms if fact.fence is not None]
    epochs += [r.replica[0] for r in readings.values() if r.replica is not None]
    epochs += [base.meta.epoch] if base is not None else []
    return Survey(
        base=base,
        base_from=base_from,
        epoch=max([0, *epochs]) + 1,
        members=members,
        looks={name: looks[name] for name in members},
        without=frozenset(without),
        counters=counters,
        mark=mark,
    )


def preview(world: World, context: Context, found: Survey) -> Rebuilt:
    """What would come of it, if nothing changed until then."""
    return rebuild.rebuild(_evidence(world, context, found, found.looks, found.counters))


def carry_out(world: World, context: Context, file: StateFile, found: Survey) -> Outcome:
    """End the old epoch on every host, look again, and put the new state in place.

    Raises what the first host that failed gave; then the state is as it was, and the next rebuild
    takes a higher epoch.
    """
    hosts = [context.config(name) for name in found.members]
    operation = _mark(world, context, found, hosts)
    records = found.base.hosts.values() if found.base is not None else ()
    known = {record.name: record.facts for record in records if record.facts is not None}
    readings, silent = _look(world, context, hosts, known)
    if silent:
        raise _missing({n: answers.unreachable(n, r) for n, r in silent.items()})
    looks = {name: reading.facts for name, reading in readings.items()}
    most = max(operation, found.counters.operation)
    counters = Counters(vm=found.counters.vm, operation=most)
    made = rebuild.rebuild(_evidence(world, context, found, looks, counters))
    world.faults.reached("ReplaceState", "before", _nothing)
    kept = file.replace(made.state, found.mark)
    world.faults.reached("ReplaceState", "after", _nothing)
    return Outcome(rebuilt=made, kept=kept)


def _nothing() -> None:
    """There is no connection to cut."""


def _evidence(
    world: World,
    context: Context,
    found: Survey,
    looks: dict[str, HostFacts],
    counters: Counters,
) -> Evidence:
    return Evidence(
        cluster=context.settings.tashictl.cluster_id,
        epoch=found.epoch,
        now=world.clock.now(),
        base=found.base,
        looks=looks,
        without=found.without,
        counters=counters,
        settings=context.settings,
    )


# -- looking


def _look(
    world: World,
    context: Context,
    hosts: Iterable[HostConfig],
    known: Mapping[str, HostFacts] | None,
) -> tuple[dict[str, Reading], dict[str, Reply]]:
    """What each host says, and the replies of those that said nothing whole.

    KVM, which takes seconds, is asked of hosts that are not `known`; None: of none.
    """
    nonces: dict[str, str] = {}
    readings: dict[str, Reading] = {}
    silent: dict[str, Reply] = {}
    cpu = enforced_cpu(context)

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        kvm = known is not None and host.name not in known
        probe = facts_plan.Probe(settings=context.settings, cpu=cpu, kvm=kvm)
        return facts_plan.script(probe, nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        nonce, reading = nonces.get(host.name), None
        if nonce is not None and reply.fault is None:
            accel = known[host.name].accel if known and host.name in known else None
            reading = facts_plan.read(reply.out, nonce, world.clock.now(), accel)
        if reading is None:
            silent[host.name] = reply
        else:
            readings[host.name] = reading

    timeout_s = context.settings.tashictl.connect_timeout_s + facts_plan.PROBE_TIMEOUT_S
    world.remote.sweep(tuple(hosts), script_for, timeout_s, result)
    return readings, silent


def _base(
    world: World, context: Context, file: StateFile, readings: Mapping[str, Reading]
) -> tuple[State | None, str]:
    """The newest copy of the state that can be read, and where it was found."""
    ours = context.settings.tashictl.cluster_id
    base: State | None = None
    base_from = ""
    for path, state in file.readable():
        if state.meta.cluster == ours and _age(state) > _age(base):
            base, base_from = state, path
    heads = sorted(
        ((r.replica, name) for name, r in readings.items() if r.replica is not None), reverse=True
    )
    for head, name in heads:
        if head[:2] <= _age(base):
            break
        try:
            return _fetched(world, context, name), f"the replica on {name}"
        except TashiError as error:
            world.report.warn(f"the replica on {name} is no use: {error}")
    return base, base_from


def _age(state: State | None) -> tuple[int, int]:
    return (state.meta.epoch, state.meta.generation) if state is not None else (-1, -1)


def _fetched(world: World, context: Context, name: str) -> State:
    host, sink = context.config(name), BytesIO()
    path = f"{replica.path(context.settings)}/state.json"
    reply = world.remote.get(host, path, sink, world.clock.monotonic_s() + _FETCH_S)
    if reply.fault is not None:
        raise answers.unreachable(name, reply)
    if reply.rc != 0:
        raise answers.failed("GetReplica", name, reply)
    return replica.read(sink.getvalue(), context.settings.tashictl.cluster_id)


def _journals(world: World) -> tuple[list[int], Counters]:
    """The epochs and the highest ids in the journals that can be read."""
    epochs: list[int] = []
    vms, operations = [0], [0]
    for operation in world.journals.ids():
        operations.append(operation)
        try:
            journal = world.journals.read(operation)
        except TashiError:  # it stays as it is: its number is all that counts here
            continue
        if journal is not None:
            epochs.append(journal.header.epoch)
            vms += [journal.header.vm.id] if journal.header.vm is not None else []
    return epochs, Counters(vm=max(vms), operation=max(operations))


# -- hosts that say nothing


def _carrying(base: State) -> set[str]:
    return {vm.host for vm in base.vms.values() if vm.host is not None}


def _refuse_missing(
    context: Context,
    base: State | None,
    readings: Mapping[str, Reading],
    silent: Mapping[str, Reply],
    without: Collection[str],
) -> None:
    listed = {h.name for h in context.inventory.hosts}
    carrying = _carrying(base) if base is not None else set()
    unknown = sorted(set(without) - listed - carrying - set(base.hosts if base else ()))
    if unknown:
        raise InvalidRequest(
            "E-HOST",
            f"--without {unknown[0]}: no such host in the inventory",
            hint="tashictl host list, or see the inventory",
        )
    missing: dict[str, TashiError] = {
        name: answers.unreachable(name, reply) for name, reply in silent.items()
    }
    for name in sorted(carrying - listed - set(without)):
        cause = "it is not in the inventory, and VMs are recorded there"
        missing[name] = Unreachable("E-HOST", f"{name} not reached", cause=cause)
    if missing:
        raise _missing(missing)
    ours = context.settings.tashictl.cluster_id
    for name, reading in sorted(readings.items()):
        if reading.facts.claimed_by not in (None, ours):
            raise NotPermitted(
                "E-FOREIGN",
                f"{name} belongs to another cluster ({reading.facts.claimed_by})",
                hint=f"without it: tashictl state rebuild --without {quote(name)}",
                host=name,
            )


def _missing(missing: Mapping[str, TashiError]) -> TashiError:
    """The error for hosts that say nothing; what was recorded before is unchanged."""
    names = sorted(missing)
    cause = "\n".join(f"{name}: {missing[name].cause}" for name in names)
    untrusted = f"E-{Fault.HOSTKEY_UNKNOWN.name}".replace("_", "-")
    hints = [f"tashictl host trust {n}" for n in names if missing[n].code == untrusted]
    named = " ".join(f"--without {quote(name)}" for name in names)
    hints.append(f"if they are lost: tashictl state rebuild {named}")
    return Unreachable(
        "E-HOSTS-MISSING",
        f"no answer from {', '.join(names)}: the state is as it was",
        cause=cause,
        hint="\n".join(hints),
        host=names[0],
    )


# -- ending the old epoch


def marking(world: World, context: Context, found: Survey, host: str) -> Script:
    """The script that ends the old epoch on a host."""
    step = MarkFences(**paths.at_host(host, context.settings), epoch=found.epoch)
    terms = guarded.Terms(
        epoch=found.epoch,
        offset_s=found.looks[host].clock_offset_s,
        # For the longest script that may still run there.
        wait_s=lock_wait_s(context.settings.tashictl, 2),
        claims=True,
    )
    return guarded.make(world, context, (step,), terms)


def _mark(world: World, context: Context, found: Survey, hosts: list[HostConfig]) -> int:
    """Mark all fences of all hosts; returns the highest operation that one of them knows.

    Raises the first failure, when all hosts were asked.
    """
    ours = context.settings.tashictl
    scripts: dict[str, Script] = {}
    failed: dict[str, TashiError] = {}
    counters = [0]

    def script_for(host: HostConfig) -> Script:
        world.faults.reached("MarkFences", "before", _cut(world, host))
        scripts[host.name] = marking(world, context, found, host.name)
        return scripts[host.name]

    def result(host: HostConfig, reply: Reply) -> None:
        try:
            if host.name not in scripts:
                raise answers.unreachable(host.name, reply)
            (answer,) = guarded.judge(host.name, scripts[host.name], reply)
        except TashiError as error:
            failed[host.name] = error
            return
        counters.append(int(answer.data["counter"]))
        world.faults.reached("MarkFences", "after", _cut(world, host))

    timeout_s = ours.connect_timeout_s + ours.step_timeout_s + lock_wait_s(ours, 2) + _SLACK_S
    world.remote.sweep(hosts, script_for, timeout_s, result)
    if failed:
        raise _not_marked(failed)
    return max(counters)


def _cut(world: World, host: HostConfig) -> Callable[[], None]:
    return lambda: world.remote.drop(host)


def _not_marked(failed: Mapping[str, TashiError]) -> TashiError:
    name = sorted(failed)[0]
    error = failed[name]
    error.what = f"{error.what}: the old epoch is not ended there, the state is as it was"
    error.hint = "the same command again" + (f"\n{error.hint}" if error.hint else "")
    if len(failed) > 1:
        error.cause += f"; so {', '.join(sorted(failed)[1:])}"
    return error
