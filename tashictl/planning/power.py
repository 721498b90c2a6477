"""Power: pause, unpause, reset, shut down; what each needs, does and leads to. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tashictl.errors import Conflict, TashiError
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import AwaitExit, Plan, PressPowerButton, QmpCommand
from tashictl.model.vm import OperationKind, Seen, TashiState, Vm, Wanted
from tashictl.planning import destroy, paths

SHUTDOWN_TIMEOUT_S = 120  # of `vm shutdown`, when nothing is said


class Act(Struct, frozen=True, kw_only=True):
    """What an operation asks of QEMU; `leads_to` are QEMU's names, the first of them ours too.

    `from_states` are those in which it makes sense; in the state `done` it was done before.
    `always` is for a command that is given whatever the run state is.
    """

    command: str
    leads_to: tuple[str, ...]
    seen: Seen
    wanted: Wanted
    from_states: tuple[TashiState, ...]
    done: TashiState | None = None
    always: bool = False


_S = TashiState
ACTS: dict[OperationKind, Act] = {
    OperationKind.PAUSE: Act(
        command="stop",
        leads_to=("paused",),
        seen=Seen.PAUSED,
        wanted=Wanted.PAUSED,
        from_states=(_S.Running, _S.Orphaned),
        done=_S.Paused,
    ),
    OperationKind.UNPAUSE: Act(
        command="cont",
        leads_to=("running",),
        seen=Seen.RUNNING,
        wanted=Wanted.RUNNING,
        from_states=(_S.Paused, _S.Orphaned),
        done=_S.Running,
    ),
    OperationKind.RESET: Act(
        command="system_reset",
        leads_to=("running",),
        seen=Seen.RUNNING,
        wanted=Wanted.RUNNING,
        from_states=(_S.Running, _S.Orphaned),
        always=True,
    ),
}
_GOING = (_S.Running, _S.Orphaned, _S.Exited)
_HINTS = {
    _S.Pending: "it has no host yet: tashictl schedule, or tashictl vm destroy {name}",
    _S.Held: "it has no host: tashictl schedule, or tashictl vm destroy {name}",
    _S.Paused: "tashictl vm unpause {name}",
    _S.Running: "tashictl vm show {name}",
    _S.Orphaned: "whether it runs is not known: tashictl host check {host}",
    _S.Exited: "its guest has ended: tashictl vm start {name}, or tashictl vm destroy {name}",
    _S.Destroying: "tashictl vm destroy {name}",
}


def is_done(vm: Vm, kind: OperationKind) -> bool:
    """Whether the record says that the VM is already what the operation leads to."""
    return kind in ACTS and vm.operation is None and vm.state is ACTS[kind].done


def refusal(vm: Vm, kind: OperationKind) -> TashiError | None:
    """Why the VM's state does not allow the operation, or None when it does."""
    allowed = _GOING if kind is OperationKind.SHUTDOWN else ACTS[kind].from_states
    if vm.host is not None and vm.state in allowed:
        return None
    return wrong_state(vm, kind)


def wrong_state(vm: Vm, kind: OperationKind) -> Conflict:
    """The error for an operation that the VM's state does not allow."""
    hint = _HINTS.get(vm.state, "tashictl vm show {name}")
    return Conflict(
        "E-STATE",
        f"{vm.name} is {vm.state.name}: no {kind.value} now",
        cause=vm.reason or "",
        hint=hint.format(name=vm.name, host=vm.host),
    )


def plan(
    vm: Vm,
    kind: OperationKind,
    settings: Settings,
    networks: Iterable[Network],
    timeout_s: int,
) -> Plan:
    """The steps on the VM's host; `timeout_s` is how long a guest may take to shut down."""
    assert vm.host is not None
    at = paths.at(vm.host, vm.uuid, settings)
    socket = paths.of(vm.uuid, settings).qmp
    if kind is not OperationKind.SHUTDOWN:
        act = ACTS[kind]
        leads_to = () if act.always else act.leads_to
        return (QmpCommand(**at, socket=socket, command=act.command, leads_to=leads_to),)
    _, *removal = destroy.plan(vm, settings, networks)
    press = PressPowerButton(**at, socket=socket, timeout_s=timeout_s)
    return (press, AwaitExit(**at), *removal)
