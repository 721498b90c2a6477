"""Images: bring them onto the hosts, checked, so that every host can start from them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import (
    Conflict,
    InvalidRequest,
    StepFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model import units
from tashictl.model.host import HostConfig
from tashictl.model.image import Image
from tashictl.model.operation import Ended, Status, StepEnded
from tashictl.model.script import Reply
from tashictl.model.state import State
from tashictl.model.steps import PutImage
from tashictl.model.vm import OperationKind
from tashictl.ops import answers, finish
from tashictl.ops.begin import Opening, new_operation, open_operation
from tashictl.ops.context import Context, iso
from tashictl.ops.execute import Execution
from tashictl.ops.host_remove import no_host
from tashictl.ops.ports import World
from tashictl.planning import images

BYTES_PER_S = 1_000_000  # the slowest stream that is waited for


class Content(Struct, frozen=True, kw_only=True):
    """An image file's bytes and what was read of them."""

    source: BinaryIO
    image: Image


class Imported(Struct, frozen=True, kw_only=True):
    """What became of an import on each host."""

    image: Image
    failed: tuple[tuple[str, TashiError], ...] = ()


def put(world: World, context: Context, content: Content, hosts: Iterable[str]) -> Imported:
    """Bring an image onto `hosts` (one where the prefix is shared); done twice is done once.

    Each host's file is streamed beside its place, checked by sha256 on the host, then named.
    Raises Conflict when the name is taken by other content.
    """
    image = content.image
    targets = [context.config(name) for name in hosts]
    if not targets:
        raise InvalidRequest("E-NO-HOST", "no host to import to", hint="tashictl host add NAME")
    if context.settings.vfs_shared:
        targets = targets[:1]
    with ExitStack() as stack:
        stack.enter_context(world.locks.image(image.name))
        known = known_as(world.store.read(), image)
        execution = _begin(world, context, image, targets, stack)
        failed = []
        for place, host in enumerate(targets):
            try:
                with world.locks.host_shared(host.name):
                    if host.name not in world.store.read().hosts:
                        raise no_host(host.name)  # removed meanwhile: a script would claim it anew
                    _one_host(execution, content, host, 3 * place)
            except TashiError as error:
                failed.append((host.name, error))
                _record_failure(execution, host.name, error)
                continue
            known = _record(execution, image, host.name)
        status = Status.FAILED if failed else Status.DONE
        execution.journal.note(Ended(at=iso(world.clock.now()), status=status))
    return Imported(image=known or image, failed=tuple(failed))


def known_as(state: State, image: Image) -> Image | None:
    """The image of that name, if there is one; raises Conflict when it has other content."""
    known = state.images.get(image.name)
    if known is not None and not _same(known, image):
        raise Conflict(
            "E-EXISTS",
            f"there is an image {image.name} with other content",
            hint="--name OTHER",
        )
    return known


def _same(known: Image, image: Image) -> bool:
    if known.sha256 is None:
        return known.size_bytes == image.size_bytes
    return known.sha256 == image.sha256


def _begin(
    world: World, context: Context, image: Image, targets: list[HostConfig], stack: ExitStack
) -> Execution:
    plan = tuple(
        step for host in targets for step in images.import_steps(image, host.name, context.settings)
    )
    with world.store.transaction() as tx:
        operation = new_operation(world, tx, OperationKind.IMAGE_IMPORT)
        opening = Opening(operation=operation, target=image.name, plan=plan)
        return open_operation(world, context, tx, opening, stack)


def _one_host(execution: Execution, content: Content, host: HostConfig, first: int) -> None:
    """Three steps of the plan, from `first`: make the folder, stream, check and name."""
    world, image, plan = execution.world, content.image, execution.journal.view.header.plan
    stream = plan[first + 1]
    execution.part(plan, range(first, first + 1))
    assert isinstance(stream, PutImage)
    started_s = world.clock.monotonic_s()
    content.source.seek(0)
    limit_s = execution.context.settings.tashictl.connect_timeout_s + 60
    deadline_s = started_s + limit_s + image.size_bytes / BYTES_PER_S
    execution.begins(plan, first + 1)
    reply = world.remote.put(host, content.source, stream.path, image.size_bytes, deadline_s)
    if reply.fault is not None or reply.rc != 0:
        raise _not_put(image, stream, reply)
    execution.journal.note(
        StepEnded(
            at=iso(world.clock.now()),
            attempt=execution.attempt,
            step=first + 1,
            rc=0,
            seconds=round(world.clock.monotonic_s() - started_s, 1),
        )
    )
    execution.tell(stream, {}, "")
    execution.part(plan, range(first + 2, first + 3))


def _not_put(image: Image, stream: PutImage, reply: Reply) -> TashiError:
    """The error for a stream that did not arrive whole."""
    folder = stream.path.rpartition("/")[0]
    if reply.fault is not None:
        error = answers.unreachable(stream.host, reply)
        if not reply.sent:
            return error
        return Uncertain(
            error.code,
            f"{image.name} did not reach {stream.host} whole",
            cause=f"{error.cause}; what arrived is kept in {stream.path}",
            hint="repeat the import: it goes on where it was",
            host=stream.host,
        )
    failed = answers.failed("PutImage", stream.host, reply)
    if "no space left" not in failed.cause.lower():
        return failed
    return StepFailed(
        "E-NO-SPACE",
        f"no room for {image.name} in {folder} on {stream.host}",
        cause=f"it takes {units.show_bytes(image.size_bytes)}; {failed.cause}",
        hint=f"free some there (df -h {folder}), then repeat the import; "
        "what had been sent was removed",
        host=stream.host,
    )


def _record(execution: Execution, image: Image, host: str) -> Image:
    world, shared = execution.world, execution.context.settings.vfs_shared
    with world.store.transaction() as tx:
        before = tx.state.images.get(image.name)
        there = set(before.hosts if before else ()) | {host}
        if shared:
            there |= set(tx.state.hosts)
        known = replace(image, hosts=tuple(sorted(there)), shared=shared)
        tx.put_image(known)
        finish.met(tx, host, execution.ids.operation, iso(world.clock.now()))
    return known


def _record_failure(execution: Execution, host: str, error: TashiError) -> None:
    world, operation = execution.world, execution.ids.operation
    with world.store.transaction() as tx:
        if isinstance(error, Unreachable):
            finish.missed(tx, host, operation)
        elif not isinstance(error, Conflict):  # a lock of this side: the host was not asked
            finish.met(tx, host, operation, iso(world.clock.now()))
