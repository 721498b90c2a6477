"""The serial console of a VM: what it has said, and the line to it."""

from __future__ import annotations

from tashictl.errors import Conflict, OperationFailed
from tashictl.model.vm import Vm
from tashictl.ops import answers
from tashictl.ops.context import Context
from tashictl.ops.ports import Stream, World
from tashictl.planning import console, paths

_TIMEOUT_S = 20


def log(world: World, context: Context, vm: Vm, max_bytes: int) -> bytes:
    """The last bytes that the console has said, as they are.

    Raises Conflict for a VM without a host, Unreachable, and OperationFailed where there is no log.
    """
    host = _host_of(vm)
    nonce = world.dice.nonce()
    script = console.script(paths.of(vm.uuid, context.settings).folder, max_bytes, nonce)
    limit_s = context.settings.tashictl.connect_timeout_s + _TIMEOUT_S
    reply = world.remote.run(context.config(host), script, world.clock.monotonic_s() + limit_s)
    if reply.fault is not None and not reply.sent:
        raise answers.unreachable(host, reply)
    said = console.read(reply.out, nonce)
    if said is None:
        raise answers.no_answer(host, reply)
    if said.missing:
        raise OperationFailed(
            "E-NO-LOG",
            f"{vm.name} has no console log on {host}",
            cause="its folder is not there, or its QEMU was never started",
            hint=f"tashictl vm show {vm.name}",
            host=host,
        )
    return said.text


def connect(world: World, context: Context, vm: Vm) -> Stream:
    """The line to the serial console of a VM that runs; raises Unreachable."""
    host = _host_of(vm)
    limit_s = context.settings.tashictl.connect_timeout_s
    socket = paths.of(vm.uuid, context.settings).serial
    return world.remote.open_stream(
        context.config(host), socket, world.clock.monotonic_s() + limit_s
    )


def _host_of(vm: Vm) -> str:
    if vm.host is None:
        raise Conflict(
            "E-STATE",
            f"{vm.name} is {vm.state.name}: it has no console yet",
            cause=vm.reason or "",
            hint="tashictl schedule",
        )
    return vm.host
