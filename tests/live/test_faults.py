"""create and destroy under SIGKILL, cut connections and SIGSTOP at every step; what follows heals.

Each case is a VM of its own on one of three hosts. The cases that were selected run a few at a time
before the first test reports; each test then judges its own case.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

# WriteManifest comes twice: before all, and when QEMU has started.
CREATE = (
    "WriteManifest",
    "CreateOverlay",
    "WriteIfup",
    "AddTap",
    "StartQemu",
    "WriteManifest:2",
    "AwaitQmp",
)
DESTROY = ("KillQemu", "RemoveTap", "RemoveDir")
MOMENTS = ("before", "sent", "after")
AT_ONCE = 3
KILLED = -signal.SIGKILL
CONFIG = "connectTimeout = 5\nstepTimeout = 5\nlockTimeout = 2\n"
# connect + script (stepTimeout + lock wait) + slack, as the controller waits for an answer.
LONGEST_S = 5 + 15 + 15
OK, FAILED, ABSENT, CONFLICT, UNREACHABLE = 0, 1, 3, 5, 6


@dataclass(frozen=True)
class Case:
    """One fault in one operation, and the command that follows."""

    operation: str
    step: str
    moment: str
    action: str
    then: str

    @property
    def name(self) -> str:
        """The VM's name."""
        words = (self.operation[0], self.step, self.moment, self.action, self.then)
        return "-".join(words).lower().replace(":", "").replace(" ", "")

    @property
    def fault(self) -> dict[str, str]:
        """The environment that makes it."""
        step, _, nth = self.step.partition(":")
        value = f"{step}:{self.moment}:{self.action}" + (f":{nth}" if nth else "")
        return {"TASHICTL_FAULT": value}

    def __str__(self) -> str:
        return f"{self.operation}-{self.step}-{self.moment}-{self.action}-then-{self.then}"


@dataclass
class Story:
    """What happened in a case: results of the commands, what was wrong after each."""

    results: list[Result]
    wrong: list[str]

    def __str__(self) -> str:
        return "\n".join([*self.wrong, *(str(result) for result in self.results)])


def _cases() -> list[Case]:
    """Each step and moment once with each action; what follows takes turns, so that each step and
    each moment meets every follow-up. With TASHICTL_ALL_FAULTS=1 every combination.
    """
    everything = bool(os.environ.get("TASHICTL_ALL_FAULTS"))
    found = []
    for operation, steps in (("create", CREATE), ("destroy", DESTROY)):
        for (place, step), (turn, moment) in product(enumerate(steps), enumerate(MOMENTS)):
            kinds: dict[str, list[tuple[str, ...]]] = {
                "kill": [("destroy", "create"), ("resume", "undo")],
                "cut": [("create",)],
            }
            if operation == "destroy":
                kinds["cut"] = [("destroy", "resume")]
            for action, groups in kinds.items():
                for group in groups:
                    chosen = group if everything else (group[(place + turn) % len(group)],)
                    found += [Case(operation, step, moment, action, then) for then in chosen]
    return found


class Matrix:
    """Runs cases, a few at a time, each on a host of its own."""

    def __init__(self, lab: Lab, tashictl: Tashictl, cases: list[Case]) -> None:
        self._lab = lab
        self._tashictl = tashictl
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._futures: dict[str, Future[Story]] = {}
        for place, case in enumerate(cases):
            host = lab.hosts[place % len(lab.hosts)].name
            self._futures[str(case)] = self._pool.submit(self._run, case, host)

    def story(self, case: Case) -> Story:
        """What happened in a case, as soon as it has."""
        return self._futures[str(case)].result()

    def close(self) -> None:
        """Waits for those that run and forgets the others."""
        self._pool.shutdown(cancel_futures=True)

    def _run(self, case: Case, host: str) -> Story:
        story = Story([], [])
        if case.operation == "create":
            self._fault_in_create(case, host, story)
        else:
            self._fault_in_destroy(case, host, story)
        return story

    def _fault_in_create(self, case: Case, host: str, story: Story) -> None:
        first = self._do(story, case, "create", host, case.fault)
        self._expect(story, first, *self._after_fault(case))
        if case.action == "cut":
            self._judge(story, case, "after the cut")
        follow = self._do(story, case, case.then, host)
        self._expect(story, follow, *self._after_create(case, first))
        self._judge(story, case, f"after {case.then}")
        there = invariants.record(self._tashictl, case.name) is not None
        wanted = case.then in ("create", "resume")
        if there != wanted:
            story.wrong.append(f"record after {case.then}: {there}")
        if there:
            self._expect(story, self._do(story, case, "destroy", host), OK)
            self._judge(story, case, "after the last destroy")

    def _fault_in_destroy(self, case: Case, host: str, story: Story) -> None:
        self._expect(story, self._do(story, case, "create", host), OK)
        first = self._do(story, case, "destroy", host, case.fault)
        self._expect(story, first, *self._after_fault(case))
        follow = self._do(story, case, case.then, host)
        if first.rc == OK:
            self._expect(story, follow, ABSENT)
        elif case.then == "undo":  # a destroy only goes on
            self._expect(story, follow, CONFLICT)
            self._expect(story, self._do(story, case, "resume", host), OK)
        else:
            self._expect(story, follow, OK)
        self._judge(story, case, f"after {case.then}")
        if case.then == "create":
            self._expect(story, self._do(story, case, "destroy", host), OK)
        if invariants.record(self._tashictl, case.name) is not None:
            story.wrong.append("the record is still there")
        self._judge(story, case, "in the end")

    @staticmethod
    def _after_fault(case: Case) -> tuple[int, ...]:
        """A cut counts while a step is under way, unless its answer was faster.

        A create is then undone, a destroy says what may be left. Between two steps nothing was
        lost: the next one connects anew.
        """
        if case.action == "kill":
            return (KILLED,)
        if case.moment != "sent":
            return (OK,)
        return (OK, FAILED if case.operation == "create" else UNREACHABLE)

    @staticmethod
    def _after_create(case: Case, first: Result) -> tuple[int, ...]:
        """The second create finds the VM running where the first had come as far as QEMU."""
        if case.then != "create":
            return (OK,)
        if case.action == "cut":
            return (CONFLICT,) if first.rc == OK else (OK,)
        place = (CREATE.index(case.step), MOMENTS.index(case.moment))
        started, begun = (CREATE.index("StartQemu"), 2), (CREATE.index("StartQemu"), 1)
        if place >= started:
            return (CONFLICT,)
        return (OK, CONFLICT) if place == begun else (OK,)

    def _do(
        self, story: Story, case: Case, verb: str, host: str, fault: dict[str, str] | None = None
    ) -> Result:
        argv = {
            "create": ("vm", "create", case.name, "--disk", invariants.IMAGE, "--host", host),
            "destroy": ("vm", "destroy", case.name, "-y"),
        }.get(verb) or ("op", verb, str(self._operation(case)))
        result = self._tashictl.run(*argv, check=False, env=fault)
        story.results.append(result)
        if "Traceback" in result.err or "E-BUG" in result.err:
            story.wrong.append("it broke")
        return result

    def _operation(self, case: Case) -> int:
        found = invariants.record(self._tashictl, case.name)
        if found is None or found["operation"] is None:
            return 0
        number: int = found["operation"]["id"]
        return number

    @staticmethod
    def _expect(story: Story, result: Result, *codes: int) -> None:
        if result.rc not in codes:
            story.wrong.append(f"rc {result.rc}, not {codes}, of {' '.join(result.argv[1:])}")

    def _judge(self, story: Story, case: Case, when: str) -> None:
        found = invariants.complaints(self._lab, self._tashictl, case.name)
        story.wrong += [f"{when}: {text}" for text in found]


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """Room for all cases at once."""
    directory = tmp_path_factory.mktemp("faults") / "cluster"
    made = invariants.blank_cluster(lab, directory, tashictl_argv, CONFIG)
    invariants.set_limits(made, cores="64", memory="64G")
    return made


@pytest.fixture(scope="module")
def matrix(lab: Lab, cluster: Tashictl, request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """The cases of the tests that were selected."""
    chosen: list[Case] = [
        cast(Case, item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == Path(__file__)
        and {"matrix", "case"} <= set(item.fixturenames)
    ]
    running = Matrix(lab, cluster, chosen)
    yield running
    running.close()


@pytest.mark.parametrize("case", _cases(), ids=str)
def test_nothing_is_lost_and_nothing_is_double(matrix: Matrix, case: Case) -> None:
    story = matrix.story(case)
    assert not story.wrong, str(story)


def test_after_all_faults_the_hosts_hold_nothing(
    lab: Lab, cluster: Tashictl, matrix: Matrix
) -> None:
    for case in _cases():
        if str(case) in matrix._futures:
            matrix.story(case)
    assert invariants.records(cluster) == []
    assert invariants.complaints(lab, cluster) == []
    assert cluster.run("op", "list", "-o", "json").json() == []
    assert not list((cluster.cluster / "state/locks").glob("vm-*"))


def _stopped(process: subprocess.Popen[str]) -> bool:
    state = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    return state.split()[0] == "T"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", ["CreateOverlay", "StartQemu"])
def test_a_stopped_controller_keeps_its_vm_and_goes_on_later(
    lab: Lab, cluster: Tashictl, step: str, moment: str
) -> None:
    name = f"stopped-{step}-{moment}".lower()
    create = ("vm", "create", name, "--disk", invariants.IMAGE, "--host", "h1")
    first = cluster.start(*create, env={"TASHICTL_FAULT": f"{step}:{moment}:stop"})
    try:
        assert invariants.until(lambda: _stopped(first))
        for other in (create, ("vm", "destroy", name, "-y")):
            assert cluster.run(*other, check=False).rc == CONFLICT
        os.kill(first.pid, signal.SIGCONT)
        out, err = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == OK, out + err
    assert invariants.complaints(lab, cluster, name) == []
    cluster.run("vm", "destroy", name, "-y")
    assert invariants.complaints(lab, cluster, name) == []


def test_controllers_stopped_for_longer_than_every_deadline_leave_nothing_half_done(
    lab: Lab, cluster: Tashictl
) -> None:
    places = [(step, moment) for step in ("CreateOverlay", "StartQemu") for moment in MOMENTS]
    running = {}
    for place, (step, moment) in enumerate(places):
        name = f"late-{step}-{moment}".lower()
        host = lab.hosts[place % len(lab.hosts)].name
        create = ("vm", "create", name, "--disk", invariants.IMAGE, "--host", host)
        fault = {"TASHICTL_FAULT": f"{step}:{moment}:stop"}
        running[name] = cluster.start(*create, env=fault)
    try:
        assert invariants.until(lambda: all(_stopped(one) for one in running.values()))
        time.sleep(LONGEST_S + 2)
        name = next(iter(running))
        assert cluster.run("vm", "destroy", name, "-y", check=False).rc == CONFLICT
        for one in running.values():
            os.kill(one.pid, signal.SIGCONT)
        ended = {name: (one.communicate(timeout=90), one) for name, one in running.items()}
    finally:
        for one in running.values():
            one.kill()
    for name, (words, one) in ended.items():
        there = invariants.record(cluster, name) is not None
        assert (one.returncode, there) in ((OK, True), (FAILED, False)), f"{name}: {words}"
        assert invariants.complaints(lab, cluster, name) == [], f"{name}: {words}"
        if there:
            cluster.run("vm", "destroy", name, "-y")
    assert invariants.complaints(lab, cluster) == []
