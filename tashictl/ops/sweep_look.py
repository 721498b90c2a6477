"""The looks of a round: one small script on every host, and the facts again where they changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.host import HostConfig, HostFacts, HostRecord
from tashictl.model.sample import Counters
from tashictl.model.script import Reply, Script
from tashictl.model.sighting import Sighting
from tashictl.model.state import State
from tashictl.model.vm import Seen, Vm
from tashictl.ops import answers, sweep_qmp
from tashictl.ops import host as host_ops
from tashictl.ops.context import Context
from tashictl.ops.ports import Transaction, World
from tashictl.planning import facts as facts_plan
from tashictl.planning import machine, ports, probe, probe_read, rates
from tashictl.planning.verdict import Dialogue

_whole = msgspec.msgpack.Decoder(Sighting)
_AT_WORK = (Seen.RUNNING, Seen.PAUSED, Seen.UNKNOWN)


class Looks(Struct, frozen=True, kw_only=True):
    """What came back: each of `asked` is in `sightings` or, with the reason, in `lost`.

    What only statistics are made of is not in `sightings`: `measured` are the same, and whole.
    `facts` are of the hosts whose fingerprint is not the one on record.
    """

    asked: tuple[str, ...]
    sightings: Mapping[str, Sighting]
    lost: Mapping[str, str]
    measured: Mapping[str, Sighting] = {}
    facts: Mapping[str, HostFacts] = {}
    dialogues: Mapping[str, Dialogue] = {}


class Packed(Mapping[str, Sighting]):
    """Sightings that are packed while nobody looks at them: 0.1 kB for a VM."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def add(self, name: str, sighting: Sighting) -> None:
        """Take one in."""
        self._packed[name] = zlib.compress(msgspec.msgpack.encode(sighting), 1)

    def __getitem__(self, name: str) -> Sighting:
        return _whole.decode(zlib.decompress(self._packed[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def around(
    world: World,
    context: Context,
    hosts: tuple[HostConfig, ...],
    timeout_s: float,
    counters: Mapping[str, Counters] | None = None,
    *,
    dry: bool = False,
) -> Looks:
    """Look at every host at once; one that is sick costs its own deadline and nothing else.

    `counters` of the last round tell which VMs are due to be talked to; in a dry run none is.
    """
    state = world.store.read()
    here = _by_host(state)
    dialogues: dict[str, Dialogue] = {}
    now_s = world.clock.now().timestamp()
    nonces: dict[str, str] = {}
    sightings: dict[str, Sighting] = {}
    measured = Packed()
    lost: dict[str, str] = {}

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        ask = _ask(context, here.get(host.name, ()), mounts=not dry)
        return probe.script(ask, nonces[host.name])

    def follow(host: HostConfig, reply: Reply) -> None:
        sighting = probe_read.read(reply.out, nonces[host.name], world.clock.now())
        if sighting is None:
            return
        uuids = {vm.uuid: vm.uuid for vm in here.get(host.name, ())}
        measured.add(host.name, sighting)
        sightings[host.name] = rates.unmeasured(sighting, uuids)
        some = () if dry else sweep_qmp.due(context, here.get(host.name, ()), counters or {}, now_s)
        if some:
            dialogues.update(sweep_qmp.ask(world, context, host, sighting, some))

    def result(host: HostConfig, reply: Reply) -> None:
        if host.name not in sightings:
            lost[host.name] = _why(host, reply)

    limit_s = context.settings.tashictl.connect_timeout_s + probe.TIMEOUT_S
    world.remote.sweep(hosts, script_for, min(limit_s, timeout_s), result, follow)
    facts = {} if dry else _facts(world, context, state, hosts, sightings)
    return Looks(
        asked=tuple(h.name for h in hosts),
        sightings=sightings,
        lost=lost,
        measured=measured,
        facts=facts,
        dialogues=dialogues,
    )


def record_facts(tx: Transaction, context: Context, looks: Looks) -> list[HostRecord]:
    """The records of the hosts whose facts were read anew; images that came or went are noted."""
    found = []
    for name, facts in looks.facts.items():
        record = tx.state.hosts.get(name)
        if record is None:
            continue
        host_ops.note_images(tx, name, facts, context.settings.vfs_shared)
        known = ports.foreign(facts, name, tx.state.vms.values())
        record = host_ops.record_facts(record, known, context)
        found.append(replace(record, fingerprint=looks.sightings[name].fingerprint))
    return found


def _by_host(state: State) -> dict[str, list[Vm]]:
    found: dict[str, list[Vm]] = {}
    for vm in state.vms.values():
        if vm.host is not None:
            found.setdefault(vm.host, []).append(vm)
    return found


def _ask(context: Context, vms: Iterable[Vm], *, mounts: bool) -> probe.Ask:
    there = tuple(vms)
    return probe.Ask(
        settings=context.settings,
        known=tuple(vm.uuid for vm in there),
        running=tuple(vm.uuid for vm in there if vm.observed.what in _AT_WORK),
        mounts=mounts,
    )


def _why(host: HostConfig, reply: Reply) -> str:
    if reply.fault is None:
        said = reply.err.decode("utf-8", "replace").strip().splitlines()
        return "its answer ends in the middle" + (f": {said[-1][:200]}" if said else "")
    error = answers.unreachable(host.name, reply)
    return error.cause or error.what


def _facts(
    world: World,
    context: Context,
    state: State,
    hosts: Iterable[HostConfig],
    sightings: Mapping[str, Sighting],
) -> dict[str, HostFacts]:
    """Read the facts of hosts that changed: another QEMU, kernel, or image than at the last time.

    Not where a mount hangs: this look has no defence against that. KVM is asked by `host check`.
    """
    nonces: dict[str, str] = {}
    found: dict[str, HostFacts] = {}
    ours = context.settings.tashictl
    cluster = ours.cluster_id
    changed = [h for h in hosts if _is_changed(state.hosts[h.name], sightings.get(h.name), cluster)]
    cpu = machine.cpu_text(context.settings.qemu.cpu_model, "kvm")
    asked = facts_plan.Probe(settings=context.settings, cpu=cpu, kvm=False)

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        return facts_plan.script(asked, nonces[host.name])

    def result(host: HostConfig, reply: Reply) -> None:
        old = state.hosts[host.name].facts
        reading = None
        if host.name in nonces:
            accel = old.accel if old is not None else None
            reading = facts_plan.read(reply.out, nonces[host.name], world.clock.now(), accel)
        if reading is not None:
            found[host.name] = reading.facts

    if changed:
        limit_s = ours.connect_timeout_s + facts_plan.PROBE_TIMEOUT_S
        world.remote.sweep(changed, script_for, limit_s, result)
    return found


def _is_changed(record: HostRecord, sighting: Sighting | None, cluster: str) -> bool:
    if sighting is None or sighting.busy_s is not None or not sighting.fingerprint:
        return False
    if sighting.hidden:  # its images would be hidden too, and taken for gone
        return False
    if sighting.claim is not None and sighting.claim[0] != cluster:
        return False
    mounts = sighting.host.mounts if sighting.host is not None else ()
    if any(mount.stuck_since is not None for mount in mounts):
        return False
    return record.facts is None or record.fingerprint != sighting.fingerprint
