"""The commands of a controller, each as a script would type it; see `harness.Controller`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tashictl.model.vm import OperationKind, Vm
from tashictl.ops import count as count_ops
from tashictl.ops import host as host_ops
from tashictl.ops import host_remove, many, recover, starting
from tashictl.ops import image as image_ops
from tashictl.ops import power as power_ops
from tashictl.ops import sweep as sweep_ops
from tashictl.ops import vm as vm_ops
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.ops.ports_sweep import Books
from tashictl.ops.sweep import Round, Wish
from tashictl.planning import images, paths
from tashictl.planning.request import RawVm
from tests.sim.things import IMAGE, IMPORTED, NAME, SETTINGS, USER_DATA
from tests.sim.watched import WatchedStore

if TYPE_CHECKING:
    from tests.sim.harness import Cluster


class Verbs:
    """What a controller can be told; each returns ``ok`` or how it ended."""

    cluster: Cluster
    store: WatchedStore
    world: World
    context: Context
    dead: bool
    books: Books
    round: Round | None

    def command(self, do: Callable[[], object]) -> str:
        """Carry a command out."""
        raise NotImplementedError

    def interrupted(self) -> int | None:
        """The operation that is in flight or interrupted, if any."""
        raise NotImplementedError

    def create(self, name: str = NAME, **changes: Any) -> str:
        wish = {"disks": ("base.qcow2", "data.qcow2:persistent"), "nics": ("1", "2"), **changes}
        raw = RawVm(name=name, **wish)
        return self.command(lambda: vm_ops.create(self.world, self.context, raw))

    def seeded(self) -> str:
        """Create a VM with a cloud-init seed."""
        return self.create(disks=("base.qcow2",), cloud_init=USER_DATA)

    def named(self) -> str:
        """Create a VM with an address and a name at the servers."""
        return self.create(disks=("base.qcow2",), nics=("named",))

    def count(self) -> str:
        """Create two at once; the first error if there is one."""
        raw = RawVm(name=NAME, count="2", disks=("base.qcow2",), nics=("lan",))
        return self._each(
            lambda: count_ops.create_many(self.world, self.context, raw, many.Watcher())
        )

    def wipe(self) -> str:
        """Destroy all that `count` made; the first error if there is one."""

        def do(world: World, vm: Vm) -> Vm:
            return vm_ops.destroy(world, self.context, str(vm.id))

        made = [vm for vm in self.store.read().vms.values() if vm.name.startswith(f"{NAME}-")]
        return self._each(lambda: many.run_each(self.world, self.context, made, do))

    def _each(self, work: Callable[[], list[many.Result]]) -> str:
        def do() -> None:
            for result in work():
                if result.error is not None:
                    raise result.error

        return self.command(do)

    def destroy(self, name: str = NAME) -> str:
        self.cluster.kept.clear()  # from here on the disks may go
        return self.command(lambda: vm_ops.destroy(self.world, self.context, name))

    def crash(self) -> str:
        """The VM's QEMU ends, its host is asked, and from here on its disks must stay."""
        vm = self.store.read().vm_named(NAME)
        if vm is None or vm.host is None:
            return "nothing"
        host = self.cluster.network.hosts[vm.host]
        process = host.qemu_of(vm.uuid)
        if process is not None:
            host.end(process)
        path = paths.of(vm.uuid, SETTINGS).disk(vm.spec.disks[0])
        self.cluster.kept[vm.uuid] = (host, path, host.files[path])
        return self.check()

    def start(self, name: str = NAME) -> str:
        return self.command(lambda: starting.start_again(self.world, self.context, name))

    def power(self, kind: OperationKind, name: str = NAME) -> str:
        if kind is OperationKind.SHUTDOWN:
            self.cluster.kept.clear()
        world, context = self.world, self.context
        return self.command(lambda: power_ops.act(world, context, name, kind, timeout_s=20))

    def resume(self) -> str:
        operation = self.interrupted()
        if operation is None:
            return "nothing"
        return self.command(lambda: recover.resume(self.world, self.context, operation))

    def pend(self) -> str:
        """Leave a VM with a seed Pending: every host is known to be down when it is asked for."""
        self.cluster.all_down()
        outcome = self.create(cloud_init=USER_DATA)
        self.dead = False
        self.check()
        return outcome

    def schedule(self) -> str:
        """Place what waits; the first error if there is one."""

        def do() -> None:
            for _, error in vm_ops.schedule(self.world, self.context):
                if error is not None:
                    raise error

        return self.command(do)

    def bring(self) -> str:
        """Import an image to all hosts; the first host's error if there is one."""
        data = IMPORTED.encode()
        image = images.describe(IMAGE, data[:104], len(data), hashlib.sha256(data).hexdigest())

        def do() -> None:
            content = image_ops.Content(source=io.BytesIO(data), image=image)
            names = [h.name for h in self.cluster.hosts]
            done = image_ops.put(self.world, self.context, content, names)
            for _, error in done.failed:
                raise error

        return self.command(do)

    def undo(self) -> str:
        operation = self.interrupted()
        if operation is None:
            return "nothing"
        return self.command(lambda: recover.undo(self.world, self.context, operation))

    def sweep(self, *, accept: bool = True) -> str:
        """One round; who is asked about the brake says `accept`. What came of it is `round`."""

        def do() -> None:
            self.round = sweep_ops.sweep(
                self.world, self.context, self.books, Wish(), lambda _: accept
            )

        return self.command(do)

    def pause(self, name: str = NAME) -> str:
        return self.power(OperationKind.PAUSE, name)

    def remove(self, host: str) -> str:
        return self.command(lambda: host_remove.remove(self.world, self.context, host))

    def check(self) -> str:
        hosts = self.context.inventory.hosts
        return self.command(lambda: host_ops.check(self.world, self.context, hosts))
