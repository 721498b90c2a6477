"""The replica of the state goes to a few hosts, so that a lost state file can be rebuilt.

It has no journal and takes no operation: nothing is ever taken back, a second copy of any script
does what the first did, and a newer replica is never replaced. What a death leaves is a part file,
which the next one overwrites.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.sighting import Sighting
from tashictl.model.state import State
from tashictl.model.steps import Step
from tashictl.ops import answers, guarded
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import replica

_BYTES_PER_S = 1_000_000  # the slowest stream that is waited for
_SLACK_S = 60


class _Parcel(Struct, frozen=True, kw_only=True):
    state: State
    data: bytes


class Spread(Struct, frozen=True, kw_only=True):
    """How many hosts got the replica, and which failed, with the reason."""

    done: int = 0
    failed: dict[str, TashiError] = {}


def spread(world: World, context: Context, sightings: Mapping[str, Sighting]) -> Spread:
    """Bring the replica to its keepers, where another one lies.

    `sightings` are the hosts that answered just now. A host that fails is left for the next time.
    A state that is known to be an old copy is not spread.
    """
    state = world.store.read()
    if state.meta.stale:
        return Spread()
    digest = replica.digest(state)
    kept = replica.keepers(h for h in context.inventory.hosts if _may_keep(h, state, sightings))
    lacking = [name for name in kept if not _has(sightings[name], digest)]
    if not lacking:
        return Spread()
    parcel = _Parcel(state=state, data=replica.content(state))
    done, failed = 0, {}
    for name in lacking:
        try:
            _bring(world, context, parcel, context.config(name), sightings[name].clock_offset_s)
            done += 1
        except TashiError as error:
            failed[name] = error
    return Spread(done=done, failed=failed)


def _may_keep(host: HostConfig, state: State, sightings: Mapping[str, Sighting]) -> bool:
    seen = sightings.get(host.name)
    if seen is None or seen.claim is None or seen.busy_s is not None or seen.hidden:
        return False
    return host.name in state.hosts and seen.claim[0] == state.meta.cluster


def _has(seen: Sighting, digest: str) -> bool:
    return seen.replica is not None and seen.replica[2] == digest


def _bring(
    world: World, context: Context, parcel: _Parcel, host: HostConfig, offset_s: float
) -> None:
    steps = replica.copies(parcel.state, parcel.data, host.name, context.settings)
    with world.locks.host_shared(host.name):  # it is not removed meanwhile
        _scripted(world, context, host, steps.folder, parcel, offset_s)
        _reached(world, host, steps.stream, "before")
        size = len(parcel.data)
        limit_s = context.settings.tashictl.connect_timeout_s + _SLACK_S + size / _BYTES_PER_S
        deadline_s = world.clock.monotonic_s() + limit_s
        reply = world.remote.put(host, BytesIO(parcel.data), steps.stream.path, size, deadline_s)
        if reply.fault is not None:
            raise (
                answers.no_answer(host.name, reply)
                if reply.sent
                else answers.unreachable(host.name, reply)
            )
        if reply.rc != 0:
            raise answers.failed(steps.stream.name, host.name, reply)
        _reached(world, host, steps.stream, "after")
        _scripted(world, context, host, steps.place, parcel, offset_s)


def _scripted(
    world: World,
    context: Context,
    host: HostConfig,
    step: Step,
    parcel: _Parcel,
    offset_s: float,
) -> None:
    _reached(world, host, step, "before")
    terms = guarded.Terms(epoch=parcel.state.meta.epoch, offset_s=offset_s)
    script = guarded.make(world, context, (step,), terms)
    guarded.run(world, context, host, script)
    _reached(world, host, step, "after")


def _reached(world: World, host: HostConfig, step: Step, moment: str) -> None:
    world.faults.reached(step.name, moment, lambda: world.remote.drop(host))
