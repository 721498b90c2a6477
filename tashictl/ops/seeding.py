"""Cloud-init seeds: made with the decision, kept until the VM runs or is gone, sent on the way.

A seed may hold passwords: its bytes are kept by the port alone; records, plans and journals know
its sha256 and its size.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

from msgspec.structs import replace

from tashictl.errors import OperationFailed
from tashictl.model.state import State
from tashictl.model.steps import PutSeed
from tashictl.model.vm import OperationKind, Seed, Vm, Wanted
from tashictl.ops import answers
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import cloudinit
from tashictl.planning.request import RawVm

_BYTES_PER_S = 100_000  # the slowest stream that is waited for
_ALLOWANCE_S = 30.0


def with_seed(world: World, context: Context, vm: Vm, raw: RawVm) -> tuple[Vm, bytes | None]:
    """`vm` with its seed recorded, and the seed's bytes; None where the request asks for none.

    The request must be without problems; the VM needs name, uuid and nics.
    """
    texts = cloudinit.texts(vm, context.inventory.networks, raw.cloud_init, raw.ssh_keys)
    if texts is None:
        return vm, None
    data = world.seeds.make(texts)
    seed = Seed(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    return replace(vm, spec=replace(vm.spec, seed=seed)), data


def tidy(world: World, state: State) -> None:
    """Keep only the seeds that may still be sent; within a transaction on `state`.

    A controller that dies between two writes may leave one that nobody needs.
    """
    world.seeds.forget_but(vm.uuid for vm in state.vms.values() if may_be_sent(vm))


def may_be_sent(vm: Vm) -> bool:
    """Whether the VM has a seed and waits for its first start, or is being created."""
    operation = vm.operation
    waits = vm.host is None or (operation is not None and operation.kind is OperationKind.CREATE)
    return vm.spec.seed is not None and waits and vm.wanted is not Wanted.ABSENT


def forget(world: World, vm: Vm) -> None:
    """The VM runs, or is gone: its seed has done its work."""
    if vm.spec.seed is not None:
        world.seeds.forget(vm.uuid)


def send(world: World, context: Context, step: PutSeed, begun: Callable[[], None]) -> None:
    """Stream a VM's seed to its host; `begun` is called when the first of it is taken.

    Where none is kept any more, nothing is sent: the next step says whether it lies in place.
    """
    data = world.seeds.read(step.uuid)
    if data is None:
        begun()
        return
    if hashlib.sha256(data).hexdigest() != step.sha256:
        raise OperationFailed(
            "E-SEED",
            "the cloud-init seed that was kept is not the one of this VM",
            cause=f"its sha256 is not {step.sha256[:12]}…",
            hint="destroy the VM and create it again",
        )
    limit_s = context.settings.tashictl.connect_timeout_s + _ALLOWANCE_S
    deadline_s = world.clock.monotonic_s() + limit_s + step.size_bytes / _BYTES_PER_S
    source = _Source(data, begun)
    host = context.config(step.host)
    reply = world.remote.put(host, source, step.path, step.size_bytes, deadline_s)
    if reply.fault is not None:
        raise answers.unreachable(step.host, reply)
    if reply.rc != 0:
        raise answers.failed("PutSeed", step.host, reply)


class _Source(io.BytesIO):
    """Bytes that say when the first of them are read."""

    def __init__(self, data: bytes, begun: Callable[[], None]) -> None:
        super().__init__(data)
        self._begun: Callable[[], None] | None = begun

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()
        return super().read(size)
