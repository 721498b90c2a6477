"""QEMU's run states (qapi/run-state.json, QEMU 7.2): what each is to us, and which are trouble."""

from __future__ import annotations

from collections.abc import Mapping

from tashictl.model.vm import Seen
from tashictl.planning.verdict import Dialogue

# A guest that sleeps (S3) runs for us; every other state means that its processors stand still.
_RUNS = ("running", "suspended")
TROUBLE = {
    "io-error": "a disk refused it (full, or gone)",
    "internal-error": "its QEMU met a fault of its own",
    "guest-panicked": "its kernel panicked",
    "watchdog": "its watchdog fired",
}


def seen(dialogues: Mapping[str, Dialogue]) -> dict[str, Seen]:
    """Running or paused, by uuid, of those that answered."""
    return {
        uuid: Seen.RUNNING if said.status in _RUNS else Seen.PAUSED
        for uuid, said in dialogues.items()
        if said.status is not None
    }
