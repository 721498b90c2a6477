"""Ganglia's gmetric: what it is told, and how a failure is not repeated at every sweep."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tashictl.adapters.ganglia import NOTE, Gmetric
from tashictl.errors import OperationFailed
from tashictl.planning.publish import Value

VALUES = (
    Value(name="cpu_busy", value=0.25, unit="", host="node1"),
    Value(name="vm_web1_rss", value=1234.5, unit="MB", host=""),
)


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


class Program:
    """A gmetric that notes its arguments and answers with `outcome`."""

    def __init__(self, outcome: int | BaseException = 0, stderr: str = "") -> None:
        self.outcome = outcome
        self.stderr = stderr
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(argv))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return subprocess.CompletedProcess(argv, self.outcome, "", self.stderr)


def gmetric(folder: Path, program: Program, clock: Clock) -> Gmetric:
    addresses = {"node1": "10.77.0.1"}
    return Gmetric(str(folder), clock, dmax_s=60, retry_s=3600, addresses=addresses, run=program)


def test_each_value_is_one_call_with_its_unit_and_its_time_to_live(tmp_path: Path) -> None:
    program = Program()

    assert gmetric(tmp_path, program, Clock()).publish(VALUES) is None
    usual = ["-t", "double", "-u"]
    assert program.calls == [
        [
            "gmetric",
            "-n",
            "cpu_busy",
            "-v",
            "0.25",
            *usual,
            "",
            "-d",
            "60",
            "-S",
            "10.77.0.1:node1",
        ],
        ["gmetric", "-n", "vm_web1_rss", "-v", "1234.5", *usual, "MB", "-d", "60"],
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (Program(1, "noise\nno multicast\n"), "no multicast"),
        (Program(3), "exit code 3"),
        (Program(subprocess.TimeoutExpired("gmetric", 10)), "no end within 10 s"),
        (Program(PermissionError(13, "Permission denied")), "Permission denied"),
    ],
)
def test_a_failure_is_told_once_and_not_tried_again_for_a_while(
    tmp_path: Path, program: Program, cause: str
) -> None:
    clock = Clock()
    clock.at += timedelta(seconds=0.7)
    with pytest.raises(OperationFailed, match="E-GANGLIA") as caught:
        gmetric(tmp_path, program, clock).publish(VALUES)
    assert caught.value.cause == cause
    assert gmetric(tmp_path, program, clock).publish(VALUES) is not None
    assert len(program.calls) == 1

    clock.at += timedelta(seconds=3499.3)
    said = gmetric(tmp_path, program, clock).publish(VALUES)
    assert said is not None and cause in said and "100 s" in said
    assert len(program.calls) == 1

    clock.at += timedelta(seconds=101)
    well = Program()
    assert gmetric(tmp_path, well, clock).publish(VALUES) is None
    assert len(well.calls) == 2
    assert not (tmp_path / NOTE).exists()


def test_a_program_that_is_not_there_is_said_with_its_package_and_tried_at_once_again(
    tmp_path: Path,
) -> None:
    with pytest.raises(OperationFailed, match="E-GMETRIC") as caught:
        gmetric(tmp_path, Program(FileNotFoundError()), Clock()).publish(VALUES)
    assert "apt-get install ganglia-monitor" in caught.value.hint
    assert gmetric(tmp_path, Program(), Clock()).publish(VALUES) is None


@pytest.mark.parametrize("note", ["", "rubbish", "1e99 x", "nan x"])
def test_a_note_that_makes_no_sense_holds_nothing_up(tmp_path: Path, note: str) -> None:
    (tmp_path / NOTE).write_text(note)

    assert gmetric(tmp_path, Program(), Clock()).publish(VALUES) is None
