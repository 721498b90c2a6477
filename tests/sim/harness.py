"""The whole controller against the simulated world: one cluster directory, any number of commands.

Everything is real (operations, planning, store, journals, locks) but hosts, network, clock, dice
and identity.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from tashictl.adapters import files, qmp
from tashictl.adapters.book import SqliteBook
from tashictl.adapters.history import SqliteHistory
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks, FileSweepLocks
from tashictl.adapters.sim.faults import FaultPoints, Injector, Killed, Moment, Planned
from tashictl.adapters.sim.host import File, SimHost
from tashictl.adapters.sim.names import NameTables, SimNames
from tashictl.adapters.sim.remote import Network
from tashictl.adapters.sim.script import Run
from tashictl.adapters.sim.timeline import Timeline
from tashictl.adapters.sim.watch import Watch
from tashictl.adapters.store.create import create as create_state
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import TashiError, exit_code_of
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.state import State
from tashictl.model.steps import Step
from tashictl.ops import host as host_ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.ops.ports_sweep import Books
from tashictl.ops.sweep import Round
from tests.sim.commits import Commits
from tests.sim.doubles import NoTrust, Quiet, SimDice, SimSeeds, SimWho
from tests.sim.things import (
    CLUSTER,
    CONTRACT,
    NETWORKS,
    SETTINGS,
    TEMPLATE,
    furnish,
    scratch_root,
)
from tests.sim.verbs import Verbs
from tests.sim.watched import WatchedBook, WatchedJournals, WatchedRemote, WatchedStore


class Cluster:
    """A cluster directory below `root`, and the world that it manages."""

    def __init__(self, root: str, seed: int, hosts: int = 2) -> None:
        self.folder = f"{root}/state"
        self.timeline = Timeline(seed)
        self.watch = Watch()
        names = [f"node{n + 1}" for n in range(hosts)]
        self.network = Network(
            self.timeline, [SimHost(name, self.timeline, self.watch) for name in names]
        )
        self.disk_full = False
        self.store_of: Callable[[FileLocks], Any] = self._tiny_store
        self.seeds: dict[str, bytes] = {}
        self.names = NameTables()
        # By uuid the host, path and very file of a disk that must not go.
        self.kept: dict[str, tuple[SimHost, str, File]] = {}
        self.commits = Commits(self.watch, self.network.hosts)
        self.dice = SimDice(random.Random(seed))
        self.context = Context(
            settings=SETTINGS,
            inventory=Inventory(
                hosts=tuple(HostConfig(name=name, address=name) for name in names),
                networks=NETWORKS,
            ),
            ifup_template=TEMPLATE.read_text(),
        )
        self.hosts = tuple(self.network.hosts.values())
        for host in self.hosts:
            furnish(host)
        self._controllers = 0

    def controller(
        self,
        faults: tuple[Planned, ...] = (),
        meanwhile: Callable[[], None] = lambda: None,
        split_at: str | None = None,
    ) -> Controller:
        """A new process on the workstation."""
        self._controllers += 1
        return Controller(self, f"ws{self._controllers}", Injector(faults), meanwhile, split_at)

    def _tiny_store(self, locks: FileLocks) -> TinyStore:
        return TinyStore(self.folder, locks, self.timeline, 2)

    def state(self) -> State:
        return self.controller().store.read()

    def all_down(self) -> None:
        """The database has seen every host go, one after the other, until it looks anew."""
        with self.controller().unwatched_store.transaction() as tx:
            tx.put_all((), [replace(host, up=False) for host in tx.state.hosts.values()])

    def heal(self) -> None:
        """The world is well again; what is under way stays under way."""
        self.disk_full = False
        self.names.down.clear()
        self.names.deaf.clear()
        for host in self.hosts:
            host.heal()

    def run_out(self) -> None:
        """All scripts come to their ends."""
        until_s = self.timeline.monotonic_s() + 1000.0
        self.timeline.wait(lambda: not any(h.scripts for h in self.hosts), until_s)


class Controller(Verbs):
    """One process: one command, with the faults that befall it."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        injector: Injector,
        meanwhile: Callable[[], None],
        split_at: str | None,
    ) -> None:
        self.cluster = cluster
        self.context = replace(cluster.context, seen={})
        self.folder = cluster.folder
        self.injector = injector
        self.dead = False
        self.in_transaction = False
        self.lose_journals = False
        self.power_cut = False
        self.stopped_s = 3600.0
        self._meanwhile = meanwhile
        timeline = cluster.timeline
        who = SimWho(name)
        locks = FileLocks(f"{cluster.folder}/locks", timeline, who.controller(), 10.0)
        self.unwatched_store = cluster.store_of(locks)
        self.store = WatchedStore(self, self.unwatched_store)
        self.journals = WatchedJournals(self, FileJournals(f"{cluster.folder}/journal", timeline))
        self.remote = WatchedRemote(self, cluster.network, self._at_host)
        self.report = Quiet()
        self.world = World(
            store=self.store,
            journals=self.journals,
            locks=locks,
            remote=self.remote,
            qmp=qmp,
            trust=NoTrust(),
            clock=timeline,
            dice=cluster.dice,
            who=who,
            faults=FaultPoints(self.moment, split_at),
            report=self.report,
            seeds=SimSeeds(cluster.seeds, self.alive),
            names=SimNames(cluster.names, self.alive),
        )
        self.round: Round | None = None
        self.books = Books(
            book=WatchedBook(self, SqliteBook(cluster.folder, timeline.now)),
            history=WatchedBook(self, SqliteHistory(cluster.folder, timeline)),
            locks=FileSweepLocks(f"{cluster.folder}/locks", timeline, who.controller()),
        )

    @property
    def full(self) -> bool:
        """Whether the disk of its cluster directory is full."""
        return self.cluster.disk_full

    # -- what befalls it

    def moment(self, step: str, moment: Moment) -> None:
        """A moment of a step in this process."""
        kind = self.injector.reached(step, moment)
        if kind is None:
            return
        line, host = self.remote.line, self.remote.host
        if kind in SIGNALS:
            self._signal(kind)
        elif step == "Look" and kind in ("trunc", "hang"):
            line.truncate_at, line.frozen_at = (0, None) if kind == "trunc" else (None, 0)
        elif kind == "cut" and moment is Moment.SENT:
            line.cut_at = 0
        elif kind == "cut":
            line.unsent = True
        elif kind == "late":
            line.hold = True
        elif kind == "latemid":
            line.hold = self.remote.deliver_soon = True
        elif kind == "lost":
            line.hold = True
            self.remote.then = lambda: self._signal("kill")
        elif kind == "dup":
            line.twice = True
        else:
            self._on_host(kind, host or self.cluster.hosts[0])

    def _at_host(self, run: Run, step: Step, moment: Moment) -> str | None:
        """A moment of a step on its host, while this process waits for the answer."""
        if self.dead:
            return None
        kind = self.injector.reached(step.name, moment)
        line = self.remote.line
        if kind in SIGNALS:
            line.signal = lambda: self._signal(kind or "")
        elif kind in ("cut", "stall"):
            line.cut_at = len(run.out)
        elif kind == "trunc":
            line.truncate_at = len(run.out) + 3
        elif kind == "down":
            line.frozen_at = len(run.out)
            run.host.reachable = False
        elif kind is not None:
            self._on_host(kind, run.host)
        return kind

    def _on_host(self, kind: str, host: SimHost) -> None:
        match kind:
            case "full":
                host.full = True
            case "down":
                host.reachable = False
            case "reboot":
                host.restart(SETTINGS.tashictl.run_dir)
            case "mute":
                host.mute = True
            case "deaf":
                host.deaf = True
            case "die":
                for process in list(host.processes.values()):
                    if not process.foreign:
                        host.kill(process)
            case "nospace":
                self.cluster.disk_full = True
            case "fail" | "hang" | "exit":
                pass  # the host itself sees to it
            case _:
                self._on_servers(kind)

    def _on_servers(self, kind: str) -> None:
        match kind:
            case "nodns" | "nodhcp":
                self.cluster.names.down.add(kind.removeprefix("no"))
            case "deafdns" | "deafdhcp":
                self.cluster.names.deaf.add(kind.removeprefix("deaf"))
            case _:
                raise ValueError(f"unknown kind of fault: {kind}")

    def _signal(self, kind: str) -> None:
        match kind:
            case "kill" | "power" | "lostpower":
                self.dead = True
                self.power_cut = kind != "kill"
                self.lose_journals = kind == "lostpower"
                raise Killed
            case "int":
                raise KeyboardInterrupt
            case "stop":
                self._meanwhile()
                self.cluster.timeline.sleep(self.stopped_s)

    # -- its command

    def command(self, do: Callable[[], object]) -> str:
        """Carry a command out; ``ok``, ``killed``, ``interrupted``, or the error's code."""
        try:
            do()
            outcome = "ok"
        except Killed:
            outcome = "killed"
        except KeyboardInterrupt:
            outcome = "interrupted"
        except TashiError as error:
            outcome = error.code
            if exit_code_of(error) not in CONTRACT:
                self.problem(f"exit code {exit_code_of(error)} of {error}")
        except Exception as error:  # noqa: BLE001  a bug in what is tested, told with its case
            outcome = type(error).__name__
            self.problem(f"traceback: {outcome}: {error}")
        self.dead = True
        self.journals.let_go()
        if self.power_cut:
            self.cluster.timeline.sleep(30.0)  # until this machine is up again
            self.cluster.watch.gone -= self.store.lose()
            self.journals.lose(self.lose_journals)
        return outcome

    def interrupted(self) -> int | None:
        """The operation that is in flight or interrupted, if any."""
        for vm in self.store.read().vms.values():
            if vm.operation is not None:
                return vm.operation.id
        return None

    def problem(self, text: str) -> None:
        """Something happened that must not."""
        self.cluster.watch.problem(text)

    def committed(self, before: State, after: State) -> None:
        """A state was committed."""
        self.cluster.commits.look(before, after)

    def alive(self, what: str) -> None:
        """Every port asks this: a dead controller must not go on."""
        if self.dead:
            self.problem(f"a dead controller went on: {what}")
            raise Killed
        self.cluster.timeline.point()
        self.moment("Port", Moment.BEFORE)


SIGNALS = ("kill", "power", "lostpower", "int", "stop")


_TEMPLATES: dict[int, str] = {}


def _template(hosts: int) -> str:
    """A state folder with `hosts` added, made once."""
    if hosts not in _TEMPLATES:
        root = tempfile.mkdtemp(prefix="tashi-sim-", dir=scratch_root())
        _TEMPLATES[hosts] = root
        create_state(f"{root}/state", CLUSTER)
        cluster = Cluster(root, 0, hosts)
        owner = cluster.controller()
        for config in cluster.context.inventory.hosts:
            outcome = owner.command(partial(host_ops.add, owner.world, cluster.context, config))
            assert outcome == "ok", outcome
            owner.dead = False
    return _TEMPLATES[hosts]


def remove_templates() -> None:
    """Leave nothing behind."""
    for root in _TEMPLATES.values():
        shutil.rmtree(root, ignore_errors=True)
    _TEMPLATES.clear()


@contextmanager
def _disk(cluster: Cluster) -> Iterator[None]:
    """The controllers' disk, which a fault may fill."""
    real = files.write_all

    def write_all(fd: int, data: bytes) -> None:
        if cluster.disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, data)

    files.write_all = write_all
    try:
        yield
    finally:
        files.write_all = real


@contextmanager
def a_cluster(seed: int, hosts: int = 2) -> Iterator[Cluster]:
    """A fresh cluster of known hosts, removed at the end."""
    template = _template(hosts)
    root = tempfile.mkdtemp(prefix="tashi-sim-", dir=scratch_root())
    try:
        shutil.copytree(f"{template}/state", f"{root}/state")
        cluster = Cluster(root, seed, hosts)
        with _disk(cluster):
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)
