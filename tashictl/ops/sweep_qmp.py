"""The dialogues of a round: run state and block counters of the VMs that are due, over QMP.

They travel on the connection of the look that has just ended. QEMU serves one client at a time:
each dialogue is short, and one that gets no answer is over soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tashictl.errors import TashiError
from tashictl.model.host import HostConfig
from tashictl.model.sample import Counters
from tashictl.model.sighting import Sighting
from tashictl.model.vm import Seen, Vm, Wanted
from tashictl.ops import monitor
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import paths
from tashictl.planning.verdict import Dialogue

_ONE_S = 3.0
_HOST_S = 10.0  # of one host's VMs together; the rest is due again at the next round
_EARLY_S = 5.0  # rounds are never exactly one interval apart


def due(
    context: Context, vms: Iterable[Vm], counters: Mapping[str, Counters], now_s: float
) -> tuple[Vm, ...]:
    """Those whose last dialogue is [Qemu] statsInterval old; 0 is none.

    One that stands still unasked is asked at every round, until it is told otherwise.
    """
    interval_s = context.settings.stats.vm_interval_s
    if interval_s <= 0:
        return ()
    return tuple(
        vm
        for vm in vms
        if vm.operation is None
        and (_is_odd(vm) or now_s - _last_s(counters, vm) >= max(0.0, interval_s - _EARLY_S))
    )


def _is_odd(vm: Vm) -> bool:
    return vm.observed.what is Seen.PAUSED and vm.wanted is Wanted.RUNNING


def _last_s(counters: Mapping[str, Counters], vm: Vm) -> float:
    last = counters.get(f"vm:{vm.uuid}/blocks")
    return last.at_s if last is not None else 0.0


def ask(
    world: World, context: Context, host: HostConfig, sighting: Sighting, vms: Iterable[Vm]
) -> dict[str, Dialogue]:
    """Talk to those that are alive there, one after the other, by uuid."""
    alive = {sample.uuid for sample in sighting.vms if sample.alive}
    until_s = world.clock.monotonic_s() + _HOST_S
    found: dict[str, Dialogue] = {}
    for vm in vms:
        now_s = world.clock.monotonic_s()
        if vm.uuid in alive and now_s < until_s:
            found[vm.uuid] = _one(world, context, host, vm, now_s + _ONE_S)
    return found


def _one(world: World, context: Context, host: HostConfig, vm: Vm, deadline_s: float) -> Dialogue:
    socket = paths.of(vm.uuid, context.settings).qmp
    at_s = world.clock.now().timestamp()
    try:
        stream = world.remote.open_stream(host, socket, deadline_s)
        try:
            status, blocks = world.qmp.measure(stream, vm.uuid, deadline_s)
        finally:
            stream.close()
    except TashiError as error:
        silent = monitor.is_silence(error) or monitor.may_be_qemu(error)
        why = "it does not answer in time" if silent else error.what
        return Dialogue(status=None, cause=f"{why}: {error.cause}".removesuffix(": "), at_s=at_s)
    return Dialogue(status=status, at_s=at_s, blocks=blocks)
