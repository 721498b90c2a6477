"""What a sweep makes of what QEMU says of itself."""

from __future__ import annotations

import pytest

from tashictl.model.vm import Seen, Wanted
from tashictl.planning import reconcile
from tashictl.planning.verdict import Dialogue
from tests.planning.sweep_cases import scene, vm


@pytest.mark.parametrize(
    ("status", "wanted", "problem"),
    [
        ("running", Wanted.RUNNING, None),
        ("suspended", Wanted.RUNNING, None),
        ("paused", Wanted.PAUSED, None),
        ("paused", Wanted.RUNNING, "vm-paused:web1"),
        ("io-error", Wanted.RUNNING, "vm-stopped:web1"),
        ("guest-panicked", Wanted.RUNNING, "vm-stopped:web1"),
        (None, Wanted.RUNNING, "vm-silent:web1"),
    ],
)
def test_what_qemu_says_of_itself_is_believed_and_told(
    status: str | None, wanted: Wanted, problem: str | None
) -> None:
    one = vm(1, wanted=wanted)
    said = {one.uuid: Dialogue(status=status, cause="nothing came")}

    verdict = reconcile.judge(scene([one], {}, dialogues=said))

    still = status not in ("running", "suspended", None)
    assert verdict.vms[0].observed.what is (Seen.PAUSED if still else Seen.RUNNING)
    assert [p.id for p in verdict.problems] == ([problem] if problem else [])
