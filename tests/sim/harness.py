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
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tashictl.adapters import files, qmp
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.sim.faults import FaultPoints, Injector, Killed, Moment, Planned
from tashictl.adapters.sim.host import File, SimHost
from tashictl.adapters.sim.remote import Network, SimRemote
from tashictl.adapters.sim.script import Run
from tashictl.adapters.sim.timeline import Timeline
from tashictl.adapters.sim.watch import Watch
from tashictl.adapters.store.create import create as create_state
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import TashiError, exit_code_of
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network as Net
from tashictl.model.settings import QemuSettings, Settings, TashictlSettings
from tashictl.model.state import State
from tashictl.model.steps import Step
from tashictl.model.vm import Seen, TashiState, may_follow
from tashictl.ops import host as host_ops
from tashictl.ops import recover
from tashictl.ops import vm as vm_ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning.request import RawVm

CLUSTER = "0123456789ab"
FOREIGN = "deadbeef0000"
TEMPLATE = Path(__file__).parents[2] / "templates" / "qemu-ifup.j2"
SETTINGS = Settings(
    tashictl=TashictlSettings(cluster_id=CLUSTER, backups=2), qemu=QemuSettings(accel="tcg")
)
CONTRACT = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 130})
NAME = "web"


def scratch_root() -> str | None:
    """Memory where there is some: a run makes thousands of small files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class SimDice:
    """Dice of one seed."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def uuid(self) -> str:
        raw = f"{self._source.getrandbits(128):032x}"
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"

    def nonce(self) -> str:
        return f"{self._source.getrandbits(64):016x}"

    def mac(self) -> str:
        return "52:54:00:" + ":".join(f"{self._source.getrandbits(8):02x}" for _ in range(3))


class SimWho:
    """One controller."""

    def __init__(self, name: str) -> None:
        self._name = name

    def user(self) -> str:
        return "dev"

    def controller(self) -> str:
        return f"dev@{self._name}"


class Quiet:
    """A report that only keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def step(self, name: str, text: str) -> None:
        self.lines.append(f"{name} {text}")

    def warn(self, text: str) -> None:
        self.lines.append(text)


class NoTrust:
    """Host keys play no part here."""

    def key_of(self, host: str) -> tuple[Any, ...]:
        return ()

    def trust(self, host: str, key: object) -> None:
        pass

    def forget(self, host: str) -> None:
        pass


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
        self.commits: list[State] = []
        self.dice = SimDice(random.Random(seed))
        self.context = Context(
            settings=SETTINGS,
            inventory=Inventory(
                hosts=tuple(HostConfig(name=name, address=name) for name in names),
                networks=(Net(id=1, name="lan", bridge="vmbr", default=True),),
            ),
            ifup_template=TEMPLATE.read_text(),
        )
        for host in self.hosts:
            furnish(host)
        self.seen_ids: dict[int, str] = {}
        self._controllers = 0

    @property
    def hosts(self) -> tuple[SimHost, ...]:
        return tuple(self.network.hosts.values())

    def controller(
        self,
        faults: tuple[Planned, ...] = (),
        meanwhile: Callable[[], None] = lambda: None,
        split_at: str | None = None,
    ) -> Controller:
        """A new process on the workstation."""
        self._controllers += 1
        return Controller(self, f"ws{self._controllers}", Injector(faults), meanwhile, split_at)

    def state(self) -> State:
        return self.controller().store.read()

    def heal(self) -> None:
        """The world is well again; what is under way stays under way."""
        self.disk_full = False
        for host in self.hosts:
            host.reachable, host.full, host.mute = True, False, False

    def run_out(self) -> None:
        """All scripts come to their ends."""
        until_s = self.timeline.monotonic_s() + 1000.0
        self.timeline.wait(lambda: not any(h.scripts for h in self.hosts), until_s)

    def traces(self, uuid: str, vm_id: int) -> list[str]:
        """What there is of a VM on all hosts."""
        return [f"{h.name}: {what}" for h in self.hosts for what in traces_on(h, uuid, vm_id)]


def furnish(host: SimHost) -> None:
    """Images, and things that are none of ours."""
    images = SETTINGS.image_folder
    host.folders.add(images)
    host.files[f"{images}/base.qcow2"] = File("base")
    host.files[f"{images}/data.qcow2"] = File("data")
    foreign = f"{SETTINGS.tashictl.lib_dir}/{FOREIGN}/11111111-2222-4333-8444-555555555555"
    host.folders.add(foreign)
    host.files[f"{foreign}/manifest.json"] = File('{"uuid":"11111111-2222-4333-8444-555555555555"}')
    host.files[f"{foreign}/disk0.qcow2"] = File("theirs")
    host.files["/etc/qemu-ifup.9"] = File("#!/bin/sh\n# the operator's own\n")
    host.taps |= {"tap0": "foreign", "tashi900.0": "foreign"}
    process = host.spawn(f"foreign-{host.name}", None)
    process.foreign = True


def foreign_things(host: SimHost) -> dict[str, object]:
    """All that must stay as it was furnished."""
    return {
        **{
            p: f.text
            for p, f in host.files.items()
            if FOREIGN in p or p.endswith(".9") or p.startswith(f"{SETTINGS.image_folder}/")
        },
        **{n: i for n, i in host.taps.items() if i == "foreign"},
        **{str(p.pid): p.uuid for p in host.processes.values() if p.foreign},
        "folders": sorted(f for f in host.folders if FOREIGN in f),
    }


def traces_on(host: SimHost, uuid: str, vm_id: int) -> list[str]:
    """What there is of a VM on a host, fence records left out."""
    found = [p for p in host.files if f"/{uuid}/" in p]
    found += [f"{f}/" for f in host.folders if f.endswith(f"/{uuid}")]
    found += [t for t in host.taps if t.startswith(f"tashi{vm_id}.")]
    found += [f"QEMU {p.pid}" for p in host.processes.values() if p.uuid == uuid]
    return found


class Controller:
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
        self.injector = injector
        self.dead = False
        self.in_transaction = False
        self.lose_journals = False
        self.power_cut = False
        self._meanwhile = meanwhile
        timeline = cluster.timeline
        who = SimWho(name)
        locks = FileLocks(f"{cluster.folder}/locks", timeline, who.controller(), 10.0)
        self.store = WatchedStore(self, TinyStore(cluster.folder, locks, timeline, 2), locks)
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
            faults=FaultPoints(self._here, split_at),
            report=self.report,
        )

    # -- what befalls it

    def _here(self, step: str, moment: Moment) -> None:
        """A moment of a step in this process."""
        kind = self.injector.reached(step, moment)
        if kind is None:
            return
        line, host = self.remote.line, self.remote.host
        if kind in SIGNALS:
            self._signal(kind)
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
            case "die":
                for process in list(host.processes.values()):
                    if not process.foreign:
                        host.kill(process)
            case "nospace":
                self.cluster.disk_full = True
            case "fail" | "hang" | "exit":
                pass  # the host itself sees to it
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
                self.cluster.timeline.sleep(3600.0)

    # -- its command

    def command(self, do: Callable[[], object]) -> str:
        """Carry a command out; ``ok``, ``killed``, ``interrupted``, or the error's code."""
        try:
            with self._disk():
                do()
            outcome = "ok"
        except Killed:
            outcome = "killed"
        except KeyboardInterrupt:
            outcome = "interrupted"
        except TashiError as error:
            outcome = error.code
            if exit_code_of(error) not in CONTRACT:
                self.cluster.watch.problem(f"exit code {exit_code_of(error)} of {error}")
        except Exception as error:  # noqa: BLE001  a bug in what is tested, told with its case
            outcome = type(error).__name__
            self.cluster.watch.problem(f"traceback: {outcome}: {error}")
        self.dead = True
        if self.power_cut:
            self.store.lose()
            self.journals.lose(self.lose_journals)
        return outcome

    @contextmanager
    def _disk(self) -> Iterator[None]:
        real = files.write_all

        def write_all(fd: int, data: bytes) -> None:
            if self.cluster.disk_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(fd, data)

        files.write_all = write_all
        try:
            yield
        finally:
            files.write_all = real

    def create(self, name: str = NAME, **changes: Any) -> str:
        wish = {"disks": ("base.qcow2", "data.qcow2:persistent"), "nics": ("lan",), **changes}
        raw = RawVm(name=name, **wish)
        return self.command(lambda: vm_ops.create(self.world, self.cluster.context, raw))

    def destroy(self, name: str = NAME) -> str:
        return self.command(lambda: vm_ops.destroy(self.world, self.cluster.context, name))

    def resume(self) -> str:
        operation = self.interrupted()
        if operation is None:
            return "nothing"
        return self.command(lambda: recover.resume(self.world, self.cluster.context, operation))

    def undo(self) -> str:
        operation = self.interrupted()
        if operation is None:
            return "nothing"
        return self.command(lambda: recover.undo(self.world, self.cluster.context, operation))

    def check(self) -> str:
        hosts = self.cluster.context.inventory.hosts
        return self.command(lambda: host_ops.check(self.world, self.cluster.context, hosts))

    def interrupted(self) -> int | None:
        """The operation that is in flight or interrupted, if any."""
        for vm in self.store.read().vms.values():
            if vm.operation is not None:
                return vm.operation.id
        return None

    def alive(self, what: str) -> None:
        """Every port asks this: a dead controller must not go on."""
        if self.dead:
            self.cluster.watch.problem(f"a dead controller went on: {what}")
            raise Killed
        self.cluster.timeline.point()
        self._here("Port", Moment.BEFORE)


SIGNALS = ("kill", "power", "lostpower", "int", "stop")


class WatchedRemote(SimRemote):
    """The simulated Remote of one controller."""

    def __init__(
        self, owner: Controller, network: Network, happen: Callable[[Run, Step, Moment], str | None]
    ) -> None:
        super().__init__(network, happen)
        self.deliver_soon = False
        self.then: Callable[[], None] = lambda: None
        self._owner = owner

    def run(self, host: HostConfig, script: Any, deadline_s: float, on_output: Any = None) -> Any:
        self._owner.alive("run")
        if self._owner.in_transaction:
            self._owner.cluster.watch.problem("SSH inside a transaction")
        self.host = self._owner.cluster.network.hosts[host.name]
        if self.deliver_soon and not self.line.hold:
            self.deliver_soon = False
            timeline = self._owner.cluster.timeline
            when_s = timeline.monotonic_s() + timeline.random.choice((0.0, 0.1, 0.5, 1.0))
            timeline.at(when_s, self._owner.cluster.network.deliver_held)
        reply = super().run(host, script, deadline_s, on_output)
        then, self.then = self.then, lambda: None
        then()
        return reply

    def open_stream(self, host: HostConfig, unix_path: str, deadline_s: float) -> Any:
        self._owner.alive("open_stream")
        self.host = self._owner.cluster.network.hosts[host.name]
        return super().open_stream(host, unix_path, deadline_s)


class WatchedStore:
    """The real store; every commit is held against what may follow what."""

    def __init__(self, owner: Controller, real: TinyStore, locks: FileLocks) -> None:
        self._owner = owner
        self._real = real
        self._path = Path(owner.cluster.folder) / "tashi.json"
        self._before: bytes | None = None  # what a power cut may bring back

    def read(self) -> State:
        return self._real.read()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._watched(self._real.transaction) as tx:
            yield tx
        self._before = None

    @contextmanager
    def closing_transaction(self) -> Iterator[Any]:
        before = self._path.read_bytes()
        with self._watched(self._real.closing_transaction) as tx:
            yield tx
        self._before = before

    @contextmanager
    def _watched(self, begin: Callable[[], Any]) -> Iterator[Any]:
        self._owner.alive("transaction")
        with begin() as tx:
            before = tx.state
            self._owner.in_transaction = True
            try:
                yield tx
            finally:
                self._owner.in_transaction = False
            after = tx.state
        watch_commit(self._owner.cluster, before, after)
        self._owner.alive("commit")

    def lose(self) -> None:
        """The power was cut: what was not durable is gone."""
        if self._before is not None:
            self._path.write_bytes(self._before)
            restored = self._real.read()
            self._owner.cluster.watch.gone -= {vm.uuid for vm in restored.vms.values()}


class WatchedJournals:
    """The real journals; it knows what of them a power cut would take."""

    def __init__(self, owner: Controller, real: FileJournals) -> None:
        self._owner = owner
        self._real = real
        self._held: dict[int, WatchedJournal] = {}
        self._created: set[int] = set()

    def create(self, header: Any, *entries: Any) -> WatchedJournal:
        self._owner.alive("journal create")
        self._created.add(header.id)
        return self._keep(header.id, self._real.create(header, *entries))

    def reopen(self, operation_id: int) -> WatchedJournal | None:
        self._owner.alive("journal reopen")
        found = self._real.reopen(operation_id)
        return None if found is None else self._keep(operation_id, found)

    def read(self, operation_id: int) -> Any:
        return self._real.read(operation_id)

    def ids(self) -> tuple[int, ...]:
        return self._real.ids()

    def lose(self, names: bool) -> None:
        """The power was cut: notes are gone, and with `names` journals that were just made."""
        for operation, journal in self._held.items():
            if names and operation in self._created:
                journal.path.unlink(missing_ok=True)
            else:
                os.truncate(journal.path, journal.durable)

    def _keep(self, operation: int, real: Any) -> WatchedJournal:
        path = Path(self._owner.cluster.folder) / "journal" / f"{operation}.jsonl"
        self._held[operation] = WatchedJournal(self._owner, real, path)
        return self._held[operation]


class WatchedJournal:
    """One real journal; `durable` is how much of it would survive a power cut."""

    def __init__(self, owner: Controller, real: Any, path: Path) -> None:
        self._owner = owner
        self._real = real
        self.path = path
        self.durable = path.stat().st_size

    @property
    def view(self) -> Any:
        return self._real.view

    def commit(self, *entries: Any) -> None:
        self._owner.alive("journal commit")
        self._real.commit(*entries)
        self.durable = self.path.stat().st_size

    def note(self, *entries: Any) -> None:
        self._owner.alive("journal note")
        self._real.note(*entries)

    def close(self) -> None:
        self._real.close()


def watch_commit(cluster: Cluster, before: State, after: State) -> None:
    """What must hold from one committed state to the next."""
    watch = cluster.watch
    names = [vm.name for vm in after.vms.values()]
    if len(names) != len(set(names)):
        watch.problem(f"two records of one name: {names}")
    for vm_id, vm in after.vms.items():
        old = before.vms.get(vm_id)
        if old is None:
            if vm_id in cluster.seen_ids:
                watch.problem(f"id {vm_id} was given out twice")
            cluster.seen_ids[vm_id] = vm.uuid
            continue
        if old.uuid != vm.uuid:
            watch.problem(f"id {vm_id} changed its uuid")
        if not may_follow(old.state, vm.state):
            watch.problem(f"illegal change {old.state.name} -> {vm.state.name}")
        if vm.state is TashiState.Running and old.state is not TashiState.Running:
            check_running(cluster, vm.uuid, vm.host)
        if old.host is not None and vm.host != old.host and cluster.traces(vm.uuid, vm_id):
            watch.problem(f"claim on {old.host} lost while {cluster.traces(vm.uuid, vm_id)}")
    for vm_id, vm in before.vms.items():
        if vm_id not in after.vms:
            left = cluster.traces(vm.uuid, vm_id)
            if left:
                watch.problem(f"record of {vm.uuid} removed while there is {left}")
            watch.gone.add(vm.uuid)


def check_running(cluster: Cluster, uuid: str, host: str | None) -> None:
    """A VM that is recorded as running runs there, unless a fault has ended it."""
    if uuid in cluster.watch.excused:
        return
    if host is None or cluster.network.hosts[host].qemu_of(uuid) is None:
        cluster.watch.problem(f"recorded as running on {host}, but is not: {uuid}")


_TEMPLATES: dict[int, str] = {}


def _template(hosts: int) -> str:
    """A state folder with `hosts` added, made once."""
    if hosts not in _TEMPLATES:
        root = tempfile.mkdtemp(prefix="tashi-sim-", dir=scratch_root())
        _TEMPLATES[hosts] = root
        os.makedirs(root, exist_ok=True)
        create_state(f"{root}/state", CLUSTER)
        cluster = Cluster(root, 0, hosts)
        owner = cluster.controller()
        for config in cluster.context.inventory.hosts:
            outcome = owner.command(
                lambda config=config: host_ops.add(owner.world, cluster.context, config)
            )
            assert outcome == "ok", outcome
            owner.dead = False
    return _TEMPLATES[hosts]


def remove_templates() -> None:
    """Leave nothing behind."""
    for root in _TEMPLATES.values():
        shutil.rmtree(root, ignore_errors=True)
    _TEMPLATES.clear()


@contextmanager
def a_cluster(seed: int, hosts: int = 2) -> Iterator[Cluster]:
    """A fresh cluster of known hosts, removed at the end."""
    template = _template(hosts)
    root = tempfile.mkdtemp(prefix="tashi-sim-", dir=scratch_root())
    try:
        shutil.copytree(f"{template}/state", f"{root}/state")
        yield Cluster(root, seed, hosts)
    finally:
        shutil.rmtree(root, ignore_errors=True)
