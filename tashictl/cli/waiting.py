"""`--cloud-init`, `--ssh-key`, `--wait` and `--timeout` of `vm create`: files read, guests awaited.

Only the face opens files that the caller names; what is behind it gets their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, structs

from tashictl.cli import progress
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, TashiError, raise_all
from tashictl.model.vm import Vm

if TYPE_CHECKING:
    from tashictl.model.host import HostConfig
    from tashictl.ops.context import Context
    from tashictl.ops.many import Result, Watcher
    from tashictl.ops.ports import World
    from tashictl.ops.wait import Found

_SSH_PORT = 22
_SEED = (
    click.option(
        "--cloud-init", "cloud_init", metavar="FILE", help="User-data for the guest's cloud-init."
    ),
    click.option(
        "--ssh-key", "ssh_keys", multiple=True, metavar="FILE", help="Public keys to let in."
    ),
)
_WAIT = (
    click.option(
        "--wait",
        type=click.Choice(["running", "ip", "ssh"]),
        default="running",
        show_default=True,
        help="Return when QEMU runs, an address answers, or SSH does.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.IntRange(min=1),
        default=None,
        metavar="S",
        help="Seconds to wait for ip or ssh [300].",
    ),
)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that gives a guest its seed and waits for it."""
    for option in reversed(_SEED + _WAIT):
        function = option(function)
    return function


def wait_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that waits for a guest that was made before."""
    for option in reversed(_WAIT):
        function = option(function)
    return function


def contents(
    face: Globals, cloud_init: str | None, ssh_keys: tuple[str, ...]
) -> tuple[bytes | None, tuple[bytes, ...]]:
    """The bytes of the files; what looks misspelt in a cloud-config is warned of.

    Raises all that cannot be read, at once.
    """
    from pathlib import Path  # costs more than a millisecond of start-up

    from tashictl.planning import sshkeys, userdata

    failed: list[TashiError] = []

    def read(option: str, path: str, most: int) -> bytes:
        try:
            with Path(path).open("rb") as file:
                return file.read(most + 1)  # what is more is refused, whatever it is
        except OSError as error:
            cause = error.strerror or str(error)
            failed.append(InvalidRequest("E-FILE", f"{option} {path} cannot be read", cause=cause))
            return b""

    data = None if cloud_init is None else read("--cloud-init", cloud_init, userdata.MAX_BYTES)
    keys = tuple(read("--ssh-key", path, sshkeys.MAX_BYTES) for path in ssh_keys)
    raise_all(failed)
    if data is not None and not userdata.problems(data):
        for line in userdata.warnings(data):
            progress.Progress(face).warn(line)
    return data, keys


class Patience(Struct, frozen=True):
    """What is waited for, and how many seconds."""

    goal: str
    timeout_s: int | None


def until(world: World, context: Context, vm: Vm, patience: Patience) -> Found | None:
    """Wait for a VM that runs, as `--wait` says; None where there is nothing to wait for.

    Raises PartialResult E-WAIT when the time is over, Interrupted after Ctrl-C.
    """
    from tashictl.ops import wait as ops

    goal = ops.Goal(patience.goal)
    if vm.host is None or goal is ops.Goal.RUNNING:
        return None
    found = ops.until(world, context, vm, goal, patience.timeout_s or ops.DEFAULT_TIMEOUT_S)
    if goal is ops.Goal.SSH:
        host = context.config(found.through) if found.through is not None else None
        world.report.note(_how(found, host))
    return found


def for_all(
    world: World,
    context: Context,
    results: Sequence[Result],
    patience: Patience,
    watcher: Watcher,
) -> list[Result]:
    """Wait for each VM that was created and runs; who does not answer in time has E-WAIT beside it.

    Ctrl-C ends all waits: the VMs run on.
    """
    from tashictl.ops import many
    from tashictl.ops import wait as ops

    goal = ops.Goal(patience.goal)
    up = [r.after for r in results if r.error is None and r.after is not None and r.after.host]
    if goal is ops.Goal.RUNNING or not up:
        return list(results)
    timeout_s = patience.timeout_s or ops.DEFAULT_TIMEOUT_S

    def one(own: World, vm: Vm) -> Vm:
        ops.until(own, context, vm, goal, timeout_s)
        return vm

    waited = {r.before.id: r for r in many.run_each(world, context, up, one, watcher)}
    return [
        structs.replace(r, error=w.error, seconds=r.seconds + w.seconds)
        if (w := waited.get(r.before.id)) is not None
        else r
        for r in results
    ]


def _how(found: Found, host: HostConfig | None) -> str:
    """How an operator reaches the guest: by the way that was seen to work."""
    port = "" if found.port == _SSH_PORT else f"-p {found.port} "
    guest = f"{port}root@{found.address}"
    if host is None or host.transport == "local":
        return f"ssh {guest}   (root, or the user that the image is made for)"
    jump = f"{host.user}@{host.address}" if host.user else host.address
    jump += f":{host.port}" if host.port not in (None, _SSH_PORT) else ""
    return f"ssh -J {jump} {guest}   (it was reached through {host.name}, not from here)"
