"""Races: several controllers at once, whose turns a seed chooses, one of them perhaps stopped."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from itertools import chain

from msgspec import Struct

from tashictl.adapters.sim.faults import Planned
from tests.sim.cases import Case, Command, faults_at, parse
from tests.sim.generate import BEFORE
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.play import BYSTANDER, finish, play

Act = Callable[[Controller], str]
ACTS: dict[str, Act] = {
    "create": lambda c: c.create(),
    "twin": lambda c: c.create("twin", cores="2", disks=("base.qcow2",)),
    "large": lambda c: c.create("large", cores="2", disks=("base.qcow2",)),
    "count": lambda c: c.count(),
    "wipe": lambda c: c.wipe(),
    "destroy": lambda c: c.destroy(),
    "resume": lambda c: c.resume(),
    "undo": lambda c: c.undo(),
    "schedule": lambda c: c.schedule(),
    "import": lambda c: c.bring(),
    "crash": lambda c: c.crash(),
    "start": lambda c: c.start(),
}
# What goes before, then what each controller does; only the first controller may meet faults.
RACES: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "create-destroy": ("", (("create",), ("destroy", "destroy"))),
    "same-name": ("", (("create",), ("create",), ("create",))),
    "count-count": ("", (("count",), ("count", "wipe"), ("wipe",))),
    "last-slot": ("", (("twin",), ("large",))),
    "destroy-destroy": ("create", (("destroy",), ("destroy",))),
    "destroy-create": ("create", (("destroy",), ("create", "create"))),
    "after-kill": (
        "create/StartQemu/sent/kill",
        (("destroy",), ("resume",), ("undo",), ("create",)),
    ),
    "schedule-schedule": ("pend", (("schedule",), ("schedule",), ("destroy",))),
    "import-import": ("", (("import",), ("import",))),
    "start-start": ("create+crash", (("start",), ("start", "start"), ("undo", "resume"))),
    "start-destroy": ("create+crash", (("start", "start"), ("destroy",))),
}
_DELAYS_S = (0.0, 0.0, 0.1, 0.3, 0.6, 1.2)


class Raced(Struct, frozen=True):
    """How a race went; `outcomes` by controller."""

    name: str
    outcomes: tuple[tuple[str, ...], ...]
    problems: tuple[str, ...]


def race(name: str, seed: int, fault: Planned | None = None) -> Raced:
    """Let controllers race; `fault` befalls the first command of the first of them."""
    setup, lists = RACES[name]
    hosts = 1 if name == "last-slot" else 2
    with a_cluster(zlib.crc32(f"{seed} {name} {fault}".encode()), hosts) as cluster:
        assert cluster.controller().create(BYSTANDER, disks=("base.qcow2",)) == "ok"
        if setup:
            _before(cluster, parse(setup))
        outcomes: list[list[str]] = [[] for _ in lists]

        def actor(place: int) -> Callable[[], None]:
            def go() -> None:
                for at, verb in enumerate(lists[place]):
                    faults = (fault,) if fault is not None and place == at == 0 else ()
                    cluster.timeline.sleep(cluster.timeline.random.choice(_DELAYS_S))
                    outcomes[place].append(ACTS[verb](cluster.controller(faults)))

            return go

        cluster.timeline.together([actor(place) for place in range(len(lists))])
        cluster.heal()
        finish(cluster)
        problems = [*cluster.watch.problems, *_verdict(name, outcomes, fault)]
    return Raced(name, tuple(map(tuple, outcomes)), tuple(problems))


def _before(cluster: Cluster, case: Case) -> None:
    for command in case.commands:
        controller = cluster.controller(command.faults)
        if command.verb == "pend":
            controller.pend()
        else:
            ACTS[command.verb](controller)
        cluster.heal()


def _verdict(name: str, outcomes: list[list[str]], fault: Planned | None) -> list[str]:
    flat = list(chain(*outcomes))
    if fault is None and name == "same-name" and flat.count("ok") != 1:
        return [f"{flat.count('ok')} creates of one name went well: {flat}"]
    return []


def faults_for(name: str) -> list[Planned]:
    """What may befall the first command of the first controller."""
    verb = RACES[name][1][0][0]
    if verb not in ("create", "destroy", "start"):
        return []
    setup = BEFORE[verb]
    trace = play(Case((*setup, Command(verb))), 0).traces[-1]
    return [fault for fault, alone in faults_at(trace) if not alone]


def races(seed: int, plain: int, faulty: int) -> list[tuple[str, int, Planned | None]]:
    """For each race `plain` seeds without and `faulty` with a fault."""
    source = random.Random(seed)
    found: list[tuple[str, int, Planned | None]] = []
    for name in RACES:
        found += [(name, source.getrandbits(32), None) for _ in range(plain)]
        choices = faults_for(name)
        for _ in range(faulty if choices else 0):
            found.append((name, source.getrandbits(32), source.choice(choices)))
    return found
