"""Play a case, and hold what became of it against the invariants."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tashictl.adapters.sim.faults import Planned, Point
from tashictl.adapters.sim.host import SimHost
from tashictl.model.naming import owner_of
from tashictl.model.vm import TashiState, Vm
from tashictl.ops import powering, seeding
from tashictl.planning import naming
from tests.sim.cases import Case, Command
from tests.sim.harness import Cluster, Controller, a_cluster
from tests.sim.things import (
    IMAGE,
    IMPORTED,
    NAME,
    NETWORKS,
    SETTINGS,
    USER_DATA,
    foreign_things,
    traces_on,
)

BYSTANDER = "other"
_FAR_S = 4_000_000_000


class Played(Struct, frozen=True):
    """How a case went: each command's outcome, what was reached, what must not have happened."""

    case: Case
    outcomes: tuple[str, ...]
    traces: tuple[tuple[Point, ...], ...]
    unfired: tuple[Planned, ...]
    problems: tuple[str, ...]


def play(case: Case, seed: int, hosts: int = 2) -> Played:
    """Play a case to its end; the world is a function of the case and the seed."""
    own_seed = zlib.crc32(f"{seed} {case}".encode())
    with a_cluster(own_seed, hosts) as cluster:
        assert cluster.controller().create(BYSTANDER, disks=("base.qcow2",)) == "ok"
        before = [(foreign_things(h), _of(h, cluster, BYSTANDER)) for h in cluster.hosts]
        outcomes, traces, unfired = [], [], []
        for place, command in enumerate(case.commands):
            rest = case.commands[place + 1 :]
            done = _carry_out(cluster, command, _nested(cluster, rest))
            outcomes.append(done[0])
            traces.append(tuple(done[1].injector.trace))
            unfired += [p for p in command.faults if p not in done[1].injector.fired]
            cluster.heal()
            if not command.faults and place:
                check_definite(cluster, command.verb, done[0])
            if place:
                cluster.network.deliver_held()
            check_kept(cluster)
        finish(cluster)
        after = [(foreign_things(h), _of(h, cluster, BYSTANDER)) for h in cluster.hosts]
        if before != after and not _rebooted(case):
            cluster.watch.problem(f"foreign things were touched: {before} {after}")
        problems = tuple(cluster.watch.problems)
    return Played(case, tuple(outcomes), tuple(traces), tuple(unfired), problems)


def _rebooted(case: Case) -> bool:
    kinds = {f.kind for c in case.commands for f in c.faults}
    return bool(kinds & {"reboot", "die"})


def _of(host: SimHost, cluster: Cluster, name: str) -> list[str]:
    vm = cluster.state().vm_named(name)
    return sorted(traces_on(host, vm.uuid, vm.id)) if vm else []


def _nested(cluster: Cluster, rest: tuple[Command, ...]) -> Callable[[], None]:
    """What others do while a controller is stopped: the commands that follow, without faults."""

    def go() -> None:
        cluster.timeline.sleep(5.0)
        for command in rest:
            _carry_out(cluster, Command(command.verb), lambda: None)

    return go


def _carry_out(
    cluster: Cluster, command: Command, meanwhile: Callable[[], None]
) -> tuple[str, Controller]:
    split_at = command.faults[0].point.step if command.alone and command.faults else None
    controller = cluster.controller(command.faults, meanwhile, split_at)
    verbs: dict[str, Callable[[], str]] = {
        "create": controller.create,
        "count": controller.count,
        "wipe": controller.wipe,
        "seeded": controller.seeded,
        "named": controller.named,
        "unname": controller.destroy,
        "destroy": controller.destroy,
        "resume": controller.resume,
        "undo": controller.undo,
        "check": controller.check,
        "pend": controller.pend,
        "schedule": controller.schedule,
        "crash": controller.crash,
        "start": controller.start,
        "import": controller.bring,
        **{kind.value: partial(controller.power, kind) for kind in powering.KINDS},
    }
    return verbs[command.verb](), controller


_DEFINITE = {
    "create": {"ok", "E-EXISTS"},
    "count": {"ok", "E-EXISTS"},
    "wipe": {"ok"},
    "seeded": {"ok", "E-EXISTS"},
    "named": {"ok", "E-EXISTS"},
    "unname": {"ok", "E-NO-VM"},
    "destroy": {"ok", "E-NO-VM"},
    "resume": {"ok", "nothing", "E-QMP-SILENT"},  # the fault may have ended its QEMU
    "undo": {"ok", "nothing", "E-FORWARD"},
    "check": {"ok"},
    "pend": {"ok", "E-EXISTS"},
    "schedule": {"ok"},
    "crash": {"ok"},
    "start": {"ok", "E-NO-VM", "E-QMP-SILENT"},
    "import": {"ok", "E-BUSY"},  # a script that has stalled holds the host's lock
    # The fault may have ended its QEMU.
    "pause": {"ok", "E-NO-VM", "E-STATE", "E-QMP-SILENT"},
    "unpause": {"ok", "E-NO-VM", "E-STATE", "E-QMP-SILENT"},
    "reset": {"ok", "E-NO-VM", "E-STATE", "E-QMP-SILENT"},
    "shutdown": {"ok", "E-NO-VM", "E-STATE"},
}


def check_definite(cluster: Cluster, verb: str, outcome: str) -> None:
    """The next command in a healthy world ends with a definite result."""
    watch, vm = cluster.watch, cluster.state().vm_named(NAME)
    if outcome not in _DEFINITE[verb]:
        watch.problem(f"the next command, {verb}, did not converge: {outcome}")
        return
    if verb == "destroy" and vm is not None:
        watch.problem(f"destroyed, but there is a record: {vm.state.name}")
    if verb in ("create", "seeded", "named") and (vm is None or vm.operation is not None):
        watch.problem(f"created, but the record is {vm.state.name if vm else 'not there'}")
    if verb == "shutdown" and outcome == "ok" and vm is not None:
        watch.problem(f"shut down, but there is a record: {vm.state.name}")
    if verb in ("pause", "unpause") and outcome == "ok":
        check_power(cluster, vm, verb)
    if verb == "start" and outcome == "ok":
        check_power(cluster, vm, verb)
    if verb in ("count", "wipe"):
        check_several(cluster, verb)
    if verb == "import" and outcome == "ok":
        check_imported(cluster)
    if verb in ("resume", "undo") and outcome != "E-FORWARD" and vm and vm.operation is not None:
        watch.problem(f"{verb} went well, but the operation stands")


def check_power(cluster: Cluster, vm: Vm | None, verb: str) -> None:
    """What a power operation that went well leads to is so on the host."""
    paused = verb == "pause"
    wanted = TashiState.Paused if paused else TashiState.Running
    if vm is None or vm.state is not wanted:
        cluster.watch.problem(f"{verb} went well, but the record is {vm.state.name if vm else '–'}")
        return
    process = cluster.network.hosts[vm.host or ""].qemu_of(vm.uuid)
    if process is None or process.paused is not paused:
        cluster.watch.problem(f"{verb} went well, but QEMU is not so")


def check_kept(cluster: Cluster) -> None:
    """A disk that nothing but a destroy may remove is the one that it was, and has its record."""
    uuids = {vm.uuid for vm in cluster.state().vms.values()}
    for uuid, (host, path, file) in cluster.kept.items():
        if host.files.get(path) is not file:
            cluster.watch.problem(f"a disk was lost on {host.name}: {path}")
        if uuid not in uuids:
            cluster.watch.problem(f"the record of {uuid} is gone, which nobody has destroyed")


def check_several(cluster: Cluster, verb: str) -> None:
    """After a `count` no operation stands on any of its VMs, after a `wipe` there is none."""
    found = [vm for vm in cluster.state().vms.values() if vm.name.startswith(f"{NAME}-")]
    if verb == "wipe" and found:
        cluster.watch.problem(f"wiped, but there are {[vm.name for vm in found]}")
    if verb == "count" and (not found or any(vm.operation is not None for vm in found)):
        cluster.watch.problem(f"counted, but {[(vm.name, vm.state.name) for vm in found]}")


def check_image(cluster: Cluster) -> None:
    """An image under its name is whole; hosts that are said to have it have it."""
    path = f"{SETTINGS.image_folder}/{IMAGE}"
    known = cluster.state().images.get(IMAGE)
    for host in cluster.hosts:
        there = path in host.files
        if there and host.text(path) != IMPORTED:
            cluster.watch.problem(f"{host.name}: {IMAGE} is not what was imported")
        if known is not None and host.name in known.hosts and not there:
            cluster.watch.problem(f"{host.name} is said to have {IMAGE}, and has not")


def check_imported(cluster: Cluster) -> None:
    """After an import that went well every host has the image, and no part file is left."""
    path = f"{SETTINGS.image_folder}/{IMAGE}"
    for host in cluster.hosts:
        if path not in host.files or f"{path}.part" in host.files:
            cluster.watch.problem(f"imported, but {host.name} has {host.below(path[:-6])}")


def finish(cluster: Cluster) -> None:
    """Let everything end, look, destroy what is left, deliver every script again, look."""
    cluster.network.deliver_held()
    cluster.run_out()
    check_kept(cluster)
    check_owned(cluster)
    check_image(cluster)
    check_seeds(cluster)
    check_names(cluster)
    outcome = cluster.controller().check()
    if outcome != "ok":
        cluster.watch.problem(f"host check: {outcome}")
    for name in {NAME, *(vm.name for vm in cluster.state().vms.values())} - {BYSTANDER}:
        outcome = cluster.controller().destroy(name)
        if outcome not in ("ok", "E-NO-VM"):
            cluster.watch.problem(f"the last destroy did not converge: {outcome}")
    check_empty(cluster, "at the end")
    replay(cluster)
    check_empty(cluster, "after all scripts came once more")


def replay(cluster: Cluster) -> None:
    """Every script that was ever sent comes once more, however late: the fence alone holds.

    But for those that were answered with a refusal: nothing remembers them, and they cannot come
    again.
    """
    sent = tuple(cluster.network.sent)
    for host, script in sent:
        if script.nonce in cluster.network.refused:
            continue
        if script.fence is None or _is_bystanders(cluster, script.fence.uuid):
            continue
        fence = replace(script.fence, not_after_s=_FAR_S)
        cluster.network.deliver(host, replace(script, fence=fence))
        cluster.run_out()


def _is_bystanders(cluster: Cluster, uuid: str) -> bool:
    vm = cluster.state().vm_named(BYSTANDER)
    return vm is not None and vm.uuid == uuid


def check_owned(cluster: Cluster) -> None:
    """Everything on every host belongs to a record of that host, and what runs is whole."""
    state, watch = cluster.state(), cluster.watch
    owners = {vm.uuid: vm for vm in state.vms.values()}
    for host in cluster.hosts:
        for vm_id, uuid in cluster.commits.seen_ids.items():
            found = traces_on(host, uuid, vm_id)
            owner = owners.get(uuid)
            if found and (owner is None or owner.host != host.name):
                watch.problem(f"leaked on {host.name}: {found}")
        known = {p.uuid for p in host.processes.values() if not p.foreign}
        for uuid in known - set(cluster.commits.seen_ids.values()):
            watch.problem(f"a QEMU of no record ever: {uuid}")
    for vm in owners.values():
        if vm.state is TashiState.Running and vm.uuid not in watch.excused:
            cluster.commits.check_running(vm)
            _check_whole(cluster, vm)
    for operation in cluster.controller().journals.ids():
        journal = cluster.controller().journals.read(operation)
        if journal is not None and journal.alive:
            watch.problem(f"journal {operation} is still held")


def _check_whole(cluster: Cluster, vm: Vm) -> None:
    host = cluster.network.hosts[vm.host or ""]
    folder = f"{SETTINGS.tashictl.lib_dir}/{SETTINGS.tashictl.cluster_id}/{vm.uuid}"
    manifest = host.text(f"{folder}/manifest.json")
    lacks = [
        what
        for what, there in (
            ("overlay", f"{folder}/disk0.qcow2" in host.files),
            ("TAP", host.taps.get(f"tashi{vm.id}.0")),
            ("running manifest", '"phase":"running"' in manifest and '"started"' in manifest),
            ("seed", vm.spec.seed is None or f"{folder}/seed.iso" in host.files),
            ("no .part", not [p for p in host.below(folder) if p.endswith(".part")]),
        )
        if not there
    ]
    if lacks:
        cluster.watch.problem(f"runs, but not whole: {lacks}")


def check_seeds(cluster: Cluster) -> None:
    """A seed is kept while it may still be sent, and no longer; its content is nowhere else."""
    waiting = {vm.uuid for vm in cluster.state().vms.values() if seeding.may_be_sent(vm)}
    if waiting - set(cluster.seeds):
        cluster.watch.problem("a VM that waits has lost its seed")
    world = cluster.controller().world
    with world.store.transaction() as tx:  # what a death has left, the next change removes
        seeding.tidy(world, tx.state)
    if set(cluster.seeds) - waiting:
        cluster.watch.problem("the seed of a VM that runs or is gone is still kept")
    secret = USER_DATA.splitlines()[1]
    for folder, _, names in os.walk(cluster.folder):
        for name in names:
            if secret in (Path(folder) / name).read_bytes():
                cluster.watch.problem(f"what a seed holds is in {folder}/{name}")


def check_names(cluster: Cluster) -> None:
    """What the servers have belongs to a record, and what runs has all that is its own there."""
    vms = {vm.uuid: vm for vm in cluster.state().vms.values()}
    tables = cluster.names
    for entry in (*tables.dns.values(), *tables.dhcp.values()):
        owner = owner_of(entry.owner)
        if owner is None or owner.uuid not in vms:
            cluster.watch.problem(f"leaked at a server: {entry.key}")
    for vm in vms.values():
        if vm.state is TashiState.Running:
            for dns in naming.dns_entries(vm, SETTINGS):
                if tables.dns.get(dns.name) != dns:
                    cluster.watch.problem(f"runs, but DNS has not {dns.name}")
            for dhcp in naming.dhcp_entries(vm, NETWORKS, SETTINGS):
                if tables.dhcp.get(dhcp.name) != dhcp:
                    cluster.watch.problem(f"runs, but DHCP has not {dhcp.name}")


def check_empty(cluster: Cluster, when: str) -> None:
    """Nothing is left of any VM but the bystander."""
    state, watch = cluster.state(), cluster.watch
    check_names(cluster)
    for vm in state.vms.values():
        if vm.name != BYSTANDER:
            watch.problem(f"{when}: a record of {vm.name}, {vm.state.name}")
    for vm_id, uuid in cluster.commits.seen_ids.items():
        if vm_id not in state.vms:
            left = cluster.commits.traces(uuid, vm_id)
            if left:
                watch.problem(f"{when}: {left}")
