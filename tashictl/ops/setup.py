"""Make bare hosts ready: look, decide, and change what is lacking, on several hosts at once.

It has no journal: nothing is taken back, each step looks before it acts, and the same command again
goes on where one ended. What was made is written down on the host, for `host remove`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Interrupted, OperationFailed, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script
from tashictl.model.steps import InstallPackages
from tashictl.ops import answers, guarded
from tashictl.ops import host as hosts
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import setup as plans
from tashictl.planning import setup_look, setup_packages
from tashictl.planning.frames import parse
from tashictl.planning.setup import Change, Decision, Wanted
from tashictl.planning.setup_look import Seen

_SLACK_S = 15.0
_END_S = 30  # what a package manager takes to end when its time is over


class Looked(Struct, frozen=True, kw_only=True):
    """A host before it is changed: `login` is how it is reached now; `error` why it cannot be."""

    want: Wanted
    login: HostConfig
    offset_s: float = 0.0
    seen: Seen | None = None
    decision: Decision = Decision(host="")
    error: TashiError | None = None

    @property
    def host(self) -> str:
        """Its name."""
        return self.want.config.name

    @property
    def lacks(self) -> bool:
        """Whether there is something to change."""
        return self.error is None and bool(self.decision.changes)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a host: what was `done`, also before an `error`; `notes` are what was not."""

    host: str
    done: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    error: TashiError | None = None


Tell = Callable[[Outcome], None]


def survey(
    world: World, context: Context, wants: Iterable[tuple[Wanted, HostConfig]]
) -> list[Looked]:
    """Look at hosts at once and decide for each; nothing is changed."""
    pairs = {want.config.name: (want, login) for want, login in wants}
    nonces: dict[str, str] = {}
    found: dict[str, Looked] = {}

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        return setup_look.script(
            plans.asked(pairs[host.name][0]), context.settings, nonces[host.name]
        )

    def result(host: HostConfig, reply: Reply) -> None:
        want, login = pairs[host.name]
        looked = Looked(want=want, login=login)
        seen = setup_look.read(reply.out, nonces.get(host.name, "-"))
        if seen is None:
            found[host.name] = replace(looked, error=_unseen(host, reply))
            return
        offset_s = seen.time_s - world.clock.now().timestamp()
        found[host.name] = _decided(replace(looked, seen=seen, offset_s=offset_s))

    timeout_s = context.settings.tashictl.connect_timeout_s + setup_look.LOOK_S
    world.remote.sweep([login for _, login in pairs.values()], script_for, timeout_s, result)
    return [found[name] for name in pairs]


def _unseen(host: HostConfig, reply: Reply) -> TashiError:
    if reply.fault is None:
        cause = reply.err.decode("utf-8", "replace").strip()[-300:] or f"exit {reply.rc}"
        return OperationFailed(
            "E-PROBE", f"{host.name} gave no full answer", cause=cause, host=host.name
        )
    error = answers.unreachable(host.name, reply)
    if error.code == "E-SUDO":
        error.hint = f"tashictl host setup {host.name} --login root"
    return error


def _decided(looked: Looked) -> Looked:
    assert looked.seen is not None
    try:
        return replace(looked, decision=plans.decide(looked.want, looked.seen))
    except TashiError as error:
        return replace(looked, error=error)


def scripts(world: World, context: Context, looked: Looked) -> list[tuple[Script, list[Change]]]:
    """The scripts of a host as they would be sent, each with its changes: packages come first."""
    changes = looked.decision.changes
    first = [c for c in changes if isinstance(c.step, InstallPackages)]
    rest = [c for c in changes if c not in first]
    return [(_script(world, context, looked, some), some) for some in (first, rest) if some]


def _script(world: World, context: Context, looked: Looked, changes: Sequence[Change]) -> Script:
    assert looked.seen is not None
    packages = any(isinstance(c.step, InstallPackages) for c in changes)
    terms = guarded.Terms(
        epoch=world.store.read().meta.epoch,
        offset_s=looked.offset_s,
        claims=looked.seen.cluster is None,
        work_s=looked.want.timeout_s + _END_S if packages else 0,
    )
    return guarded.make(world, context, [c.step for c in changes], terms)


def apply(world: World, context: Context, looked: Sequence[Looked], tell: Tell) -> list[Outcome]:
    """Change what the hosts lack, all at once; each is told of as it ends.

    One that fails is no other's concern. Raises Interrupted after Ctrl-C: what was sent may go on.
    """
    with ExitStack() as stack:
        work = _Work(world, context, tell)
        free = [one for one in looked if work.locked(one, stack)]
        try:
            work.carry_out(free)
        except KeyboardInterrupt as error:
            raise Interrupted(
                "E-INTERRUPTED",
                "interrupted; what was begun on a host goes on there",
                hint="tashictl host setup again looks, and does what is lacking",
            ) from error
        _refresh(world, context, work.outcomes)
        return [work.outcomes[one.host] for one in looked]


def _refresh(world: World, context: Context, outcomes: Mapping[str, Outcome]) -> None:
    """A host that was added before it had a QEMU can take VMs now."""
    added = world.store.read().hosts
    new = [
        context.config(name)
        for name, outcome in outcomes.items()
        if name in added and any(isinstance(c.step, InstallPackages) for c in outcome.done)
    ]
    if new:
        hosts.check(world, context, new)


class _Work:
    """One command's changes on its hosts."""

    def __init__(self, world: World, context: Context, tell: Tell) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._world = world
        self._context = context
        self._tell = tell

    def locked(self, one: Looked, stack: ExitStack) -> bool:
        """Hold a host alone; one that another operation holds has ended here."""
        try:
            stack.enter_context(self._world.locks.host(one.host))
        except TashiError as error:
            self._end(one, (), error)
            return False
        return True

    def carry_out(self, every: Sequence[Looked]) -> None:
        """Packages first, then a second look, then the rest."""
        bare = [one for one in every if _installs(one.decision)]
        ready = [one for one in every if one not in bare]
        installed = self._packages(bare)
        pairs = [(one.want, one.login) for one in bare if one.host in installed]
        for again in survey(self._world, self._context, pairs) if pairs else ():
            before = installed[again.host]
            if again.error is not None:
                self._end(again, before, again.error)
            elif _installs(again.decision):
                self._end(again, before, _still_missing(again))
            else:
                ready.append(_as_listed(again, bare))
        self._rest(ready, installed)

    def _packages(self, bare: Sequence[Looked]) -> dict[str, tuple[Change, ...]]:
        installed: dict[str, tuple[Change, ...]] = {}

        def ended(one: Looked, done: tuple[Change, ...], error: TashiError | None) -> None:
            if error is None:
                installed[one.host] = done
            else:
                self._end(one, done, error)

        for one in bare:
            first = next(c for c in one.decision.changes if isinstance(c.step, InstallPackages))
            self._world.report.note(f"{one.host}: {first.text}")
        jobs = [
            (one, [c for c in one.decision.changes if isinstance(c.step, InstallPackages)])
            for one in bare
        ]
        self._send(jobs, ended)
        return installed

    def _rest(self, ready: Sequence[Looked], before: Mapping[str, tuple[Change, ...]]) -> None:
        def ended(one: Looked, done: tuple[Change, ...], error: TashiError | None) -> None:
            self._end(one, (*before.get(one.host, ()), *done), error)

        for one in ready:
            if not one.decision.changes:
                ended(one, (), None)
        self._send([(one, one.decision.changes) for one in ready if one.decision.changes], ended)

    def _send(
        self,
        jobs: Sequence[tuple[Looked, Sequence[Change]]],
        ended: Callable[[Looked, tuple[Change, ...], TashiError | None], None],
    ) -> None:
        """One script for each host, all at once."""
        by_host = {one.host: (one, changes) for one, changes in jobs}
        made = {name: _script(self._world, self._context, *job) for name, job in by_host.items()}
        if not made:
            return

        def script_for(host: HostConfig) -> Script:
            self._reached(host, by_host[host.name][1], "before")
            return made[host.name]

        def result(host: HostConfig, reply: Reply) -> None:
            one, changes = by_host[host.name]
            done, error = _judged(one, changes, made[host.name], reply)
            if error is None:
                self._reached(host, changes, "after")
            ended(one, done, error)

        limit_s = max(guarded.limit_s(self._context, script) for script in made.values())
        self._world.remote.sweep([one.login for one, _ in jobs], script_for, limit_s, result)

    def _reached(self, host: HostConfig, changes: Iterable[Change], moment: str) -> None:
        for change in changes:
            name = change.step.name
            self._world.faults.reached(name, moment, lambda: self._world.remote.drop(host))

    def _end(self, one: Looked, done: tuple[Change, ...], error: TashiError | None) -> None:
        if error is not None and done:
            error.leftovers = (*error.leftovers, f"done before: {'; '.join(c.done for c in done)}")
        outcome = Outcome(host=one.host, done=done, notes=one.decision.notes, error=error)
        self.outcomes[one.host] = outcome
        self._tell(outcome)


def _as_listed(again: Looked, before: Sequence[Looked]) -> Looked:
    """The second look with the words that were asked about: the guard has made a folder since."""
    known = {c.step: c for one in before for c in one.decision.changes}
    changes = tuple(known.get(c.step, c) for c in again.decision.changes)
    return replace(again, decision=replace(again.decision, changes=changes))


def _installs(decision: Decision) -> bool:
    return any(isinstance(change.step, InstallPackages) for change in decision.changes)


def _judged(
    one: Looked, changes: Sequence[Change], script: Script, reply: Reply
) -> tuple[tuple[Change, ...], TashiError | None]:
    """What was done of a script, and why it did not go on."""
    steps = parse(reply.out, script.nonce).steps
    done = tuple(c for i, c in enumerate(changes) if i in steps and steps[i].rc == 0)
    try:
        guarded.judge(one.host, script, reply)
    except TashiError as error:
        error.hint = _hint(one, error)
        return done, error
    return done, None


def _hint(one: Looked, error: TashiError) -> str:
    again = f"tashictl host setup {one.host} goes on from there"
    if error.code == "E-INSTALLPACKAGES":
        return f"{setup_packages.remedy(error.cause)}\n{again}"
    return f"{error.hint}\n{again}" if error.hint else again


def _still_missing(again: Looked) -> TashiError:
    assert again.seen is not None
    tools = ", ".join(plans.lacking(again.want, again.seen))
    return OperationFailed(
        "E-PACKAGES",
        f"{again.host} lacks {tools}, though their packages are installed",
        cause="they are not where a login finds them",
        hint=f"look at it on the host: command -v {tools.split(', ')[0]}",
        host=again.host,
    )
