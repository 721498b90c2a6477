"""`tashictl host remove`: hosts that leave the cluster, and what the inventory says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from tashictl.adapters import inventory_files
from tashictl.cli import ask, desk, dry, options, output, plans, wiring
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.cli.progress import Progress
from tashictl.cli.tables import Column, Table
from tashictl.errors import (
    Interrupted,
    InvalidRequest,
    NotPermitted,
    PartialResult,
    TashiError,
    Unreachable,
    raise_all,
)
from tashictl.model import names
from tashictl.ops import host_remove as ops
from tashictl.planning import inventory as plan
from tashictl.planning import release

if TYPE_CHECKING:
    from tashictl.model.state import State
    from tashictl.ops.context import Context
    from tashictl.ops.ports import World

_KEYS = ("host", "added", "forced", "images", "left", "inventory_removed", "inventory_left")


class Gone(Struct, frozen=True, kw_only=True):
    """A host that was removed: `listing` is the inventory's file that went with it, if one did.

    `added` is false for one that the inventory alone knew.
    """

    host: str
    added: bool
    forced: bool
    images: tuple[str, ...]
    left: str
    listing: str | None
    still_in: tuple[str, ...]


def run(face: Globals, patterns: Sequence[str], force: bool) -> int:
    """Remove hosts, each with a result of its own."""
    output.check_choice(face, _table())
    at = desk.sit_down(face)
    state = at.state()
    context = wiring.context_of(at)
    chosen = _chosen(state, context, patterns)
    with wiring.world_of(at) as world:
        if face.dry_run:
            _dry(face, world, context, chosen)
            return 0
        refused = _refusals(world, context, state, chosen)
        if len(refused) == len(chosen):
            raise_all(refused.values())
        ask.confirm(face, _question(state, context, [n for n in chosen if n not in refused], force))
        gone: list[Gone] = []
        for name in chosen:
            if name in refused:
                continue
            try:
                gone.append(_one(at, world, context, name, force))
                output.say(face, _line(gone[-1]))
            except Interrupted:
                raise
            except TashiError as error:
                refused[name] = error
    return _told(face, gone, [refused[n] for n in chosen if n in refused])


def _chosen(state: State, context: Context, patterns: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys((*(h.name for h in context.inventory.hosts), *state.hosts)))
    found: list[str] = []
    for pattern in patterns:
        record = state.host_named(pattern)
        some = [record.name] if record is not None else names.select(pattern, known)
        if not some:
            raise ops.no_host(pattern)
        found += some
    return list(dict.fromkeys(found))


def _refusals(
    world: World, context: Context, state: State, chosen: Sequence[str]
) -> dict[str, TashiError]:
    found: dict[str, TashiError] = {}
    for name in chosen:
        try:
            ops.refuse(world, context, state, name)
        except TashiError as error:
            found[name] = error
    return found


def _question(state: State, context: Context, chosen: Sequence[str], force: bool) -> str:
    lost = _lost(state, context, chosen)
    what = f"remove {', '.join(chosen)}: the images there are deleted"
    if lost:
        what += f"; {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} on no other host"
    if force:
        what += "; one that is not reached is only forgotten, what is on it stays there"
    return what


def _lost(state: State, context: Context, chosen: Sequence[str]) -> list[str]:
    """The images that no other host has."""
    lying = {i for name in chosen for i in release.images_of(state, name, context.settings)}
    return sorted(i for i in lying if set(state.images[i].hosts) <= set(chosen))


def _one(at: Desk, world: World, context: Context, name: str, force: bool) -> Gone:
    removed = ops.Removed(host=name)
    added = name in world.store.read().hosts
    if added:
        try:
            removed = ops.remove(world, context, name)
        except (Unreachable, InvalidRequest, NotPermitted) as error:
            if not force or error.code in ("E-OLD-DATABASE", "E-INTERRUPTED"):
                raise _with_hint(error, name) from error
            removed = ops.forget(world, context, name)
            Progress(at.face).warn(f"{name}: not asked ({error.what}); it may still hold")
            Progress(at.face).note(removed.said)
    else:
        world.trust.forget(name)
    listing, still_in = unlist(at, name)
    return Gone(
        host=name,
        added=added,
        forced=removed.forced,
        images=removed.images,
        left=removed.said,
        listing=listing,
        still_in=still_in,
    )


def _with_hint(error: TashiError, name: str) -> TashiError:
    if not isinstance(error, NotPermitted) and not error.leftovers:
        error.hint += (
            f"\nnothing was forgotten; if it never comes back: tashictl host remove {name} --force"
        )
    return error


def unlist(at: Desk, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Take a host out of the inventory where `host add` has written a file for just it.

    Returns that file, and the files that list the host still.
    """
    path = str(options.inventory_path(at.face)) if at.face.inventory else f"{at.folder}/inventory"
    uid = os.getuid()
    sources = inventory_files.read(path, uid) if at.face.inventory else ()
    if not at.face.inventory:
        sources = inventory_files.read_default(at.folder, uid)
    own = os.path.join(path, f"{name}.yaml")  # noqa: PTH118
    removed = None
    for source in sources:
        if source[0] == own and plan.is_own_file(name, source):
            removed = own if inventory_files.remove_host(own, source[1]) else None
    left = plan.listing_files(name, [s for s in sources if s[0] != removed])
    return removed, left


def _line(gone: Gone) -> str:
    said = f"{gone.host} is {'forgotten' if gone.forced else 'removed'}"
    if not gone.added:
        said = f"{gone.host} was not added"
    if gone.listing:
        said += f", and {gone.listing}"
    if gone.left and not gone.forced:
        said += f"; left there: {'; '.join(gone.left.splitlines())}"
    if gone.still_in:
        said += f"; {', '.join(gone.still_in)} still lists it"
    return said


def _told(face: Globals, gone: Sequence[Gone], failed: Sequence[TashiError]) -> int:
    if not face.for_people:
        output.emit_list(face, gone, _table())
    if failed and gone:
        raise PartialResult(
            "E-PARTIAL",
            f"{len(failed)} of {len(failed) + len(gone)} hosts are not removed",
            cause="\n".join(str(error) for error in failed),
            hint="\n".join(dict.fromkeys(e.hint for e in failed if e.hint)),
            leftovers=[line for error in failed for line in error.leftovers],
        )
    raise_all(failed)
    return 0


def _table() -> Table[Gone]:
    return Table(
        things="hosts",
        keys=_KEYS,
        record=lambda g: {
            "host": g.host,
            "added": g.added,
            "forced": g.forced,
            "images": list(g.images),
            "left": g.left or None,
            "inventory_removed": g.listing,
            "inventory_left": list(g.still_in),
        },
        name=lambda g: g.host,
        order=lambda g: g.host,
        columns=(Column(key="host", header="HOST", show=lambda g: g.host),),
    )


def _dry(face: Globals, world: World, context: Context, chosen: Sequence[str]) -> None:
    """Print what would be done; raises what the real run would raise before it asks a host."""
    state = world.store.read()
    steps: list[plans.Planned] = []
    raise_all(_refusals(world, context, state, chosen).values())
    for name in chosen:
        if name in state.hosts:
            made = ops.plan_of(world, context, state, name)
            operation = state.meta.last_operation_id + 1
            steps += dry.planned(face, world, context, made, operation, len(steps))
    lost = _lost(state, context, chosen)
    title = f"would remove {', '.join(chosen)}"
    if lost:
        title += f"; on no other host: {', '.join(lost)}"
    plans.emit_plan(face, title, steps)
