"""Days of a large cluster in which hosts fall ill all the time, sweeps go round and people work.

After every storm all hosts are well again, and one or two sweeps must know and have put right all.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from tashictl.adapters.sim.faults import Moment, Planned, Point
from tashictl.adapters.sim.host import File, SimHost
from tashictl.model.state import State
from tashictl.model.vm import Seen, TashiState, Vm, Wanted
from tests.sim.harness import Cluster, Controller
from tests.sim.large import ASKED, CLAIM, RUN, Size, a_large_cluster
from tests.sim.things import SETTINGS
from tests.sim.truth import lies, strays, untold

THEIRS = "deadbeef0000 1 1 x them@there"
_AT_WORK = (Seen.RUNNING, Seen.PAUSED)


class Figures(Struct):
    """What was simulated, and what it cost; `found` must not have happened."""

    sweeps: int = 0
    braked: int = 0
    operations: int = 0
    illnesses: int = 0
    vms_ended: int = 0
    repairs: int = 0
    days: float = 0.0
    cpu_s: float = 0.0
    found: list[str] = []


# -- what hosts fall ill of


def _reboot(host: SimHost) -> None:
    host.restart(SETTINGS.tashictl.run_dir)


def _power_cut(host: SimHost) -> None:
    _reboot(host)
    host.reachable = False


def _killed(host: SimHost) -> None:
    for process in [p for p in host.processes.values() if not p.foreign][:3]:
        host.oom.add(process.uuid)
        host.files[f"{RUN}/{process.uuid}/ended"] = File("137\n")
        host.kill(process)


def _taken_over(host: SimHost) -> None:
    host.files[CLAIM].text = THEIRS


def _switch(name: str, value: object) -> Callable[[SimHost], None]:
    return lambda host: setattr(host, name, value)


ILLNESSES: dict[str, Callable[[SimHost], None]] = {
    "down": _switch("reachable", False),
    "hung": _switch("hung", True),
    "late": _switch("late_s", 8.0),
    "truncated": _switch("truncates", True),
    "full": _switch("full", True),
    "fast clock": _switch("offset_s", 300.0),
    "slow clock": _switch("offset_s", -3000.0),
    "mute": _switch("mute", True),
    "rebooted": _reboot,
    "power cut": _power_cut,
    "killed": _killed,
    "taken over": _taken_over,
    "stuck": lambda host: host.stuck.update(lib=host.time_s - 5),
}


class Storm:
    """Days of one cluster; `figures.found` are all violations."""

    def __init__(self, cluster: Cluster, seed: int, size: Size) -> None:
        self.cluster = cluster
        self.size = size
        self.dice = random.Random(seed)
        self.figures = Figures(found=cluster.watch.problems)
        self.ill: dict[str, tuple[int, str | None]] = {}  # rounds left, the claim that was there
        self.names = {vm.name for vm in cluster.state().vms.values()}  # that must be there
        self.unsure: set[str] = set()  # that may be there: what was done to them ended in an error
        self.serial = itertools.count(1)
        self.braked_before = False

    def blow(self) -> Figures:
        """All storms, each with the calm behind it."""
        begun_s = time.process_time()
        for number in range(self.size.storms):
            self._policy(("restart", "hold")[number % 2])
            for _ in range(self.size.rounds):
                self._fall_ill()
                self._round()
                self.cluster.timeline.sleep(self.size.every_s)
            self._calm()
        self.figures.cpu_s = round(time.process_time() - begun_s, 1)
        self.figures.days = round(self.cluster.timeline.monotonic_s() / 86400, 2)
        return self.figures

    def _policy(self, policy: str) -> None:
        settings = self.cluster.context.settings
        settings = replace(
            settings,
            cluster=replace(settings.cluster, on_host_reboot=policy),
            stats=replace(settings.stats, vm_interval_s=self.size.talk_every_s),
        )
        self.cluster.context = replace(self.cluster.context, settings=settings)

    # -- illness

    def _fall_ill(self) -> None:
        for name, (left, claim) in list(self.ill.items()):
            if left:
                self.ill[name] = (left - 1, claim)
            else:
                self._recover(name)
        while len(self.ill) < self.size.sick * self.size.hosts:
            host = self.dice.choice(self.cluster.hosts)
            if host.name not in self.ill:
                self._strike(host, self.dice.choice(list(ILLNESSES)))
        chance = self.dice.random()
        hosts = self.cluster.hosts
        if chance < 0.15:
            self._away(len(hosts) // 10, ("down", "power cut", "rebooted"))
        elif chance < 0.25:
            self._away(int(0.6 * len(hosts)), ("down", "hung"))

    def _away(self, count: int, kinds: tuple[str, ...]) -> None:
        """A rack goes, or most of the network."""
        kind = self.dice.choice(kinds)
        first = self.dice.randrange(len(self.cluster.hosts) - count + 1)
        for host in self.cluster.hosts[first : first + count]:
            if host.name not in self.ill:
                self._strike(host, kind)

    def _strike(self, host: SimHost, kind: str) -> None:
        claim = host.text(CLAIM) if CLAIM in host.files else None
        self.figures.illnesses += 1
        before = len(host.processes)
        ILLNESSES[kind](host)
        self.figures.vms_ended += before - len(host.processes)
        self.ill[host.name] = (self.dice.randrange(4), claim)

    def _recover(self, name: str) -> None:
        _, claim = self.ill.pop(name)
        host = self.cluster.network.hosts[name]
        host.heal()
        if claim is not None and host.text(CLAIM) == THEIRS:
            host.files[CLAIM].text = claim

    # -- one round

    def _round(self) -> None:
        """A sweep, alone or while people work; the brake is held against the truth."""
        before = self.cluster.state()
        alone = self.dice.random() < 0.5
        expected = self._brakes(before, alone)
        accepts = self.braked_before
        sweeper = self.cluster.controller(self._death())
        outcomes: list[str] = []

        def sweep() -> None:
            outcomes.append(sweeper.sweep(accept=accepts))

        people = [self._person() for _ in range(2)]
        if not alone:
            self.cluster.timeline.together([sweep, *people])
        else:
            sweep()
            if outcomes == ["E-BRAKE"] and self.cluster.state() != before:
                self._problem("the brake was on, and something was changed")
            self._after_sweep(before, sweeper.round.lost if sweeper.round else {})
            for person in people:
                person()
        self.figures.sweeps += 1
        (outcome,) = outcomes
        if sweeper.round is not None:
            self.figures.repairs += len(sweeper.round.done)
        self._hold_brake(outcome, expected, accepts)

    def _hold_brake(self, outcome: str, expected: bool | None, accepts: bool) -> None:
        braked = outcome == "E-BRAKE"
        self.figures.braked += braked
        if outcome == "killed":
            expected = None
        elif outcome not in ("ok", "E-BRAKE"):
            self._problem(f"a sweep ends with {outcome}")
        if not accepts and expected is not None and braked is not expected:
            self._problem(f"the brake was {'on' if braked else 'off'}, and must not be")
        self.braked_before = braked

    def _after_sweep(self, before: State, lost: object) -> None:
        """What was not seen is nothing but unknown; where the brake was on, nothing is changed."""
        after = self.cluster.state()
        assert isinstance(lost, dict)
        for vm in after.vms.values():
            old = before.vms.get(vm.id)
            if vm.host not in lost or old is None or vm.operation is not None:
                continue
            if vm.observed.what not in (Seen.UNKNOWN, old.observed.what):
                self._problem(f"{vm.name} on {vm.host}, which is lost, became {vm.observed}")

    def _brakes(self, state: State, alone: bool) -> bool | None:
        """Whether the brake must be on, by the truth; None where that is close and people work."""
        hosts = self.cluster.network.hosts
        lost = {h.name for h in hosts.values() if not h.reachable or h.hung or h.truncates}
        up = {name for name, record in state.hosts.items() if record.up}
        gone = lost & up
        orphaned = restarts = 0
        restart = self.cluster.context.settings.cluster.on_host_reboot == "restart"
        for vm in state.vms.values():
            if vm.host is None or vm.operation is not None or vm.wanted is Wanted.ABSENT:
                continue
            if vm.host in lost:
                orphaned += vm.observed.what in _AT_WORK
            elif restart and self._is_to_be_restarted(vm, hosts[vm.host]):
                restarts += 1
        total, limit = orphaned + restarts, max(5, len(state.vms) // 10)
        if not alone and abs(total - limit) <= 5:
            return None
        return total > limit or (bool(gone) and 2 * len(gone) >= len(up))

    @staticmethod
    def _is_to_be_restarted(vm: Vm, host: SimHost) -> bool:
        if host.text(CLAIM) == THEIRS or "lib" in host.stuck:
            return (vm.reason or "").startswith("host rebooted")
        if vm.observed.what is Seen.STOPPED:
            return (vm.reason or "").startswith("host rebooted")
        gone = host.qemu_of(vm.uuid) is None
        return gone and vm.observed.boot_id not in (None, host.boot_id)

    def _death(self) -> tuple[Planned, ...]:
        """Now and then a controller dies at some use of its ports, or at a step."""
        if self.dice.random() > 0.15:
            return ()
        step = self.dice.choice(("Port", "Port", "StartQemu", "KillQemu", "Look"))
        last = {"Port": 60, "Look": self.size.hosts}.get(step, 1)
        moment = Moment.BEFORE if step in ("Port", "Look") else Moment.SENT
        return (Planned(Point(step, self.dice.randint(1, last), moment), "kill"),)

    # -- people

    def _person(self) -> Callable[[], None]:
        state = self.cluster.state()
        verb = self.dice.choice(("create", "create", "destroy", "destroy", "start", "pause"))
        if verb == "create":
            return lambda: self._create(f"u{next(self.serial)}")
        wanted = TashiState.Exited if verb == "start" else TashiState.Running
        able = [vm.name for vm in state.vms.values() if verb == "destroy" or vm.state is wanted]
        if not able:
            return lambda: None
        name = self.dice.choice(able)
        if verb == "destroy":
            return lambda: self._destroy(name)
        controller = self._controller()
        act = controller.start if verb == "start" else controller.pause
        return lambda: self._count(act(name))

    def _controller(self) -> Controller:
        return self.cluster.controller(self._death())

    def _count(self, outcome: str) -> str:
        self.figures.operations += 1
        return outcome

    def _create(self, name: str) -> None:
        outcome = self._count(self._controller().create(name, **ASKED))
        (self.names if outcome == "ok" else self.unsure).add(name)

    def _destroy(self, name: str) -> None:
        outcome = self._count(self._controller().destroy(name))
        self.names.discard(name)
        if outcome not in ("ok", "E-NO-VM"):
            self.unsure.add(name)

    # -- the calm

    def _calm(self) -> None:
        """All are well again: two sweeps, and the third has nothing to do."""
        for name in list(self.ill):
            self._recover(name)
        self.cluster.network.deliver_held()
        self.cluster.run_out()
        self.braked_before = False
        for turn in range(3):
            sweeper = self.cluster.controller()
            outcome = sweeper.sweep()
            self.figures.sweeps += 1
            if outcome != "ok" or sweeper.round is None:
                self._problem(f"in the calm a sweep ends with {outcome}")
                return
            done = sweeper.round
            self.figures.repairs += len(done.done)
            if turn == 2 and (
                done.events or done.left or any(d.text or d.error for d in done.done)
            ):
                self._problem(f"the third sweep still decides: {done.events[:3]} {done.done[:3]}")
        self._hold_against_the_truth()

    def _hold_against_the_truth(self) -> None:
        state, cluster = self.cluster.state(), self.cluster
        open_ = cluster.controller().books.book.problems().values()
        for wrong in (
            *lies(state, cluster.hosts),
            *strays(state, cluster.hosts),
            *untold(state, open_),
        ):
            self._problem(wrong)
        known = Counter(vm.name for vm in state.vms.values())
        for name in self.names - known.keys():
            self._problem(f"the record of {name} was lost")
        for name in known.keys() - self.names - self.unsure:
            self._problem(f"{name} came back")
        for problem in open_:
            if problem.id.partition(":")[0] in ("host-down", "repair", "operation", "vm-twice"):
                self._problem(f"a problem stays open: {problem.text}")
        self.names |= self.unsure & known.keys()
        self.unsure.clear()

    def _problem(self, text: str) -> None:
        self.cluster.watch.problem(text)


def storm(seed: int, size: Size) -> Figures:
    """Simulate it all."""
    with a_large_cluster(seed, size) as cluster:
        for host in cluster.hosts:
            assert host.text(CLAIM)
        return Storm(cluster, seed, size).blow()
