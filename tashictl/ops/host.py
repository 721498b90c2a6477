"""Hosts: add, check, trust; one small probe reads all facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import (
    InvalidRequest,
    NotPermitted,
    OperationFailed,
    TashiError,
)
from tashictl.model.host import HostConfig, HostFacts, HostRecord, HostState
from tashictl.model.image import Image
from tashictl.model.operation import Ended, Status
from tashictl.model.script import HostKey, Reply, Script
from tashictl.model.steps import MakeFolder
from tashictl.model.vm import OperationKind, Vm
from tashictl.ops import answers, observe
from tashictl.ops.begin import Opening, new_operation, open_operation
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import Transaction, World
from tashictl.planning import brake, machine, paths, ports, requirements
from tashictl.planning import facts as facts_plan
from tashictl.planning.facts import Reading
from tashictl.planning.requirements import Finding

KEY_TIMEOUT_S = 10.0
BEING_REMOVED = "being removed"  # how the notes of a host begin whose removal has begun


class Checked(Struct, frozen=True, kw_only=True):
    """A host after a look at it: its record now, and every requirement."""

    host: str
    record: HostRecord | None
    findings: tuple[Finding, ...]
    error: TashiError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was reached and meets every requirement."""
        return self.error is None and all(f.ok for f in self.findings)


Accept = Callable[[HostConfig, HostKey], bool]


def trust(
    world: World, host: HostConfig, fingerprint: str | None, accept: Accept | None
) -> HostKey:
    """Trust the key that a host shows, if it has `fingerprint` or if `accept` says so.

    Raises NotPermitted for another fingerprint, InvalidRequest when nobody vouches for the key,
    Unreachable when the host shows none.
    """
    key = world.remote.host_key(host, world.clock.monotonic_s() + KEY_TIMEOUT_S)
    if fingerprint is not None:
        if key.fingerprint != fingerprint:
            raise NotPermitted(
                "E-FINGERPRINT",
                f"{host.name} shows another key",
                cause=f"{key.fingerprint} ({key.algorithm}), not {fingerprint}",
                hint="ask at the host's console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                host=host.name,
            )
    elif key not in world.trust.key_of(host.name):
        known = world.trust.key_of(host.name)
        if known:
            raise NotPermitted(
                "E-HOSTKEY-CHANGED",
                f"{host.name}: the host key has changed",
                cause=f"{key.fingerprint} now, {known[0].fingerprint} before",
                hint=f"if you know why: tashictl host trust {host.name} --fingerprint SHA256:…",
                host=host.name,
            )
        if accept is None or not accept(host, key):
            raise InvalidRequest(
                "E-HOSTKEY",
                f"the key of {host.name} was not accepted",
                cause=f"it shows {key.fingerprint} ({key.algorithm})",
                hint=f"--fingerprint {key.fingerprint}, if that is what the host's console says",
                host=host.name,
            )
    world.trust.trust(host.name, key)
    return key


def add(world: World, context: Context, host: HostConfig) -> Checked:
    """Take a host whose key is trusted into the cluster: read its facts, claim it, record it.

    Raises NotPermitted for a host of another cluster, Unreachable when it does not answer.
    """
    reading = look(world, context, host, None)
    facts = reading.facts
    ours = context.settings.tashictl.cluster_id
    if facts.claimed_by not in (None, ours):
        raise NotPermitted(
            "E-FOREIGN",
            f"{host.name} belongs to another cluster ({facts.claimed_by})",
            cause=f"{context.settings.tashictl.lib_dir}/cluster on the host says so",
            host=host.name,
        )
    seen = _claim(world, context, host, facts)
    with world.store.transaction() as tx:
        before = tx.state.hosts.get(host.name)
        record = before or HostRecord(id=tx.next_host_id(), name=host.name)
        facts = ports.foreign(facts, host.name, tx.state.vms.values())
        if record.notes.startswith(BEING_REMOVED):  # it stays after all
            record = replace(record, state=HostState.Normal, notes="")
        record = replace(record_facts(record, facts, context), seen_operation=seen)
        tx.put_host(record)
        note_images(tx, host.name, facts, context.settings.vfs_shared)
    end_removal(world, host.name, "superseded by host add")
    found = _findings(reading, context, host, added=True)
    return Checked(host=host.name, record=record, findings=found)


def _claim(world: World, context: Context, host: HostConfig, facts: HostFacts) -> int:
    """Make the image folder; the script's fence writes down whose host it is, or refuses.

    Returns the operation, the last one that the host has seen then.
    """
    at = paths.at_host(host.name, context.settings)
    plan = (MakeFolder(**at, path=context.settings.image_folder),)
    with ExitStack() as stack:
        stack.enter_context(world.locks.host(host.name))
        with world.store.transaction() as tx:
            operation = new_operation(world, tx, OperationKind.HOST_ADD)
            opening = Opening(operation=operation, target=host.name, plan=plan)
            execution = open_operation(world, context, tx, opening, stack)
            # A host that was ours before, and that the database has forgotten, tells itself.
            forgotten = host.name not in tx.state.hosts and facts.claimed_by is not None
            if forgotten and facts.claimed_counter < operation.id:
                execution.seen[host.name] = facts.claimed_counter
        execution.forward(plan)
        execution.journal.note(Ended(at=iso(world.clock.now()), status=Status.DONE))
    return max(operation.id, facts.claimed_counter)


def removals(world: World, name: str) -> list[int]:
    """The removals of a host that were interrupted."""
    found = []
    for operation_id in world.journals.ids():
        journal = world.journals.read(operation_id)
        if journal is None or journal.alive or journal.ended is not None:
            continue
        if (journal.header.kind, journal.header.target) == (OperationKind.HOST_REMOVE, name):
            found.append(operation_id)
    return found


def end_removal(world: World, name: str, why: str) -> None:
    """Write into the journals of interrupted removals of a host that something else was decided."""
    for operation_id in removals(world, name):
        journal = world.journals.reopen(operation_id)
        if journal is None:
            continue
        try:
            journal.note(Ended(at=iso(world.clock.now()), status=Status.UNDONE, reason=why))
        finally:
            journal.close()


def check(world: World, context: Context, hosts: Iterable[HostConfig]) -> list[Checked]:
    """Look at hosts at once, write down what is seen, and hold it against every requirement."""
    nonces: dict[str, str] = {}
    asked = tuple(hosts)
    added = world.store.read().hosts
    probe_of = facts_plan.Probe(settings=context.settings, cpu=enforced_cpu(context))
    results: dict[str, Checked] = {}
    readings: dict[str, Reading] = {}

    def result(host: HostConfig, reply: Reply) -> None:
        now = world.clock.now()
        nonce = nonces.get(host.name)  # none was made for a host that was not reached
        reading = facts_plan.read(reply.out, nonce, now) if nonce is not None else None
        if reading is None:
            error = answers.unreachable(host.name, reply)
            hint = error.hint if host.name in added else f"tashictl host add {host.name}"
            why = requirements.unreached(host, reply.fault, error.cause, hint)
            error.hint = why.remedy  # not "host check", which this is
            results[host.name] = Checked(host=host.name, record=None, findings=(why,), error=error)
            return
        readings[host.name] = reading

    def script_for(host: HostConfig) -> Script:
        nonces[host.name] = world.dice.nonce()
        return facts_plan.script(probe_of, nonces[host.name])

    timeout_s = context.settings.tashictl.connect_timeout_s + facts_plan.PROBE_TIMEOUT_S
    known = world.store.read().vms
    world.remote.sweep(asked, script_for, timeout_s, result)
    _record_checks(world, context, asked, readings, results, known)
    return [results[h.name] for h in asked]


def _record_checks(
    world: World,
    context: Context,
    asked: Iterable[HostConfig],
    readings: dict[str, Reading],
    results: dict[str, Checked],
    known: Mapping[int, Vm],
) -> None:
    changed: list[Vm] = []
    with world.store.transaction() as tx:
        silent = [host.name for host in asked if host.name not in readings]
        doubtful = brake.is_cut_off(tx.state.hosts, silent)
        for host in asked:
            record = tx.state.hosts.get(host.name)
            reading = readings.get(host.name)
            if reading is None and doubtful:
                continue
            facts = reading.facts if reading is not None else None
            changed += observe.record(tx, host.name, facts, known, iso(world.clock.now()))
            if reading is None:
                if record is not None and record.up is not False:
                    tx.put_host(replace(record, up=False))
                continue
            if record is not None:
                facts = ports.foreign(reading.facts, host.name, tx.state.vms.values())
                record = record_facts(record, facts, context)
                tx.put_host(record)
                note_images(tx, host.name, reading.facts, context.settings.vfs_shared)
            found = _findings(reading, context, host, added=record is not None)
            results[host.name] = Checked(host=host.name, record=record, findings=found)
    if doubtful:
        world.report.warn(
            f"{len(silent)} hosts do not answer, at least half of those that were up: this machine "
            "may be the one that is cut off, so nothing of that was written down   "
            "tashictl sweep --yes, if they are down"
        )
    observe.tell(world, changed)


def probe(world: World, context: Context, host: HostConfig, accel: str | None) -> HostFacts:
    """Read a host's facts; KVM is asked only where `accel` is None. Raises Unreachable."""
    return look(world, context, host, accel).facts


def look(world: World, context: Context, host: HostConfig, accel: str | None) -> Reading:
    """Read a host's facts and, where `accel` is None, KVM and the ground. Raises Unreachable."""
    cpu = enforced_cpu(context)
    asked = facts_plan.Probe(settings=context.settings, cpu=cpu, kvm=accel is None)
    nonce = world.dice.nonce()
    timeout_s = context.settings.tashictl.connect_timeout_s + facts_plan.PROBE_TIMEOUT_S
    reply = world.remote.run(
        host, facts_plan.script(asked, nonce), world.clock.monotonic_s() + timeout_s
    )
    reading = facts_plan.read(reply.out, nonce, world.clock.now(), accel)
    if reading is None:
        if reply.fault is None:
            raise OperationFailed(
                "E-PROBE",
                f"{host.name} gave no full answer",
                cause=reply.err.decode("utf-8", "replace").strip()[-300:] or f"exit {reply.rc}",
                host=host.name,
            )
        error = answers.unreachable(host.name, reply)
        why = requirements.unreached(host, reply.fault, error.cause, error.hint)
        error.hint = why.remedy
        raise error
    return reading


def enforced_cpu(context: Context) -> str:
    """The CPU that KVM must be able to show, or refuse."""
    cpu = machine.cpu_text(context.settings.qemu.cpu_model, "kvm")
    return cpu if "enforce" in cpu else f"{cpu},enforce=on"


def record_facts(record: HostRecord, facts: HostFacts, context: Context) -> HostRecord:
    """A host's record after it answered: up, seen now, and unfit when its QEMU is too old."""
    state = record.state
    if state is not HostState.Drained:
        fits = requirements.version_fits(facts.qemu_version, context.settings)
        state = HostState.Normal if fits else HostState.VersionMismatch
    # VMs and images have tables of their own; here they would only make the file long.
    kept = replace(facts, vms=(), images=())
    return replace(record, up=True, last_contact=facts.at, facts=kept, state=state)


def note_images(tx: Transaction, host: str, facts: HostFacts, shared: bool) -> None:
    """Images that lie on the host become known; those that are gone from it lose the host."""
    seen = {i.name: i for i in facts.images}
    for image in tuple(tx.state.images.values()):
        fact = seen.pop(image.name, None)
        there = fact is not None and fact.size_bytes == image.size_bytes
        hosts = tuple(h for h in image.hosts if h != host) + ((host,) if there else ())
        if sorted(hosts) != sorted(image.hosts):
            tx.put_image(replace(image, hosts=tuple(sorted(hosts))))
    for fact in seen.values():
        if fact.name in tx.state.images:
            continue
        tx.put_image(
            Image(
                name=fact.name,
                format=fact.format,
                size_bytes=fact.size_bytes,
                virtual_size_bytes=fact.virtual_size_bytes or fact.size_bytes,
                hosts=(host,),
                shared=shared,
                arch=facts.arch,
            )
        )


def _findings(
    reading: Reading, context: Context, host: HostConfig, added: bool
) -> tuple[Finding, ...]:
    networks = context.inventory.networks
    found = requirements.findings(reading, requirements.place(host, context.settings, networks))
    return found if added else (*found, requirements.not_added(host.name))
