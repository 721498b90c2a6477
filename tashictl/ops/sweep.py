"""One round over the hosts: look, write down what was seen, put right what went wrong.

What a host says is written down in one transaction; what has to be done follows, each repair as
the operation that people could have asked for, with its own locks, journal and fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import FaultsFound
from tashictl.model.event import Event, Problem
from tashictl.model.host import HostConfig
from tashictl.model.state import State
from tashictl.ops import deferred, naming, replica, sweep_books, sweep_look, sweep_repair
from tashictl.ops.begin import old_database, refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.ops.ports_sweep import Books
from tashictl.ops.sweep_look import Looks
from tashictl.ops.sweep_repair import Done
from tashictl.planning import quarantine, reconcile, shards
from tashictl.planning.verdict import Repair, Scene, Verdict

Accept = Callable[[tuple[str, ...]], bool]


class Wish(Struct, frozen=True, kw_only=True):
    """What is asked of a round: its share of the hosts (1-based, of how many), its limit."""

    shard: tuple[int, int] | None = None
    timeout_s: float = 300.0

    @property
    def leads(self) -> bool:
        """Whether this round cares for what belongs to no host."""
        return self.shard is None or self.shard[0] == 1


class Round(Struct, frozen=True, kw_only=True):
    """What a round has seen and done.

    `problems` are all that are open now, `new` those of this round, `gone` what is over; `left` are
    the repairs that there was no time for.
    """

    at: str
    asked: tuple[str, ...]
    lost: dict[str, str]
    events: tuple[Event, ...]
    problems: tuple[Problem, ...]
    new: tuple[Problem, ...] = ()
    gone: tuple[Problem, ...] = ()
    done: tuple[Done, ...] = ()
    left: tuple[Repair, ...] = ()
    seconds: float = 0.0


def sweep(world: World, context: Context, books: Books, wish: Wish, accept: Accept) -> Round:
    """Do one round; `accept` is asked where the brake is on.

    Raises Conflict E-SWEEPING while another sweep runs, FaultsFound E-BRAKE when nobody accepts
    (nothing was changed), NotPermitted E-OLD-DATABASE when a host proves the database to be old.
    """
    begun_s = world.clock.monotonic_s()
    with books.locks.sweep(wish.shard):
        state = world.store.read()
        refuse_stale(state)
        hosts = _hosts(context, state, wish)
        counters = sweep_books.counters(books)
        looks = sweep_look.around(world, context, hosts, wish.timeout_s, counters)
        scene = replace(_scene(world, context, looks, state, wish), counters=counters)
        verdict = _written(world, context, scene, looks, accept)
        # The records from before are let go: of every VM there is a new one.
        state = world.store.read()
        scene = replace(scene, state=state, known=state.vms)
        done, left = sweep_repair.all_of(world, context, verdict.repairs, begun_s + wish.timeout_s)
        waiting = _deferred(world, context, wish, begun_s)
        spread = _spread(world, context, looks, wish)
        verdict = replace(verdict, problems=(*verdict.problems, *spread, *waiting))
        told = sweep_books.close(world, books, scene, verdict, done, looks.measured)
        return Round(
            at=scene.now,
            asked=scene.asked,
            lost=dict(scene.lost),
            events=told.events,
            problems=told.problems,
            new=told.new,
            gone=told.gone,
            done=done,
            left=left,
            seconds=world.clock.monotonic_s() - begun_s,
        )


def _deferred(world: World, context: Context, wish: Wish, begun_s: float) -> tuple[Problem, ...]:
    """Do what waits for a server of names; what still waits is told, in one line for each server.

    After the repairs: those that end operations may have left some more.
    """
    if not wish.leads:
        return ()
    tried = deferred.work(world, context, begun_s + wish.timeout_s)
    for one in tried:
        if one.error is None:
            world.report.note(f"{naming.named(one.work.entry)}: done, which had waited")
    return deferred.problems(world.store.read())


def _spread(world: World, context: Context, looks: Looks, wish: Wish) -> Iterator[Problem]:
    """Leave the replica of the state on a few hosts; where that fails, it is told."""
    failed = replica.spread(world, context, looks.sightings).failed if wish.leads else {}
    for host, error in failed.items():
        yield Problem(
            id=f"replica:{host}",
            text=f"no copy of the state could be left on {host}: {error}",
            hint=f"tashictl host check {host}",
            host=host,
            scope=host,
        )


def decide(world: World, context: Context, wish: Wish) -> tuple[Scene, Verdict]:
    """Look, and say what a round would do; nothing is changed, on no host either."""
    state = world.store.read()
    refuse_stale(state)
    hosts = _hosts(context, state, wish)
    looks = sweep_look.around(world, context, hosts, wish.timeout_s, dry=True)
    scene = _scene(world, context, looks, state, wish)
    verdict = reconcile.judge(scene)
    if verdict.stale:
        raise old_database(verdict.stale)
    return scene, verdict


def _hosts(context: Context, state: State, wish: Wish) -> tuple[HostConfig, ...]:
    """The hosts of this round; those that did not answer last go first: their time runs at once."""
    found = [h for h in context.inventory.hosts if h.name in state.hosts]
    if wish.shard is not None:
        index, count = wish.shard
        found = [h for h in found if shards.in_shard(h.name, index, count)]
    return tuple(sorted(found, key=lambda h: state.hosts[h.name].up is not False))


def _scene(world: World, context: Context, looks: Looks, known: State, wish: Wish) -> Scene:
    """What is decided from, without the counters of the last round."""
    return Scene(
        state=world.store.read(),
        known=known.vms,
        last_known=known.meta.last_operation_id,
        asked=looks.asked,
        sightings=looks.sightings,
        lost=looks.lost,
        dialogues=looks.dialogues,
        interrupted=sweep_repair.interrupted(world),
        settings=context.settings,
        now=iso(world.clock.now()),
        leads=wish.leads,
    )


def _written(world: World, context: Context, scene: Scene, looks: Looks, accept: Accept) -> Verdict:
    """Decide, ask where the brake is on, and write down what was seen."""
    first = reconcile.judge(scene)
    if first.brake and not first.stale and not accept(first.brake):
        raise braked(first.brake)
    with world.store.transaction() as tx:
        # Where nobody wrote meanwhile the same follows.
        verdict = (
            first if tx.state is scene.state else reconcile.judge(replace(scene, state=tx.state))
        )
        if verdict.stale:
            tx.mark_stale(verdict.stale)
        elif verdict.brake and not first.brake:
            raise braked(verdict.brake)
        else:
            tx.put_all(verdict.vms, verdict.hosts)
            for key in quarantine.expired(tx.state, scene.now):
                tx.remove_quarantine(key)
            tx.put_all((), sweep_look.record_facts(tx, context, looks))
    if verdict.stale:
        raise old_database(verdict.stale)
    return verdict


def braked(reasons: tuple[str, ...]) -> FaultsFound:
    """The error for a round that must be asked about."""
    return FaultsFound(
        "E-BRAKE",
        "the sweep stopped before it changed anything",
        cause="; ".join(reasons),
        hint="if that is the truth: tashictl sweep --yes; what it would do: tashictl sweep "
        "--dry-run",
    )
