"""What a configuration means that nobody wrote: settings that hold each other, told as notes."""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.model.settings import Merged, Note, Weight


def of(merged: Merged) -> tuple[Note, ...]:
    """The notes of the layers, and what follows from the settings together."""
    return (*merged.notes, *_decay(merged), *_timeout(merged))


def _decay(merged: Merged) -> Iterator[Note]:
    settings = merged.settings
    asked_s, held_s = settings.cluster.allow_decayed_s, settings.decayed_after_s
    if held_s <= asked_s:
        return
    every_s = settings.tashictl.sweep_interval_s
    yield Note(
        weight=Weight.NOTE,
        text=f"allowDecayed is {asked_s:g} s, a sweep is run every {every_s:g} s: a picture counts "
        f"as decayed after {held_s:g} s, which is 2.5 sweeps",
        where=merged.where("ClusterManagerService", "allowDecayed"),
    )


def _timeout(merged: Merged) -> Iterator[Note]:
    ours = merged.settings.tashictl
    least_s = ours.connect_timeout_s + 5
    if ours.sweep_timeout_s < least_s:
        yield Note(
            weight=Weight.WARNING,
            text=f"sweepTimeout is {ours.sweep_timeout_s:g} s: a host alone may need {least_s:g} s "
            "(connectTimeout and a look)",
            where=merged.where("Tashictl", "sweepTimeout"),
        )
