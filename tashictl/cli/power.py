"""`tashictl vm start|pause|unpause|reset|shutdown`: the power of VMs that were created."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tashictl.cli import bulk, commands, waiting
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest
from tashictl.model import units
from tashictl.model.vm import OperationKind

_MAX_S = 24 * 3600


def register(noun: commands.Noun) -> None:
    """Add the verbs to `vm`."""

    @noun.changes("start")
    @bulk.targets
    @waiting.wait_options
    @click.pass_obj
    def start(
        face: Globals,
        names: tuple[str, ...],
        basename: str | None,
        wait: str,
        timeout_s: int | None,
    ) -> int:
        """Start VMs that have exited again, on their hosts and with the disks that they have."""
        return _start(face, names, basename, waiting.Patience(wait, timeout_s))

    _add(noun, OperationKind.PAUSE, "Stop the VMs' processors; their memory stays.")
    _add(noun, OperationKind.UNPAUSE, "Let paused VMs go on.")
    _add(noun, OperationKind.RESET, "Press the reset button: what guests did not write is lost.")

    @noun.changes("shutdown")
    @bulk.targets
    @click.option(
        "--timeout",
        default="120",
        show_default=True,
        metavar="S",
        help="How long a guest may take; seconds, or with m h.",
    )
    @click.pass_obj
    def shutdown(face: Globals, names: tuple[str, ...], basename: str | None, timeout: str) -> int:
        """Press the power button until the guest goes, then remove the VM with its overlays.

        The button is pressed again every 5 seconds: a guest that boots does not hear it at first.
        One that ignores it goes on; the error says what to do.
        """
        return _act(face, names, basename, OperationKind.SHUTDOWN, _seconds(timeout))


def _add(noun: commands.Noun, kind: OperationKind, about: str) -> None:
    def verb(face: Globals, names: tuple[str, ...], basename: str | None) -> int:
        return _act(face, names, basename, kind, 0)

    verb.__doc__ = about
    decorated: Callable[..., Any] = bulk.targets(click.pass_obj(verb))
    noun.changes(kind.value)(decorated)


def _act(
    face: Globals,
    names: tuple[str, ...],
    basename: str | None,
    kind: OperationKind,
    timeout_s: int,
) -> int:
    from tashictl.cli import dry
    from tashictl.ops import power

    with bulk.opened(face, names, basename) as job:
        if face.dry_run:
            return dry.power(face, job, kind, timeout_s)
        done = {OperationKind.SHUTDOWN: "shut down", OperationKind.RESET: "reset"}.get(kind, "")
        return bulk.run(
            job,
            bulk.Verb(name=kind.value, done=done),
            lambda world, vm: power.act(world, job.context, str(vm.id), kind, timeout_s),
        )


def _start(
    face: Globals, names: tuple[str, ...], basename: str | None, patience: waiting.Patience
) -> int:
    from tashictl.cli import dry
    from tashictl.ops import starting

    with bulk.opened(face, names, basename) as job:
        if face.dry_run:
            return dry.start(face, job)
        return bulk.run(
            job,
            bulk.Verb(name="start"),
            lambda world, vm: starting.start_again(world, job.context, str(vm.id)),
            patience,
        )


def _seconds(text: str) -> int:
    try:
        value = int(units.seconds(text))
    except ValueError as error:
        raise InvalidRequest("E-TIMEOUT", f"--timeout: {error}") from error
    if not 1 <= value <= _MAX_S:
        raise InvalidRequest("E-TIMEOUT", f"--timeout {text}: 1 s to 24 h")
    return value
