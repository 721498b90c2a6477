"""What waits for a server of names or addresses: it is done as soon as the server can be had."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import Conflict, TashiError, Unreachable
from tashictl.model.audit import Change
from tashictl.model.event import Problem
from tashictl.model.naming import Deferred, DnsEntry, owner_of
from tashictl.model.state import State
from tashictl.model.vm import Vm
from tashictl.ops import naming, naming_many
from tashictl.ops.context import Context
from tashictl.ops.ports import World


class Worked(Struct, frozen=True, kw_only=True):
    """Work that was tried: done, or why it waits on."""

    work: Deferred
    error: TashiError | None = None


def work(world: World, context: Context, until_s: float) -> tuple[Worked, ...]:
    """Try all that waits, removals first; nothing is begun after `until_s` (monotonic).

    A server that is not reached is not asked again in the same round.
    """
    waiting = tuple(world.store.read().deferred.values())
    removals = [w for w in waiting if not w.add]
    done: list[Worked] = []
    down: dict[str, TashiError] = {}
    if removals and world.clock.monotonic_s() < until_s:
        done += _told(world, _remove(world, context, removals, down))
    for one in (w for w in waiting if w.add):
        if world.clock.monotonic_s() < until_s:
            done += _add(world, context, one, down)
    return tuple(done)


def problems(state: State) -> tuple[Problem, ...]:
    """What still waits, one problem for each server."""
    found = []
    for server in dict.fromkeys(key.partition("/")[0] for key in state.deferred):
        some = [one for key, one in state.deferred.items() if key.startswith(f"{server}/")]
        more = f", and {len(some) - 1} more" if len(some) > 1 else ""
        found.append(
            Problem(
                id=f"deferred:{server}",
                text=f"{naming.named(some[0].entry)}{more}: waits for its server: {some[-1].why}",
                hint="tashictl net verify, then tashictl sweep",
            )
        )
    return tuple(found)


def _server(one: Deferred) -> str:
    return "dns" if isinstance(one.entry, DnsEntry) else one.entry.driver


def _remove(
    world: World, context: Context, some: list[Deferred], down: dict[str, TashiError]
) -> list[Worked]:
    """Nobody else adds what is removed here: its VM is gone, and a mark names one VM only."""
    wishes = [Change(entry=one.entry, add=False) for one in some]
    errors = naming_many.change_all(world, context, wishes)
    found = [Worked(work=one, error=errors[wish]) for one, wish in zip(some, wishes, strict=True)]
    _note_down(found, down)
    return found


def _add(
    world: World, context: Context, one: Deferred, down: dict[str, TashiError]
) -> list[Worked]:
    """Register, holding the VM: a destroy that begins now waits, and then removes it."""
    vm = _owner(world.store.read(), one)
    if vm is None:
        return _told(world, [Worked(work=one)])  # its VM is gone, and took all back with it
    known = down.get(_server(one))
    try:
        with world.locks.vm(vm.id):
            state = world.store.read()
            if state.deferred.get(one.key) != one or _owner(state, one) is None:
                return []
            error = known or naming.change(world, context, one.entry, add=True)
            found = [Worked(work=one, error=error)]
            _note_down(found, down)
            return _told(world, found)
    except Conflict:
        return []  # somebody works on it


def _owner(state: State, one: Deferred) -> Vm | None:
    owner = owner_of(one.entry.owner)
    return next((v for v in state.vms.values() if owner and v.uuid == owner.uuid), None)


def _note_down(found: Iterable[Worked], down: dict[str, TashiError]) -> None:
    for one in found:
        if isinstance(one.error, Unreachable):
            down.setdefault(_server(one.work), one.error)


def _told(world: World, found: list[Worked]) -> list[Worked]:
    """Write down what came of some work, unless something newer waits in its place."""
    with world.store.transaction() as tx:
        for one in found:
            if tx.state.deferred.get(one.work.key) != one.work:
                continue
            if one.error is None:
                tx.remove_deferred(one.work.key)
            else:
                why = naming.line(one.error)
                tx.put_deferred(replace(one.work, why=why, tries=one.work.tries + 1))
    return found
