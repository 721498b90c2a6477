"""`net diff`, `apply`, `confirm`, `rollback` and `list --pending`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from tashictl.cli import ask, named, net_text, options, output, plans, wiring
from tashictl.cli.desk import sit_down
from tashictl.cli.options import Globals
from tashictl.errors import (
    Conflict,
    FaultsFound,
    PartialResult,
    SummedUp,
    TashiError,
    raise_all,
)
from tashictl.model.host import HostConfig
from tashictl.model.steps import Step
from tashictl.ops import guarded, net, net_apply
from tashictl.ops.context import Context
from tashictl.ops.net import Looked
from tashictl.ops.ports import World
from tashictl.planning import summary
from tashictl.planning.net import fit
from tashictl.planning.net.propose import Proposal, file_diff

_LATELY_S = 3600.0  # a reboot of which is told, where a change is missed


class Choice(Struct, frozen=True, kw_only=True):
    """What `net apply` was asked for."""

    hosts: tuple[str, ...] = ()
    canary: bool = False
    serial: int = 1
    style: str | None = None
    terms: net_apply.Terms = net_apply.Terms()


def diff(face: Globals, hosts: Sequence[str], style: str | None) -> None:
    """Hold hosts against the inventory; raises FaultsFound when they differ."""
    at = sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, hosts)
    with wiring.world_of(at) as world:
        looked = net.look(world, context, chosen)
        found = net.held_against(world, context, looked, wiring.net_templates(at), style)
    _show(face, [one.proposal for one in found.values() if one.proposal is not None])
    errors = [one.error for one in found.values() if one.error is not None]
    if errors and len(errors) == len(found):
        raise_all(errors)
    differ = [n for n, one in found.items() if one.proposal is not None and not one.proposal.clean]
    if errors:
        first = PartialResult("E-PARTIAL", f"{len(errors)} of {len(found)} hosts were not compared")
        raise SummedUp([first, *errors])
    if differ:
        raise FaultsFound(
            "E-NET-DIFF",
            f"{', '.join(differ)} {'differs' if len(differ) == 1 else 'differ'} from the inventory",
            hint=f"tashictl net apply {' '.join(differ)}",
        )


def _show(face: Globals, proposals: Sequence[Proposal]) -> None:
    if not face.for_people:
        output.emit_records(face, [net_text.record(p) for p in proposals], ())
        return
    paint = options.paint_for(face.streams.stdout, face.color, face.streams.env)
    lines = [line for p in proposals for line in net_text.difference(p, paint)]
    output.write(face, "".join(f"{line}\n" for line in lines))


def apply(face: Globals, choice: Choice) -> None:
    """Change networks of hosts, each under the dead man's switch; stops at the first failure."""
    at = sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, choice.hosts)
    with wiring.world_of(at) as world:
        looked = net.look(world, context, chosen)
        found = net.held_against(world, context, looked, wiring.net_templates(at), choice.style)
        going = _agreed(found)
        if face.dry_run:
            _dry(face, world, context, going, choice)
            return
        _show(face, [one.proposal for one in found.values() if one.proposal is not None])
        if not going:
            return
        ask.confirm(face, f"apply this to {', '.join(one.host.name for one in going)}")
        _carry_out(face, _Round(world=world, context=context, choice=choice), going)


Going = Sequence[Looked]


def _agreed(found: Mapping[str, Looked]) -> Going:
    """Hosts that differ; raises all that stands against it, before anything is changed."""
    problems: list[TashiError] = [one.error for one in found.values() if one.error is not None]
    going = []
    for one in found.values():
        if one.proposal is None or one.proposal.clean:
            continue
        problems += fit.refusals(one.proposal)
        going.append(one)
    raise_all(problems)
    return going


class _Round(Struct, frozen=True, kw_only=True):
    world: World
    context: Context
    choice: Choice


def _carry_out(face: Globals, about: _Round, going: Going) -> None:
    done: list[str] = []
    for batch in _batches(going, about.choice):
        results = _batch(about, batch, [one.host for one in going])
        done += [name for name, error in results if error is None]
        failed = [error for _, error in results if error is not None]
        if failed:
            rest = len(going) - len(done) - len(failed)
            if done or rest or len(failed) > 1:
                what = (
                    f"{len(done)} of {len(going)} hosts were changed; stopped at the first failure"
                )
                code = PartialResult if done else type(failed[0])
                raise SummedUp([code("E-NET-APPLY", what), *failed])
            raise failed[0]
    verb = "waits for net confirm" if about.choice.terms.manual else "is as the inventory says"
    for name in done:
        output.say(face, f"{name}: its network {verb}")


def _batches(going: Going, choice: Choice) -> Iterator[Going]:
    rest = list(going)
    if choice.canary and rest:
        yield rest[:1]
        rest = rest[1:]
    while rest:
        yield rest[: choice.serial]
        rest = rest[choice.serial :]


def _batch(
    about: _Round, batch: Going, all_hosts: Sequence[HostConfig]
) -> list[tuple[str, TashiError | None]]:
    world, context = about.world, about.context
    busy = {one.host.name for one in batch}
    added = world.store.read().hosts
    peers = [h for h in context.inventory.hosts if h.name not in busy and h.name in added]
    # Those that are changed as well are looked from last: they have changed already, or will.
    peers.sort(key=lambda h: h in all_hosts)

    def one(looked: Looked) -> tuple[str, TashiError | None]:
        name = looked.host.name
        try:
            with world.locks.host(name):
                change = net_apply.Change(world, context, looked, about.choice.terms)
                change.apply(peers[:3])
        except TashiError as error:
            return name, error
        return name, None

    if len(batch) == 1:
        return [one(batch[0])]
    with ThreadPoolExecutor(len(batch)) as pool:
        return list(pool.map(one, batch))


def _dry(face: Globals, world: World, context: Context, going: Going, choice: Choice) -> None:
    steps: list[plans.Planned] = []
    for one in going:
        host, proposal = one.host, one.proposal
        assert proposal is not None
        change = net_apply.Change(world, context, one, choice.terms)
        diffs = "".join(file_diff(f, proposal.net) for f in proposal.files)
        confirm = net_apply.confirm_step(context, host, change.token)
        for step in (*change.steps(), confirm):
            terms = guarded.Terms(epoch=world.store.read().meta.epoch)
            steps.append(
                plans.Planned(
                    number=len(steps) + 1,
                    name=step.name,
                    host=host.name,
                    summary=_line(step, proposal),
                    script=guarded.make(world, context, (step,), terms).text,
                    diff=diffs if step is confirm else None,
                )
            )
    names_ = ", ".join(one.host.name for one in going)
    title = f"would change the network of {names_}" if going else "nothing differs"
    plans.emit_plan(face, title, steps)


def _line(step: Step, proposal: Proposal) -> str:
    return f"{net_text.summary(proposal)}" if step.name == "ArmNet" else summary.line(step)


def decide(face: Globals, hosts: Sequence[str], verb: str) -> None:
    """Confirm, or take back, what is in flight on hosts."""
    at = sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, hosts)
    make: Callable[[Context, HostConfig, str], Step] = net_apply.confirm_step
    if verb == "rollback":
        make = lambda c, h, t: net_apply.rollback_step(c, h, t, "rollback")  # noqa: E731
    with wiring.world_of(at) as world:
        found = net.look(world, context, chosen)
        errors: list[TashiError] = []
        for name, one in found.items():
            pending = one.net.pending if one.net is not None else None
            if one.error is not None or pending is None:
                errors.append(one.error or _nothing(one, verb))
                continue
            if face.dry_run:
                about = net_text.pending(name, pending, at.scene().now)
                output.say(face, f"would {verb}: {about}")
                continue
            step = make(context, one.host, pending.token)
            try:
                answers = net_apply.surely(world, context, one.host, step)
            except TashiError as error:
                errors.append(error)
                continue
            said = answers[0].message or ("confirmed" if verb == "confirm" else "goes back")
            output.say(face, f"{name}: {said.splitlines()[-1]}")
    if face.dry_run:
        output.say(face, "nothing was changed")
    raise_all(errors)


def _nothing(looked: Looked, verb: str) -> TashiError:
    name = looked.host.name
    cause = "no change of its network is in flight"
    if looked.net is not None and looked.net.uptime_s < _LATELY_S:
        cause += f"; it was booted {looked.net.uptime_s:.0f} s ago, with what was confirmed by then"
    return Conflict(
        "E-NET-NOTHING",
        f"{name}: nothing to {'confirm' if verb == 'confirm' else 'take back'}",
        cause=cause,
        hint=f"tashictl net diff {name}",
        host=name,
    )


def pending(face: Globals, hosts: Sequence[str]) -> None:
    """Show what is in flight on hosts, or ended last, as the hosts themselves know it."""
    at = sit_down(face)
    context = wiring.context_of(at)
    chosen = named.hosts(context.inventory, hosts)
    with wiring.world_of(at) as world:
        found = net.look(world, context, chosen)
    shown = {n: one.net.pending for n, one in found.items() if one.net is not None}
    if face.for_people:
        for name, what in shown.items():
            line = f"{name}  no change of its network since it was booted"
            if what is not None:
                line = net_text.pending(name, what, at.scene().now)
            output.say(face, line)
    else:
        from msgspec import to_builtins

        records = [{"host": n, **to_builtins(p)} for n, p in shown.items() if p is not None]
        output.emit_records(face, records, ())
    errors = [one.error for one in found.values() if one.error is not None]
    raise_all(errors)
