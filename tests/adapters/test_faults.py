import os
import signal

import pytest

from tashictl.adapters import faults
from tashictl.adapters.faults import FaultPoint, NoFaults
from tashictl.errors import InvalidRequest


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that were sent; none reaches a process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def point(text: str) -> FaultPoint:
    found = faults.from_environment({faults.VARIABLE: text})
    assert isinstance(found, FaultPoint)
    return found


def reach(at: FaultPoint, *moments: tuple[str, str]) -> int:
    """How often the connection was cut."""
    cuts: list[None] = []
    for step, moment in moments:
        at.reached(step, moment, lambda: cuts.append(None))
    return len(cuts)


@pytest.mark.parametrize("environ", [{}, {faults.VARIABLE: ""}, {"OTHER": "x"}])
def test_without_the_variable_nothing_happens(environ: dict[str, str]) -> None:
    none = faults.from_environment(environ)

    assert isinstance(none, NoFaults)
    assert none.split_at is None
    none.reached("StartQemu", "sent", lambda: pytest.fail("it was cut"))


def test_a_cut_comes_at_its_step_and_moment_and_only_once(signals: list[tuple[int, int]]) -> None:
    at = point("StartQemu:sent:cut")

    assert at.split_at == "StartQemu"
    assert reach(at, ("StartQemu", "before"), ("AddTap", "sent")) == 0
    assert reach(at, ("StartQemu", "sent"), ("StartQemu", "sent")) == 1
    assert signals == []


def test_the_nth_time_is_counted_from_one(signals: list[tuple[int, int]]) -> None:
    at = point("AddTap:after:cut:3")

    assert [reach(at, ("AddTap", "after")) for _ in range(4)] == [0, 0, 1, 0]
    assert signals == []


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)])
def test_kill_and_stop_reach_this_very_process(
    signals: list[tuple[int, int]], action: str, number: int
) -> None:
    assert reach(point(f"AwaitQmp:before:{action}"), ("AwaitQmp", "before")) == 0

    assert signals == [(os.getpid(), number)]


@pytest.mark.parametrize(
    "text",
    [
        "StartQemu",
        "StartQemu:sent",
        "StartQemu:later:kill",
        "StartQemu:sent:explode",
        "StartQemu:sent:kill:x",
        "StartQemu:sent:kill:-1",
        "StartQemu:sent:kill:²",
        "StartQemu:sent:kill:1:2",
        ":",
    ],
)
def test_a_fault_point_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        faults.from_environment({faults.VARIABLE: text})

    assert caught.value.code == "E-FAULT"
    assert repr(text) in caught.value.what
