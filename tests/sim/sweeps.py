"""Sweeps of a world in which much is to be put right, with faults; then they must converge."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from tashictl.adapters.sim.faults import Planned, Point
from tashictl.adapters.sim.host import File
from tashictl.model.event import Problem
from tashictl.model.vm import OperationKind, TashiState, Wanted
from tests.sim.cases import Command, faults_at, parse
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.play import BYSTANDER, finish
from tests.sim.things import NAME, SETTINGS
from tests.sim.truth import lies, untold

POLICIES = ("hold", "restart", "forget")
INTERRUPTED: dict[str, str] = {
    "create": "create/StartQemu/done/kill",
    "early": "create/CreateOverlay/before/kill",
    "destroy": "destroy/KillQemu/sent/kill",
    "start": "start/StartQemu/done/kill",
    "pause": "pause/QmpCommand/sent/kill",
}
MOST = 3  # sweeps in a healthy world after which there is nothing left to do
_SMALL = ("base.qcow2",)
_RUN = SETTINGS.tashictl.run_dir
# After these a start may have failed, which is told and not tried again.
_MAY_FAIL = frozenset(
    {"fail", "exit", "die", "reboot", "down", "full", "hang", "stall", "cut", "trunc", "late"}
    | {"latemid", "nospace", "mute", "int"}
)


class Swept(Struct, frozen=True):
    """How it went: the outcome of each sweep, what was reached, what must not have happened."""

    label: str
    outcomes: tuple[str, ...]
    trace: tuple[Point, ...]
    fired: tuple[Planned, ...]
    problems: tuple[str, ...]


def swept(policy: str, interrupted: str, *sweeps: Command) -> Swept:
    """Let sweeps with faults meet the prepared world, then others without any."""
    label = "+".join([f"{policy}-{interrupted}", *map(str, sweeps)])
    outcomes: list[str] = []
    fired: list[Planned] = []
    with a_cluster(zlib.crc32(label.encode()), hosts=3) as cluster:
        prepare(cluster, policy, interrupted)
        for sweep in sweeps:
            controller = _controller(cluster, sweep)
            outcomes.append(controller.sweep())
            fired += controller.injector.fired
            cluster.heal()
        cluster.network.deliver_held()
        cluster.run_out()
        outcomes += converge(cluster)
        _check(cluster, policy, label, fired)
        finish(cluster)
        problems = tuple(cluster.watch.problems)
    return Swept(
        label,
        tuple(outcomes),
        tuple(controller.injector.trace),
        tuple(fired),
        problems,
    )


def _controller(cluster: Cluster, command: Command) -> Controller:
    def meanwhile() -> None:
        """While it is stopped another one sweeps."""
        cluster.timeline.sleep(5.0)
        cluster.controller().sweep()

    split_at = command.faults[0].point.step if command.alone and command.faults else None
    return cluster.controller(command.faults, meanwhile, split_at)


def prepare(cluster: Cluster, policy: str, interrupted: str) -> None:
    """A world in which each thing that a sweep puts right has gone wrong once."""
    settings = cluster.context.settings
    cluster.context = replace(
        cluster.context,
        settings=replace(settings, cluster=replace(settings.cluster, on_host_reboot=policy)),
    )
    _pending(cluster)
    for name, host in (
        (BYSTANDER, "node1"),
        ("dead", "node1"),
        ("booted", "node2"),
        ("stone", "node2"),
        ("tomb", "node3"),
        ("lost", "node3"),
    ):
        assert cluster.controller().create(name, disks=_SMALL, host=host) == "ok"
    _interrupt(cluster, interrupted)
    end_qemu(cluster, "dead")
    cluster.hosts[1].restart(_RUN)
    cluster.hosts[2].reachable = False
    assert cluster.controller().destroy("tomb") == "E-TCP-TIMEOUT"
    cluster.hosts[2].reachable = True
    forget_record(cluster, "lost")
    with cluster.controller().unwatched_store.transaction() as tx:
        stone = tx.state.vm_named("stone")
        tx.put_vm(replace(stone, wanted=Wanted.ABSENT))
    cluster.run_out()


def _pending(cluster: Cluster) -> None:
    """A VM that no host could be found for when it was asked for."""
    cluster.all_down()
    assert cluster.controller().create("waits", disks=_SMALL) == "ok"
    assert cluster.controller().check() == "ok"


def _interrupt(cluster: Cluster, kind: str) -> None:
    (command,) = parse(INTERRUPTED[kind]).commands
    if command.verb != "create":
        assert cluster.controller().create(host="node1") == "ok"
    if command.verb == "start":
        end_qemu(cluster, NAME)
        assert cluster.controller().check() == "ok"
    controller = cluster.controller(command.faults)
    assert ACTS[command.verb](controller) == "killed"


def end_qemu(cluster: Cluster, name: str) -> None:
    """The kernel ends a QEMU for its memory."""
    vm = cluster.state().vm_named(name)
    assert vm is not None and vm.host is not None
    host = cluster.network.hosts[vm.host]
    process = host.qemu_of(vm.uuid)
    assert process is not None
    host.oom.add(vm.uuid)
    host.files[f"{_RUN}/{SETTINGS.tashictl.cluster_id}/{vm.uuid}/ended"] = File("137\n")
    host.kill(process)


def forget_record(cluster: Cluster, name: str) -> None:
    """The database loses a VM that runs; nobody destroyed it."""
    vm = cluster.state().vm_named(name)
    assert vm is not None
    with cluster.controller().unwatched_store.transaction() as tx:
        tx.remove_vm(vm.id)
    del cluster.commits.seen_ids[vm.id]


def converge(cluster: Cluster) -> Iterator[str]:
    """Sweep until nothing is decided; the outcomes of the sweeps that decided something."""
    for _ in range(MOST):
        controller = cluster.controller()
        outcome = controller.sweep()
        if outcome != "ok":
            cluster.watch.problem(f"a sweep in a healthy world ends with {outcome}")
            return
        done = controller.round
        assert done is not None
        yield outcome
        if not (done.events or done.done or done.left):
            return
    cluster.watch.problem(f"sweeps do not come to an end: {done.events} {done.done} {done.left}")


def _check(cluster: Cluster, policy: str, label: str, fired: list[Planned]) -> None:
    """Hold what became of the prepared world against what each VM should have."""
    state, watch = cluster.state(), cluster.watch
    problems: tuple[Problem, ...] = tuple(cluster.controller().books.book.problems().values())
    for wrong in (*lies(state, cluster.hosts), *untold(state, problems)):
        watch.problem(wrong)
    for problem in problems:
        if problem.id.partition(":")[0] in ("repair", "operation", "host-down", "vm-twice"):
            watch.problem(f"a problem stays open: {problem.text}")
    kinds = {fault.kind for fault in fired}
    for name, allowed in _allowed(policy, kinds).items():
        vm = state.vm_named(name)
        now = vm.state if vm is not None else None
        if now not in allowed:
            watch.problem(f"{name} is {now}, and should be {allowed} after {label}")


def _allowed(policy: str, kinds: set[str]) -> dict[str, set[TashiState | None]]:
    """What may have become of each VM; a host that went down took what ran there with it."""
    running: set[TashiState | None] = {TashiState.Running}
    exited: set[TashiState | None] = {TashiState.Exited}
    after = {"hold": exited, "restart": running, "forget": {None}}[policy]
    if policy == "restart" and kinds & _MAY_FAIL:
        after = running | exited
    ended = kinds & {"reboot", "die"}
    may_end = (exited | {None}) if ended else set()
    return {
        "dead": exited | (after if "reboot" in kinds else set()),
        "booted": after,
        "tomb": {None},
        "stone": {None},
        "waits": running | may_end,
        "lost": running | may_end,
        BYSTANDER: running | may_end,
    }


def faults(policy: str, interrupted: str) -> list[Command]:
    """A sweep with each fault at each point that one without any reaches."""
    bare = swept(policy, interrupted, Command("sweep"))
    assert bare.problems == (), bare
    return [Command("sweep", (fault,), alone) for fault, alone in faults_at(bare.trace)]


ACTS: dict[str, Callable[[Controller], str]] = {
    "create": lambda c: c.create(host="node1"),
    "destroy": lambda c: c.destroy(),
    "start": lambda c: c.start(),
    "pause": lambda c: c.pause(),
}


def beside(policy: str, act: str, port: int) -> Swept:
    """A sweep that is stopped at a use of its ports, while somebody else carries out `act`."""
    label = f"{policy}+sweep/Port.{port}/before/stop+{act}"
    with a_cluster(zlib.crc32(label.encode()), hosts=3) as cluster:
        prepare(cluster, policy, "create")
        told: list[str] = []

        def meanwhile() -> None:
            told.extend(BESIDE[act](cluster))

        (command,) = parse(f"sweep/Port.{port}/before/stop").commands
        controller = cluster.controller(command.faults, meanwhile)
        controller.stopped_s = 20.0  # the sweep has time left after it
        outcomes = [controller.sweep(), *told]
        outcomes += converge(cluster)
        _check_beside(cluster, act, told)
        _forget_scripts_of_removed_hosts(cluster)
        finish(cluster)
        problems = tuple(cluster.watch.problems)
    return Swept(
        label, tuple(outcomes), tuple(controller.injector.trace), tuple(command.faults), problems
    )


def _forget_scripts_of_removed_hosts(cluster: Cluster) -> None:
    """A host is only removed when no script can come to it any more; its fences go with it."""
    here = cluster.state().hosts
    sent = cluster.network.sent
    cluster.network.sent = [(host, script) for host, script in sent if host.name in here]


def _check_beside(cluster: Cluster, act: str, told: list[str]) -> None:
    state, watch = cluster.state(), cluster.watch
    for wrong in lies(state, cluster.hosts):
        watch.problem(wrong)
    if not told or told[-1] != "ok":
        return
    name, wanted = LEAVES.get(act, ("", frozenset()))
    vm = state.vm_named(name)
    now = vm.state.name if vm is not None else "gone"
    if name and now not in wanted:
        watch.problem(f"{act} went well, and {name} is {now}")


def _two(cluster: Cluster, *acts: Callable[[Controller], str]) -> list[str]:
    return [act(cluster.controller()) for act in acts]


def _brief(cluster: Cluster) -> list[str]:
    return _two(cluster, lambda c: c.create("brief", disks=_SMALL), lambda c: c.destroy("brief"))


# What somebody else does meanwhile, and what it leaves if it went well.
BESIDE: dict[str, Callable[[Cluster], list[str]]] = {
    "sweep": lambda cluster: _two(cluster, lambda c: c.sweep()),
    "brief": _brief,
    "create": lambda cluster: _two(cluster, lambda c: c.create("new", disks=_SMALL)),
    "start": lambda cluster: _two(cluster, lambda c: c.check(), lambda c: c.start("booted")),
    "destroy": lambda cluster: _two(cluster, lambda c: c.destroy(BYSTANDER)),
    "pause": lambda cluster: _two(cluster, lambda c: c.pause(BYSTANDER)),
    "unpause": lambda cluster: _two(
        cluster,
        lambda c: c.pause(BYSTANDER),
        lambda c: c.power(OperationKind.UNPAUSE, BYSTANDER),
    ),
    "shutdown": lambda cluster: _two(cluster, lambda c: c.power(OperationKind.SHUTDOWN, BYSTANDER)),
    "resume": lambda cluster: _two(cluster, lambda c: c.resume()),
    "remove": lambda cluster: _two(cluster, lambda c: c.remove(cluster.hosts[-1].name)),
}
LEAVES = {
    "brief": ("brief", frozenset({"gone"})),
    "create": ("new", frozenset({"Running"})),
    "start": ("booted", frozenset({"Running"})),
    "destroy": (BYSTANDER, frozenset({"gone"})),
    "pause": (BYSTANDER, frozenset({"Paused"})),
    "unpause": (BYSTANDER, frozenset({"Running"})),
    "shutdown": (BYSTANDER, frozenset({"gone", "Exited"})),
}


# -- races


class Raced(Struct, frozen=True):
    """How a race went: the outcome of each actor's commands, what must not have happened."""

    outcomes: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...]


_DELAYS_S = (0.0, 0.05, 0.3, 0.6, 1.2, 4.0)
_LATE_S = (0.0, 0.0, 0.5, 1.0, 9.0)
_USERS: tuple[tuple[str, ...], ...] = (
    ("brief",),
    ("create",),
    ("start",),
    ("destroy",),
    ("pause",),
    ("unpause",),
    ("shutdown",),
    ("resume",),
    ("remove",),
    ("sweep",),
    ("create", "destroy"),
    ("pause", "remove"),
)
# How what people do beside a sweep may end: a lock is held, or somebody was quicker.
FAIR = frozenset(
    {"ok", "nothing", "E-LOCKED", "E-NO-VM", "E-STATE", "E-EXISTS", "E-CHANGED", "E-SWEEPING"}
    | {"E-NOT-INTERRUPTED", "E-HOST-BUSY", "E-HOST-UNQUIET", "E-NO-HOST", "E-HOST", "E-BUSY"}
)


def race(seed: int, *users: tuple[str, ...]) -> Raced:
    """Two sweeps, and what people do beside them, in turns that the seed chooses."""
    with a_cluster(seed, hosts=4) as cluster:
        dice = cluster.timeline.random
        kind = dice.choice(list(INTERRUPTED))
        prepare(cluster, dice.choice(POLICIES), kind)
        for host in cluster.hosts:
            host.late_s = dice.choice(_LATE_S)
        chosen = [dice.choice(users or _USERS) for _ in range(2)]
        acts = [("sweep",), ("sweep",), *chosen]
        outcomes: list[list[str]] = [[] for _ in acts]

        def actor(place: int) -> Callable[[], None]:
            def go() -> None:
                for act in acts[place]:
                    cluster.timeline.sleep(dice.choice(_DELAYS_S))
                    outcomes[place].extend(BESIDE[act](cluster))

            return go

        cluster.timeline.together([actor(place) for place in range(len(acts))])
        cluster.heal()
        tuple(converge(cluster))
        for wrong in lies(cluster.state(), cluster.hosts):
            cluster.watch.problem(wrong)
        for act, ends in zip(acts, outcomes, strict=True):
            for unfair in set(ends) - FAIR:
                cluster.watch.problem(f"{act} beside a sweep ended with {unfair}")
        _forget_scripts_of_removed_hosts(cluster)
        finish(cluster)
        problems = tuple(cluster.watch.problems)
    return Raced(tuple(map(tuple, outcomes)), problems)
