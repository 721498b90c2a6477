"""The tables of VMs, hosts, images, networks and operations, as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tashictl.cli import records, text
from tashictl.cli.records import NetworkUse, Scene
from tashictl.cli.tables import Column, Shown, Table
from tashictl.model import units
from tashictl.model.host import HostState
from tashictl.model.image import Image
from tashictl.model.vm import DiskSpec, NicSpec, Observed, TashiState, Vm

# Only `host` and `op` know hosts and operations: `vm list` starts faster without.
if TYPE_CHECKING:
    from tashictl.model.cluster import Host
    from tashictl.model.operation import Operation

_WRONG = {TashiState.Held, TashiState.Orphaned}
_AT_REST = {TashiState.Exited, TashiState.Suspended}
_EXPLAINED = {TashiState.Pending, TashiState.Held, TashiState.Orphaned, TashiState.Exited}
_HOST_COLOURS = {HostState.Drained: "yellow", HostState.VersionMismatch: "red"}
_UP = {True: "up", False: "down"}


def vm_table(scene: Scene) -> Table[Vm]:
    """The table of VMs."""
    return Table(
        things="VMs",
        keys=records.VM_KEYS,
        record=lambda vm: records.vm_record(vm, scene),
        name=lambda vm: vm.name,
        order=lambda vm: vm.id,
        note=lambda vm: _vm_note(vm, scene),
        columns=(*_VM_COLUMNS, *_more_of_vms(scene)),
    )


_VM_COLUMNS: tuple[Column[Vm], ...] = (
    Column(key="id", header="ID", right=True, show=lambda vm: str(vm.id)),
    Column(key="name", header="NAME", show=lambda vm: vm.name),
    Column(
        key="state",
        header="STATE",
        show=lambda vm: vm.state.name,
        colour=lambda vm: _vm_colour(vm.state),
    ),
    Column(key="host", header="HOST", show=lambda vm: vm.host),
    Column(key="user", header="USER", show=lambda vm: vm.user),
    Column(key="cores", header="CORES", right=True, show=lambda vm: str(vm.spec.cores)),
    Column(
        key="memory",
        header="MEMORY",
        path="memory_mib",
        right=True,
        show=lambda vm: units.show_memory(vm.spec.memory_mib),
    ),
    Column(
        key="address",
        header="ADDRESS",
        path="nics.ip",
        show=lambda vm: _few([a for nic in vm.spec.nics if (a := address(nic, vm.observed))]),
    ),
    Column(
        key="image",
        header="IMAGE",
        path="disks.image",
        show=lambda vm: _few([_disk(disk) for disk in vm.spec.disks]),
    ),
)


def _more_of_vms(scene: Scene) -> tuple[Column[Vm], ...]:
    wide, chosen = Shown.WIDE, Shown.CHOSEN
    return (
        Column(
            key="network",
            header="NETWORK",
            path="nics.network",
            shown=wide,
            show=lambda vm: _few([scene.network_name(n.network) for n in vm.spec.nics]),
        ),
        Column(
            key="mac",
            header="MAC",
            path="nics.mac",
            shown=wide,
            show=lambda vm: _few([n.mac for n in vm.spec.nics]),
        ),
        Column(
            key="fqdn",
            header="DNS NAME",
            path="nics.fqdn",
            shown=wide,
            show=lambda vm: _few([n.fqdn for n in vm.spec.nics if n.fqdn]),
        ),
        Column(
            key="started",
            header="STARTED",
            shown=wide,
            show=lambda vm: text.show_time(vm.started, scene.now),
        ),
        Column(key="uuid", header="UUID", shown=wide, show=lambda vm: vm.uuid),
        Column(key="pid", header="PID", right=True, shown=chosen, show=lambda vm: _number(vm.pid)),
        Column(
            key="created",
            header="CREATED",
            shown=chosen,
            show=lambda vm: text.show_time(vm.created, scene.now),
        ),
    )


def _vm_colour(state: TashiState) -> str:
    if state is TashiState.Running:
        return "green"
    if state in _WRONG:
        return "red"
    return "" if state in _AT_REST else "yellow"


def _vm_note(vm: Vm, scene: Scene) -> str:
    """Why it is not where it should be, in its own words; for an orphan since when."""
    state = vm.state
    if state not in _EXPLAINED:
        return ""
    seen = text.show_time(vm.observed.at, scene.now) if state is TashiState.Orphaned else None
    said = [f"last seen {seen}"] if seen else []
    return ": ".join([*said, *([vm.reason] if vm.reason else [])])


def _disk(disk: DiskSpec) -> str:
    return f"{disk.name}:persistent" if disk.persistent else disk.name


def address(nic: NicSpec, observed: Observed) -> str | None:
    """Its address: the one that it was given, or that was learnt of it; or, where a port of its
    host's 127.0.0.1 leads to its SSH, that.
    """
    port = None if nic.ssh_port is None else f"127.0.0.1:{nic.ssh_port}"
    return nic.ip or port or next((a for mac, a in observed.learnt if mac == nic.mac), None)


def _few(values: Sequence[str]) -> str | None:
    """The first of several, and how many more there are."""
    if not values:
        return None
    return values[0] if len(values) == 1 else f"{values[0]} +{len(values) - 1}"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def host_table(scene: Scene) -> Table[Host]:
    """The table of hosts; cores and memory are what VMs claim of what the host offers."""
    seen: Column[Host] = Column(
        key="last_contact",
        header="LAST SEEN",
        show=lambda h: text.show_time(h.record.last_contact, scene.now),
        colour=lambda h: "dim" if scene.is_stale(h.record.last_contact) else "",
    )
    return Table(
        things="hosts",
        keys=records.HOST_KEYS,
        record=lambda host: records.host_record(host, scene),
        name=lambda host: host.name,
        order=lambda host: host.record.id,
        note=_host_note,
        columns=(*_HOST_COLUMNS, *_HOST_FACTS, seen, *_MORE_OF_HOSTS),
    )


def _fact(key: str, header: str, name: str, shown: Shown = Shown.ALWAYS) -> Column[Host]:
    """A column of what only a probe can know."""
    return Column(
        key=key, header=header, shown=shown, show=lambda h: getattr(h.record.facts, name, None)
    )


_HOST_COLUMNS: tuple[Column[Host], ...] = (
    Column(key="id", header="ID", right=True, show=lambda h: str(h.record.id)),
    Column(key="name", header="NAME", show=lambda h: h.name),
    Column(
        key="state",
        header="STATE",
        show=lambda h: h.state.name,
        colour=lambda h: _HOST_COLOURS.get(h.state, ""),
    ),
    Column(
        key="up",
        header="UP",
        show=lambda h: None if h.record.up is None else _UP[h.record.up],
        colour=lambda h: "green" if h.record.up else "red",
    ),
    Column(
        key="used_cores",
        header="CORES",
        right=True,
        show=lambda h: f"{h.used_cores}/{h.cores if h.record.facts else text.UNKNOWN}",
    ),
    Column(
        key="used_memory_mib",
        header="MEMORY GiB",
        right=True,
        show=lambda h: _host_memory(h),
    ),
    Column(key="vms", header="VMS", right=True, show=lambda h: str(h.vms)),
)
_HOST_FACTS = (_fact("version", "QEMU", "qemu_version"), _fact("accel", "ACCEL", "accel"))
_MORE_OF_HOSTS: tuple[Column[Host], ...] = (
    Column(key="address", header="ADDRESS", shown=Shown.WIDE, show=lambda h: h.config.address),
    _fact("arch", "ARCH", "arch", Shown.WIDE),
    Column(
        key="reserved_memory_mib",
        header="KEPT MiB",
        right=True,
        shown=Shown.WIDE,
        show=lambda h: str(h.reserved_memory_mib),
    ),
)


def _host_memory(host: Host) -> str:
    used = f"{host.used_memory_mib / 1024:.3g}"
    return f"{used}/{host.memory_mib / 1024:.3g}" if host.record.facts else f"{used}/{text.UNKNOWN}"


def _host_note(host: Host) -> str:
    kept = ", ".join(host.record.reserved_for)
    said = [f"reserved for {kept}"] if kept else []
    return ": ".join([*said, *([host.record.notes] if host.record.notes else [])])


def network_table() -> Table[NetworkUse]:
    """The table of networks."""
    return Table(
        things="networks",
        keys=records.NETWORK_KEYS,
        record=records.network_record,
        name=lambda use: use.network.name,
        order=lambda use: use.network.id,
        columns=(*_NETWORK_COLUMNS, *_MORE_OF_NETWORKS),
    )


_NETWORK_COLUMNS: tuple[Column[NetworkUse], ...] = (
    Column(key="id", header="ID", right=True, show=lambda u: str(u.network.id)),
    Column(key="name", header="NAME", show=lambda u: u.network.name),
    Column(key="vlan", header="VLAN", right=True, show=lambda u: _number(u.network.vlan)),
    Column(key="bridge", header="BRIDGE", show=lambda u: u.network.bridge),
    Column(key="mode", header="MODE", show=lambda u: u.network.mode),
    Column(key="cidr", header="CIDR", show=lambda u: u.network.cidr),
    Column(key="used", header="USED", right=True, show=lambda u: _number(u.used)),
    Column(key="free", header="FREE", right=True, show=lambda u: _number(u.free)),
    Column(key="default", header="DEFAULT", show=lambda u: "default" if u.network.default else ""),
)
_MORE_OF_NETWORKS: tuple[Column[NetworkUse], ...] = (
    Column(key="range", header="RANGE", shown=Shown.WIDE, show=lambda u: u.network.range),
    Column(
        key="mtu",
        header="MTU",
        right=True,
        shown=Shown.WIDE,
        show=lambda u: _number(u.network.mtu),
    ),
    Column(
        key="host_address",
        header="HOST ADDRESS",
        shown=Shown.WIDE,
        show=lambda u: u.network.host_address,
    ),
    Column(key="dhcp", header="DHCP", shown=Shown.WIDE, show=lambda u: u.network.dhcp or "none"),
    Column(key="hosts", header="HOSTS", shown=Shown.WIDE, show=lambda u: _few(u.hosts)),
)


def image_table() -> Table[Image]:
    """The table of images."""
    return Table(
        things="images",
        keys=records.IMAGE_KEYS,
        record=records.image_record,
        name=lambda image: image.name,
        order=lambda image: image.name,
        columns=(
            Column(key="name", header="NAME", show=lambda i: i.name),
            Column(key="format", header="FORMAT", show=lambda i: i.format),
            Column(
                key="size",
                header="SIZE",
                path="size_bytes",
                right=True,
                show=lambda i: units.show_bytes(i.size_bytes),
            ),
            Column(
                key="virtual",
                header="VIRTUAL",
                path="virtual_size_bytes",
                right=True,
                show=lambda i: units.show_bytes(i.virtual_size_bytes),
            ),
            Column(key="arch", header="ARCH", show=lambda i: i.arch),
            Column(key="hosts", header="HOSTS", show=_image_hosts),
            Column(
                key="backing", header="BACKING", shown=Shown.WIDE, show=lambda i: i.backing or ""
            ),
            Column(key="sha256", header="SHA256", shown=Shown.WIDE, show=lambda i: i.sha256),
        ),
    )


def _image_hosts(image: Image) -> str | None:
    return "all" if image.shared else " ".join(image.hosts) or None


def operation_table(scene: Scene) -> Table[Operation]:
    """The table of operations."""
    from tashictl.model.operation import Status

    colours = {
        Status.RUNNING: "yellow",
        Status.DONE: "green",
        Status.FAILED: "red",
        Status.INTERRUPTED: "red",
    }
    return Table(
        things="operations",
        keys=records.OPERATION_KEYS,
        record=records.operation_record,
        name=lambda op: str(op.id),
        order=lambda op: op.id,
        note=lambda op: op.reason,
        columns=(
            Column(key="id", header="ID", right=True, show=lambda op: str(op.id)),
            Column(key="kind", header="KIND", show=lambda op: op.kind),
            Column(key="target", header="TARGET", show=lambda op: op.target),
            Column(
                key="status",
                header="STATUS",
                show=lambda op: op.status.value,
                colour=lambda op: colours.get(op.status, ""),
            ),
            Column(
                key="step",
                header="STEP",
                path="steps.name",
                show=lambda op: "" if op.status is Status.DONE else _last_step(op),
            ),
            Column(
                key="started",
                header="STARTED",
                show=lambda op: text.show_time(op.started, scene.now),
            ),
            Column(key="took", header="TOOK", path="ended", right=True, show=_took),
            Column(key="actor", header="ACTOR", show=lambda op: op.actor),
        ),
    )


def _last_step(operation: Operation) -> str:
    """The step that was begun last."""
    begun = [step.name for step in operation.steps if step.status != "waiting"]
    return begun[-1] if begun else ""


def _took(operation: Operation) -> str | None:
    began, ended = text.read_time(operation.started), text.read_time(operation.ended)
    if began is None or ended is None:
        return None
    return units.show_seconds((ended - began).total_seconds())
