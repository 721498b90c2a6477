"""`tashictl sweep --watch`: a round again and again, with the cluster at a glance, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tashictl.cli import attention, options, output, status, sweep_text
from tashictl.errors import Conflict, FaultsFound, TashiError

if TYPE_CHECKING:
    from tashictl.cli.desk import Desk
    from tashictl.ops.ports import World
    from tashictl.ops.sweep import Round

_CLEAR = "\x1b[H\x1b[2J"
_PASSING = (Conflict, FaultsFound)  # another sweep runs, or the brake: the next round may do


def run(at: Desk, world: World, every_s: float, sweep: Callable[[], Round]) -> int:
    """Sweep and show, each `every_s` from the beginning of the one before; ends with Ctrl-C."""
    face = at.face
    clear = _CLEAR if face.streams.stdout.isatty() else ""
    while True:
        begun_s = world.clock.monotonic_s()
        lines = _round(at, sweep)
        screen = "".join(f"{line}\n" for line in [*_glance(at), "", *lines])
        output.write(face, clear + screen)
        options.flush(face.streams)
        world.clock.sleep(max(0.0, every_s - (world.clock.monotonic_s() - begun_s)))


def _round(at: Desk, sweep: Callable[[], Round]) -> list[str]:
    try:
        done = sweep()
    except _PASSING as error:
        return _said(error)
    found = sweep_text.lines(at.face, done, sweep_text.open_problems(done), quiet=False)
    return found or [sweep_text.well(done)]


def _said(error: TashiError) -> list[str]:
    return [f"! {error.what}: {error.cause}", f"    {error.hint}"]


def _glance(at: Desk) -> list[str]:
    picture: attention.Picture = status.looked(at)
    streams = at.face.streams
    width = options.width_of(streams.stdout, streams.env)
    paint = options.paint_for(streams.stdout, at.face.color, streams.env)
    return status.lines(picture, width, paint)
