"""`net apply` and `net rollback` whose controller dies, or whose connection is cut, at every step.

The hosts are namespaces, one for each case that runs at once. Afterwards a host has gone back by
itself or is confirmed, and nothing of the change is left on it.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result
from tests.live.nets import Site, left, state, until

STEPS = ("ArmNet", "GoNet", "ConfirmNet", "RollbackNet")
MOMENTS = ("before", "sent", "after")
AT_ONCE = 6  # nearly all the time of a case is waiting
KILLED = -signal.SIGKILL
OK, FAILED, CONFLICT, DIFFERS = 0, 1, 5, 9


@dataclass(frozen=True)
class Case:
    """One fault in one apply, or in one rollback of what was applied."""

    step: str
    moment: str
    action: str

    def __str__(self) -> str:
        return f"{self.step}-{self.moment}-{self.action}"

    @property
    def fault(self) -> dict[str, str]:
        """The environment that makes it."""
        return {"TASHICTL_FAULT": f"{self.step}:{self.moment}:{self.action}"}

    @property
    def kept(self) -> bool | None:
        """Whether the change stays; None where a cut may come before or after the host acted."""
        if self.step == "RollbackNet":
            return False
        if self.action == "cut":
            return True
        if (self.step, self.moment) == ("ConfirmNet", "sent"):
            return True  # it was begun, and is carried through
        return (self.step, self.moment) == ("ConfirmNet", "after")


@dataclass
class Story:
    """What happened in a case, and what was wrong with it."""

    results: list[Result] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([*self.wrong, *(str(result) for result in self.results)])

    def expect(self, fact: object, words: str) -> None:
        """A fact that must be."""
        if not fact:
            self.wrong.append(words)


CASES = [Case(*words) for words in product(STEPS, MOMENTS, ("kill", "cut"))]


def tell(case: Case, site: Site) -> Story:
    """Runs a case on a host that nobody else uses."""
    story = Story()
    site.settle()
    old = state(site.shell)
    site.turn()
    _fault(case, site, story)
    seen = site.pending()
    if case.action == "kill":
        _judge_meanwhile(case, site, story, seen)
    gone = until(lambda: not left(site.shell))
    story.expect(gone, f"left: {left(site.shell)}")
    new = state(site.shell)
    story.expect(case.kept == (new != old), f"kept is not {case.kept}: {old}\n--\n{new}")
    diff = site.differs()
    story.expect(diff == (0 if case.kept else 9), f"net diff: {diff}")
    again = site.apply()
    story.results.append(again)
    story.expect(again.rc == OK, "net apply afterwards")
    story.expect(site.differs() == OK, "net diff in the end")
    return story


def _fault(case: Case, site: Site, story: Story) -> None:
    name = site.host.name
    if case.step == "RollbackNet":
        applied = site.apply("--no-confirm")
        story.results.append(applied)
        story.expect(site.pending().get("stage") == "applied", "it was not applied")
        done = site.tashictl.run("net", "rollback", name, env=case.fault, check=False)
    else:
        done = site.apply(env=case.fault)
    story.results.append(done)
    story.expect("Traceback" not in done.err and "E-BUG" not in done.err, "it broke")
    story.expect(done.rc == (KILLED if case.action == "kill" else OK), f"rc {done.rc}")


def _judge_meanwhile(case: Case, site: Site, story: Story, seen: dict[str, object]) -> None:
    """What is told while nobody looks after the change any more."""
    if (case.step, case.moment) == ("ArmNet", "before"):
        story.expect(not seen.get("active"), f"in flight: {seen}")
        return
    if not seen.get("active"):
        return  # it has ended meanwhile
    story.expect(seen["alive"], f"no timer: {seen}")
    second = site.apply()
    story.results.append(second)
    if second.rc == CONFLICT:
        story.expect("s left" in second.err, "net apply does not say when")
        story.expect("in flight" in second.err, "net apply does not say why")
    else:
        story.expect(second.rc == OK and not site.pending().get("active"), "two at once")
        story.wrong.append("ended too early")


class Matrix:
    """Runs the cases of the tests that were selected, a few at a time."""

    def __init__(self, sites: list[Site], cases: list[Case]) -> None:
        self.cases = cases
        self._free: SimpleQueue[Site] = SimpleQueue()
        for site in sites:
            self._free.put(site)
        self._pool = ThreadPoolExecutor(len(sites))
        self._stories: dict[Case, Future[Story]] = {
            case: self._pool.submit(self._run, case) for case in cases
        }

    def story(self, case: Case) -> Story:
        """What happened in it, as soon as it has."""
        return self._stories[case].result()

    def close(self) -> None:
        """Waits for those that run and forgets the others."""
        self._pool.shutdown(cancel_futures=True)

    def _run(self, case: Case) -> Story:
        site = self._free.get()
        try:
            return tell(case, site)
        finally:
            self._free.put(site)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """A host for each case that runs at once."""
    with Lab(AT_ONCE) as raised:
        yield raised


@pytest.fixture(scope="module")
def sites(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[Site]:
    """The hosts, each with a cluster of its own."""
    folder = tmp_path_factory.mktemp("nets")
    return [Site(lab, host, folder, tashictl_argv) for host in lab.hosts]


@pytest.fixture(scope="module")
def matrix(sites: list[Site], request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """The cases of the tests that were selected."""
    chosen = [
        cast(Case, item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == Path(__file__)
        and "case" in item.fixturenames
    ]
    running = Matrix(sites, chosen)
    yield running
    running.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_host_goes_back_by_itself_or_is_confirmed(matrix: Matrix, case: Case) -> None:
    story = matrix.story(case)
    assert not story.wrong, str(story)


@pytest.fixture
def site(matrix: Matrix, sites: list[Site]) -> Iterator[Site]:
    """A host of its own, as it is wanted, when all cases are over."""
    for case in matrix.cases:
        matrix.story(case)
    one = sites[0]
    one.settle()
    yield one
    one.shell("umount /run/tashi/net")


def test_a_change_whose_timer_is_dead_is_told_so_and_can_be_taken_back(site: Site) -> None:
    old = state(site.shell)
    site.turn()
    assert site.apply("--no-confirm").rc == OK
    site.shell("for i in 1 2; do pkill -KILL -f net/pending/timer.sh; done")
    assert until(lambda: not site.pending()["alive"])

    refused = site.apply()
    told = site.tashictl.run("net", "list", "--pending", site.host.name)
    back = site.tashictl.run("net", "rollback", site.host.name, check=False)

    assert (refused.rc, back.rc) == (CONFLICT, OK), str(back)
    for words in (refused.err, told.out):
        assert "its timer has died" in " ".join(words.split())
    assert until(lambda: not left(site.shell)), left(site.shell)
    assert state(site.shell) == old


def test_no_tap_is_made_while_the_bridge_may_go_away_again(site: Site, tmp_path: Path) -> None:
    image = str(invariants.blank_image(tmp_path))
    site.tashictl.run("image", "import", image)
    create = ("vm", "create", "web", "--disk", invariants.IMAGE, "-o", "json")
    site.turn()
    assert site.apply("--no-confirm", window_s=300).rc == OK

    refused = site.tashictl.run(*create, check=False)

    assert refused.rc == FAILED, str(refused)
    assert "network is being changed by" in refused.err
    assert "net confirm" in refused.err
    assert site.shell("ls -d /sys/class/net/tashi*") == ""
    assert invariants.record(site.tashictl, "web") is None
    assert site.tashictl.run("net", "confirm", site.host.name).rc == OK
    made = site.tashictl.run(*create).json()
    tap = f"/sys/class/net/tashi{made['id']}.0"
    assert site.shell(f"readlink {tap}/master").strip().endswith(f"/{site.bridge}")
    site.tashictl.run("vm", "destroy", "web", "-y")


@pytest.mark.parametrize("size_kib", [4, 12, 44, 72, 96, 112])
def test_a_folder_without_room_takes_no_change(site: Site, size_kib: int) -> None:
    old = state(site.shell)
    site.turn()
    site.shell(f"mount -t tmpfs -o size={size_kib}k none /run/tashi/net")

    refused = site.apply()

    assert refused.rc == FAILED, str(refused)
    assert "no room for the change" in refused.err
    assert left(site.shell) == ""
    assert state(site.shell) == old
    site.shell("umount /run/tashi/net")
    assert site.apply().rc == OK


@pytest.mark.parametrize("verb", ["rollback", "confirm", "late"])
def test_a_folder_that_has_become_full_keeps_nothing_from_its_end(site: Site, verb: str) -> None:
    old = state(site.shell)
    site.turn()
    site.shell("mount -t tmpfs -o size=512k none /run/tashi/net")
    assert site.apply("--no-confirm", window_s=20 if verb == "late" else 300).rc == OK
    site.shell("cat /dev/zero >/run/tashi/net/filler; cat /dev/zero >/run/tashi/net/filler2")

    if verb != "late":
        site.tashictl.run("net", verb, site.host.name)

    assert until(lambda: not left(site.shell)), left(site.shell)
    told = site.pending()
    assert told["stage"] == ("confirmed" if verb == "confirm" else "reverted"), told
    assert (state(site.shell) == old) == (verb != "confirm")
    assert site.differs() == (OK if verb == "confirm" else DIFFERS)
