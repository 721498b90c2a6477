"""From a placed VM to the steps that make it run, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.cluster import Host
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import (
    AddTap,
    AwaitQmp,
    CheckImage,
    CheckPort,
    CreateOverlay,
    KillQemu,
    LetGo,
    PlaceSeed,
    Plan,
    PutSeed,
    RemoveDir,
    RemoveTap,
    StartQemu,
    Step,
    WriteIfup,
    WriteManifest,
)
from tashictl.model.vm import Vm
from tashictl.planning import manifest, paths, ports, qemu, register, render, wire
from tashictl.planning.net.layout import style_of


def plan(
    vm: Vm, host: Host, networks: Iterable[Network], settings: Settings, ifup_template: str
) -> Plan:
    """The steps that create `vm` on `host`; its operation must be set and its machine frozen."""
    where = paths.of(vm.uuid, settings)
    at = paths.at(host.name, vm.uuid, settings)
    cluster = settings.tashictl.cluster_id
    operation = vm.operation.id if vm.operation else 0
    networks = tuple(networks)
    text = manifest.text(vm, cluster, "creating", operation)
    # First what other people's servers may refuse; the rest then travels in one script.
    steps: list[Step] = [
        *register.steps(vm, host.name, networks, settings),
        WriteManifest(**at, phase="creating", manifest=text),
        *wire.steps(vm, host.name, networks, settings),
    ]
    steps += _seed(vm, at, where.seed)
    for disk in vm.spec.disks:
        image = f"{where.image_folder}/{disk.name}"
        if disk.persistent:
            steps.append(CheckImage(**at, path=image, image_folder=where.image_folder))
        else:
            steps.append(
                CreateOverlay(
                    **at,
                    path=where.disk(disk),
                    base=image,
                    base_format=disk.format,
                    image_folder=where.image_folder,
                )
            )
    return (*steps, *to_running(vm, host, networks, settings, ifup_template))


def to_running(
    vm: Vm, host: Host, networks: Iterable[Network], settings: Settings, ifup_template: str
) -> Plan:
    """The steps from disks that are there to a VM that runs: the same at every start."""
    where = paths.of(vm.uuid, settings)
    at = paths.at(host.name, vm.uuid, settings)
    operation = vm.operation.id if vm.operation else 0
    by_id = {n.id: n for n in networks}
    steps: list[Step] = []
    bridged = [nic for nic in vm.spec.nics if nic.ssh_port is None]
    for network_id in dict.fromkeys(nic.network for nic in bridged):
        content = render.ifup(
            ifup_template, by_id[network_id], style=style_of(host.config), host=host.name
        )
        steps.append(WriteIfup(**at, path=paths.ifup(network_id, settings), content=content))
    for nic in bridged:
        steps.append(
            AddTap(**at, tap=paths.tap(vm, nic.index), ifup=paths.ifup(nic.network, settings))
        )
    steps += [
        *(CheckPort(**at, port=port) for port in sorted(ports.of([vm]))),
        start(vm, host, settings),
        WriteManifest(
            **at,
            phase="running",
            manifest=manifest.open_text(vm, settings.tashictl.cluster_id, "running", operation),
            add_started=True,
        ),
        AwaitQmp(**at, socket=where.qmp),
    ]
    return tuple(steps)


def _seed(vm: Vm, at: paths.At, path: str) -> list[Step]:
    """Early: its stream may take long, and nothing else is there to undo then."""
    seed, part = vm.spec.seed, f"{path}.part"
    if seed is None:
        return []
    return [
        PutSeed(**at, path=part, size_bytes=seed.size_bytes, sha256=seed.sha256),
        PlaceSeed(**at, part=part, path=path, sha256=seed.sha256),
    ]


def start(vm: Vm, host: Host, settings: Settings) -> StartQemu:
    """The step that starts the VM's QEMU with the binary and accelerator of this host."""
    where = paths.of(vm.uuid, settings)
    facts = host.record.facts
    version = qemu.version_of(facts.qemu_version if facts else None)
    accel = host.config.accel or (settings.qemu.accel if settings.qemu.accel != "auto" else None)
    return StartQemu(
        **paths.at(host.name, vm.uuid, settings),
        binaries=binaries(settings, vm.spec.arch),
        argv=qemu.argv(
            vm,
            version=version,
            accel=accel if accel and accel != "auto" else (facts.accel if facts else "tcg"),
            folder=where.folder,
            run_folder=where.run_folder,
            image_folder=where.image_folder,
        ),
        wait_s=int(settings.qemu.start_timeout_s),
        powerdown_s=int(settings.qemu.powerdown_timeout_s),
        image_folder=where.image_folder,
    )


def binaries(settings: Settings, arch: str = "x86_64") -> tuple[str, ...]:
    """The names under which QEMU is looked for on a host, in order."""
    if settings.qemu.qemu_bin:
        return (settings.qemu.qemu_bin,)
    return (f"qemu-system-{arch}", "/usr/libexec/qemu-kvm")


def undo(plan: Plan, begun: Iterable[int]) -> Plan:
    """What takes back the steps of `plan` that were begun, newest first: of a create, start, adopt.

    An adopted QEMU is only let go. Only who made the folder removes it: a start finds the disks
    there, and leaves them. Files for a whole host (ifup) stay: other VMs use them.
    """
    found: list[Step] = []
    for index in sorted(begun, reverse=True):
        step = plan[index]
        at = paths.at_step(step)
        match step:
            case StartQemu():
                found.append(KillQemu(**at))
            case AddTap(tap=tap):
                found.append(RemoveTap(**at, tap=tap))
            case WriteManifest(phase="creating"):
                found.append(RemoveDir(**at))
            case WriteManifest(phase="adopting"):
                found.append(LetGo(**at))
            case WriteManifest(phase="starting", manifest=text):
                stopped = manifest.in_phase(text, "stopped")
                found.append(WriteManifest(**at, phase="stopped", manifest=stopped))
            case _:
                found += [back] if (back := register.reverse(step)) is not None else []
    return tuple(found)
