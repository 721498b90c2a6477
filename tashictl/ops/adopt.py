"""Take in QEMUs that were started by hand on a host; each is an operation of its own.

Until QEMU has answered at its monitor it goes back; what was made is then removed, and the QEMU
runs on as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from msgspec import Struct

from tashictl.errors import Conflict, Interrupted, NoSuchTarget, TashiError
from tashictl.model.state import State
from tashictl.model.steps import Plan
from tashictl.model.vm import OperationKind, OperationRef, Vm
from tashictl.ops import answers, finish, recover
from tashictl.ops.begin import Opening, new_operation, open_operation, refuse_stale
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.planning import adopt as planning
from tashictl.planning.adopt import Candidate, Look


class Result(Struct, frozen=True, kw_only=True):
    """What became of one QEMU: `vm` is its record now, or `error` says why it is not taken in."""

    candidate: Candidate
    vm: Vm | None = None
    error: TashiError | None = None


def look(world: World, context: Context, host: str) -> Look:
    """Ask a host for its QEMUs; raises NoSuchTarget, Unreachable, Uncertain."""
    config = context.inventory.host(host)
    if config is None or host not in world.store.read().hosts:
        raise NoSuchTarget(
            "E-NO-HOST",
            f"no host {host!r} in this cluster",
            cause="the inventory lists it, and it was not added" if config else "",
            hint=f"tashictl host add {host}" if config else "tashictl host list",
        )
    nonce = world.dice.nonce()
    script = planning.script(context.settings, nonce)
    limit_s = context.settings.tashictl.connect_timeout_s + script.timeout_s
    reply = world.remote.run(config, script, world.clock.monotonic_s() + limit_s)
    if reply.fault is not None and not reply.sent:
        raise answers.unreachable(host, reply)
    found = planning.read_look(reply.out, nonce)
    if found is None:
        raise answers.no_answer(host, reply)
    return found


def candidates(
    context: Context, state: State, host: str, seen: Look, pids: Sequence[int]
) -> tuple[Candidate, ...]:
    """The QEMUs that are meant: those with the given pids, or all but those that are known.

    Raises NoSuchTarget for a pid that is no QEMU's.
    """
    facts = context.host(state, host).record.facts
    scene = planning.Scene(
        host=host,
        vms=tuple(state.vms.values()),
        inventory=context.inventory,
        arch=facts.arch if facts is not None else "x86_64",
    )
    every = planning.judge(seen, scene)
    if not pids:
        return tuple(c for c in every if c.known is None)
    by_pid = {c.process.pid: c for c in every}
    missing = [pid for pid in pids if pid not in by_pid]
    if missing:
        hidden = "/proc hides other users' processes from this login" if seen.hidden else ""
        listed = ", ".join(map(str, missing))
        raise NoSuchTarget(
            "E-NO-QEMU",
            f"no QEMU on {host} has the pid {listed}",
            cause=hidden,
            hint="the pid is the host's own; without one all are looked at",
            host=host,
        )
    return tuple(by_pid[pid] for pid in dict.fromkeys(pids))


def adopt(world: World, context: Context, host: str, pids: Sequence[int]) -> list[Result]:
    """Take in the QEMUs of a host, or those with the given pids; one result for each.

    What was interrupted on a VM of this host is put right first. Raises what `look` and
    `candidates` raise, and Interrupted; all else is a result.
    """
    seen = look(world, context, host)
    refuse_stale(world.store.read())
    if _settled(world, context, host, seen):
        seen = look(world, context, host)  # what it left was a folder in the way
    results: list[Result] = []
    for one in candidates(context, world.store.read(), host, seen, pids):
        try:
            results.append(_adopted(world, context, host, one))
        except Interrupted:
            raise
        except TashiError as error:
            results.append(Result(candidate=one, error=error))
    return results


def _settled(world: World, context: Context, host: str, seen: Look) -> bool:
    """Whether something that was interrupted on one of the QEMUs was put right."""
    words = {word for process in seen.processes for word in process.argv}
    found = False
    for vm in world.store.read().vms.values():
        if vm.host == host and vm.uuid in words and vm.operation is not None:
            recover.settle_first(world, context, vm)
            found = True
    return found


def refusal(one: Candidate, host: str) -> Conflict | None:
    """Why a QEMU is not taken in, as an error; None where it is."""
    if not one.refusal:
        return None
    return Conflict(
        "E-ADOPT",
        f"the QEMU with pid {one.process.pid} on {host} is not taken in",
        cause=one.refusal,
        hint=one.remedy,
        host=host,
    )


class NewIds(Struct, frozen=True, kw_only=True):
    """The ids that a VM and its operation get."""

    vm: int
    operation: OperationRef


def drafted(
    world: World, context: Context, host: str, one: Candidate, ids: NewIds
) -> tuple[Vm, Plan]:
    """The record and the plan: the same for the dry run and the real one."""
    assert one.uuid is not None
    vm = Vm(
        id=ids.vm,
        name=one.name,
        uuid=one.uuid,
        user=world.who.user(),
        spec=one.spec,
        host=host,
        operation=ids.operation,
        created=iso(world.clock.now()),
    )
    return vm, planning.plan(vm, one.process, one.socket, context.settings)


def _adopted(world: World, context: Context, host: str, one: Candidate) -> Result:
    if one.known is not None:
        return Result(candidate=one, vm=one.known)
    refused = refusal(one, host)
    if refused is not None:
        return Result(candidate=one, error=refused)
    with ExitStack() as stack:
        with world.store.transaction() as tx:
            refuse_stale(tx.state)
            _still_free(tx.state, one)
            ids = NewIds(
                vm=tx.next_vm_id(), operation=new_operation(world, tx, OperationKind.ADOPT)
            )
            vm, plan = drafted(world, context, host, one, ids)
            stack.enter_context(world.locks.vm(vm.id))
            opening = Opening(operation=ids.operation, target=vm.name, plan=plan, vm=vm)
            execution = open_operation(world, context, tx, opening, stack)
            tx.put_vm(vm)
        try:
            stack.enter_context(world.locks.host_shared(host))
            execution.forward(plan)
        except (TashiError, KeyboardInterrupt) as error:
            finish.go_back_or_on(execution, vm, plan, error)
        return Result(candidate=one, vm=finish.running(execution, vm))


def _still_free(state: State, one: Candidate) -> None:
    """Raise Conflict where its name or uuid was taken since it was judged."""
    taken = next((v for v in state.vms.values() if v.name == one.name or v.uuid == one.uuid), None)
    if taken is not None:
        raise Conflict("E-CHANGED", f"there is a VM {taken.name} with its name or uuid by now")
