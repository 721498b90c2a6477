"""QEMU's command line, made anew for each start from the frozen machine and this host's places.

Only options that QEMU 7.2 has and that neither 8.2, 9.2 nor 10.0 has removed or deprecated are used
(QEMU: docs/about/removed-features.rst and deprecated.rst), so the text is the same for all of them.
JSON is used where QEMU 7.2 takes it (-blockdev, -device, -netdev, -object); elsewhere every key is
written out and commas in values are doubled: a value without its key may be taken for an option.
"""

from __future__ import annotations

import re

import msgspec

from tashictl.errors import InvalidRequest, TashiError, raise_all
from tashictl.model.names import is_image_name
from tashictl.model.vm import DiskSpec, Machine, NicSpec, Vm, VmSpec
from tashictl.planning import machine, paths, qemu_hints
from tashictl.planning.paths import VmPaths

OLDEST = (7, 2)
MAX_SOCKET_PATH_BYTES = 107  # sockaddr_un's 108 with the zero at the end
MAX_TAP_NAME = 15  # IFNAMSIZ is 16 with the zero at the end
SANDBOX = {
    "obsolete": "deny",
    "elevateprivileges": "deny",
    "spawn": "deny",
    "resourcecontrol": "deny",
}
_VERSION = re.compile(r"\d+(\.\d+)+")
_MAX_CORES = 255  # pc-i440fx
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", re.IGNORECASE)
_TYPE_VERSION = re.compile(r"pc-(?:i440fx|q35)-(\d+)\.(\d+)(?:\.\d+)?")
# Ids of frozen devices, the property by which they find what lies behind them on the host, its id.
_BEHIND = {
    "disk": ("drive", "disk"),
    "nic": ("netdev", "net"),
    "rng": ("rng", "random"),
    "serial": ("chardev", "console"),
    "seed": ("drive", "seed"),
}
_DEVICE_ID = re.compile(r"(disk|nic|rng|serial|seed)(\d+)")


def version_of(text: str | None) -> tuple[int, ...]:
    """``7.2.22`` as numbers, whatever follows them; raises InvalidRequest when there are none."""
    match = _VERSION.match(text or "")
    if match is None:
        raise InvalidRequest(
            "E-QEMU-VERSION",
            "the version of the host's QEMU is not known",
            hint="tashictl host check",
        )
    return tuple(int(part) for part in match.group().split("."))


def problems(spec: VmSpec) -> list[TashiError]:
    """All that QEMU could not be given, whatever the host: hints, disks, NICs, architecture."""
    found = qemu_hints.problems(spec)
    if spec.arch != "x86_64":
        found.append(InvalidRequest("E-ARCH", f"{spec.arch} cannot be emulated", hint="use x86_64"))
    if not 1 <= spec.cores <= _MAX_CORES:
        found.append(InvalidRequest("E-CORES", f"{spec.cores} cores are not 1 to {_MAX_CORES}"))
    for disk in spec.disks:
        found += _disk_problems(disk)
    found += [
        InvalidRequest("E-MAC", f"{nic.mac!r} is no MAC of one station", hint="like 52:54:00:…")
        for nic in spec.nics
        if not _MAC.fullmatch(nic.mac)
    ]
    if len(spec.nics) > machine.MAX_NICS:
        found.append(
            InvalidRequest("E-TOO-MANY", f"more than {machine.MAX_NICS} network interfaces")
        )
    for things, what in ((spec.disks, "disks"), (spec.nics, "network interfaces")):
        if len({thing.index for thing in things}) < len(things):
            found.append(InvalidRequest("E-INDEX", f"two {what} have the same index"))
    return found


def _disk_problems(disk: DiskSpec) -> list[TashiError]:
    found: list[TashiError] = []
    if not is_image_name(disk.name):
        found.append(_bad_image(disk.name))
    if disk.format not in ("qcow2", "raw"):
        found.append(
            InvalidRequest("E-FORMAT", f"an image cannot be {disk.format!r}", hint="qcow2 or raw")
        )
    if disk.source != "image":
        found.append(InvalidRequest("E-DISK", f"a disk cannot come from {disk.source!r}"))
    return found


def _bad_image(name: str) -> InvalidRequest:
    return InvalidRequest("E-IMAGE-NAME", f"{name!r} cannot be the name of an image")


def argv(
    vm: Vm,
    *,
    version: tuple[int, ...],
    accel: str,
    folder: str,
    run_folder: str,
    image_folder: str,
) -> tuple[str, ...]:
    """The command line without the binary, of a VM whose machine is frozen.

    `version` is that of the host's QEMU, `accel` ``kvm`` or ``tcg``; the folders are absolute paths
    on the host. QEMU is to be started in a session of its own, not by -daemonize, which the sandbox
    forbids; its TAP devices must be there, and its stderr kept in a log (-D, which says no more,
    would empty it at each start). Raises InvalidRequest, or Problems with all of them.
    """
    spec, frozen = vm.spec, vm.spec.machine
    if frozen is None:
        raise InvalidRequest("E-MACHINE", f"the machine of {vm.name} is not frozen")
    where = VmPaths(folder=folder, run_folder=run_folder, image_folder=image_folder)
    raise_all(
        [
            *problems(spec),
            *_version_problems(frozen, version),
            *_path_problems(where),
            *_tap_problems(vm),
            *_device_problems(frozen, spec),
        ]
    )
    return (
        *_identity(vm, frozen, accel),
        *_host_side(where),
        *_backends(vm, where),
        *(
            word
            for device in frozen.devices
            for word in ("-device", _json(_with_medium(_joined(device), frozen, spec)))
        ),
    )


def _version_problems(frozen: Machine, version: tuple[int, ...]) -> list[TashiError]:
    shown = ".".join(str(part) for part in version)
    if version[:2] < OLDEST:
        return [InvalidRequest("E-QEMU-VERSION", f"QEMU {shown} is older than 7.2")]
    made_for = _TYPE_VERSION.fullmatch(frozen.type)
    if made_for and (int(made_for.group(1)), int(made_for.group(2))) > version[:2]:
        return [
            InvalidRequest(
                "E-QEMU-VERSION",
                f"QEMU {shown} does not know the machine {frozen.type}",
                cause="the VM was first started by a newer QEMU",
                hint="use a host with a newer QEMU",
            )
        ]
    if frozen.firmware != "bios":
        return [InvalidRequest("E-MACHINE", f"the firmware {frozen.firmware} is not supported")]
    return []


def _path_problems(where: VmPaths) -> list[TashiError]:
    found: list[TashiError] = []
    for folder in (where.folder, where.run_folder, where.image_folder):
        # The JSON that QEMU reads is UTF-8, and a control character is an accident.
        if not folder.startswith("/") or not folder.isprintable():
            found.append(
                InvalidRequest(
                    "E-PATH",
                    f"QEMU cannot use the folder {folder!r}",
                    hint="an absolute path of printable characters",
                )
            )
    longest = f"{where.run_folder}/serial.sock"
    size = len(longest.encode("utf-8", "surrogateescape"))
    if size > MAX_SOCKET_PATH_BYTES:
        found.append(
            InvalidRequest(
                "E-SOCKET-PATH",
                f"the socket path {longest} is too long",
                cause=f"{size} bytes, at most {MAX_SOCKET_PATH_BYTES}",
                hint="use a shorter [Tashictl] runDir",
            )
        )
    return found


def _tap_problems(vm: Vm) -> list[TashiError]:
    taps = paths.taps(vm)
    return [
        InvalidRequest(
            "E-TAP-NAME",
            f"the interface name {tap} is longer than {MAX_TAP_NAME}",
            hint="the cluster has used up its VM ids: start a new one",
        )
        for tap in taps
        if len(tap) > MAX_TAP_NAME
    ]


def _device_problems(frozen: Machine, spec: VmSpec) -> list[TashiError]:
    ids = {str(device["id"]) for device in frozen.devices}
    made = {id_ for id_ in ids if re.fullmatch(r"(disk|nic)\d+", id_)}
    if spec.seed is None:
        made |= ids & {machine.SEED}
    wanted = {f"disk{disk.index}" for disk in spec.disks} | {f"nic{n.index}" for n in spec.nics}
    return [
        InvalidRequest("E-MACHINE", f"{id_} is not in both the frozen machine and the request")
        for id_ in sorted(made ^ wanted)
    ]


def _identity(vm: Vm, frozen: Machine, accel: str) -> tuple[str, ...]:
    """What the guest sees, but for its devices; the accelerator is always said."""
    cores = str(vm.spec.cores)
    options = dict(frozen.options)
    return (
        "-name",
        _options({"guest": vm.name, "debug-threads": "on"}),
        "-uuid",
        vm.uuid,
        "-machine",
        _options({"type": frozen.type, **options, "dump-guest-core": "off"}),
        "-accel",
        _accel(accel, vm.spec.memory_mib),
        "-cpu",
        frozen.cpu,
        "-smp",
        _options({"cpus": cores, "maxcpus": cores, "sockets": "1", "cores": cores, "threads": "1"}),
        "-m",
        _options({"size": f"{vm.spec.memory_mib}M"}),
        "-rtc",
        _options({"base": "utc", "clock": "host"}),
        "-boot",
        _options({"strict": "on", "menu": "off"}),
        "-nodefaults",
        "-no-user-config",
    )


def _accel(accel: str, memory_mib: int) -> str:
    if accel == "kvm":
        return "kvm"
    if accel != "tcg":
        raise InvalidRequest("E-ACCEL", f"the accelerator {accel!r} is not kvm or tcg")
    # TCG's cache of translated code grows to 1 GiB when nothing is said: a quarter of the guest's
    # memory keeps a small guest small (32 MiB saved 30 of 210 MiB with a guest of 96 MiB).
    return _options({"accel": "tcg", "tb-size": str(min(max(memory_mib // 4, 32), 512))})


def _host_side(where: VmPaths) -> tuple[str, ...]:
    """What only the host sees: sockets, logs, the sandbox.

    The second monitor is for people's words on a FIFO: whoever stops the host has a shell and no
    QMP client. What it answers goes to /dev/null (planning/launch.py makes both).
    """
    listen = {"server": "on", "wait": "off"}
    return (
        "-display",
        "none",
        "-vnc",
        _options({"vnc": f"unix:{where.run_folder}/vnc.sock"}),
        "-chardev",
        _options({"backend": "socket", "id": "qmp", "path": where.qmp} | listen),
        "-mon",
        _options({"chardev": "qmp", "mode": "control"}),
        "-chardev",
        _options({"backend": "pipe", "id": "hmp", "path": f"{where.run_folder}/monitor"}),
        "-mon",
        _options({"chardev": "hmp", "mode": "readline"}),
        "-chardev",
        _options(
            {
                "backend": "socket",
                "id": "console0",
                "path": f"{where.run_folder}/serial.sock",
                **listen,
                "logfile": f"{where.folder}/console.log",
                "logappend": "on",
            }
        ),
        "-pidfile",
        f"{where.run_folder}/qemu.pid",
        "-msg",
        _options({"timestamp": "on"}),
        "-sandbox",
        _options({"enable": "on", **SANDBOX}),
    )


def _backends(vm: Vm, where: VmPaths) -> tuple[str, ...]:
    words = ["-object", _json({"qom-type": "rng-builtin", "id": "random0"})]
    for disk in vm.spec.disks:
        words += ["-blockdev", _json(_blockdev(disk, where))]
    if vm.spec.seed is not None:
        seed = _format_node("raw", machine.SEED, where.seed, read_only=True)
        words += ["-blockdev", _json(seed)]
    for nic in vm.spec.nics:
        words += ["-netdev", _json(_netdev(vm, nic))]
    return tuple(words)


def _blockdev(disk: DiskSpec, where: VmPaths) -> dict[str, object]:
    """The block nodes of a disk: ``disk<n>`` over ``disk<n>-file``, overlays over ``disk<n>-base``.

    Cached by the host (Tashi: cache=off, which tmpfs and some network file systems refuse), with
    every flush of the guest carried out. The base of an overlay is named here, by its place on this
    host, so what the overlay's own header says of it does not matter. What the guest discards is
    given back; zeros that it writes are not stored in an overlay, which is thin anyway, but are in
    a persistent image, which may be allocated in full on purpose.
    """
    if disk.persistent:
        top = _format_node(disk.format, f"disk{disk.index}", where.disk(disk))
        return top | {"discard": "unmap", "detect-zeroes": "off"}
    top = _format_node("qcow2", f"disk{disk.index}", where.disk(disk))
    image = f"{where.image_folder}/{disk.name}"
    base = _format_node(disk.format, f"disk{disk.index}-base", image, read_only=True)
    return top | {"discard": "unmap", "detect-zeroes": "unmap", "backing": base}


def _format_node(
    driver: str, node: str, path: str, *, read_only: bool = False
) -> dict[str, object]:
    cache = {"direct": False, "no-flush": False}
    file = {
        "driver": "file",
        "node-name": f"{node}-file",
        "filename": path,
        "locking": "on",
        "aio": "threads",
        "read-only": read_only,
        "discard": "unmap",
        "cache": cache,
    }
    return {
        "driver": driver,
        "node-name": node,
        "read-only": read_only,
        "cache": cache,
        "file": file,
    }


def _netdev(vm: Vm, nic: NicSpec) -> dict[str, object]:
    """A TAP that is there, or with a forwarded port the network that QEMU itself makes."""
    if nic.ssh_port is not None:
        return {
            "type": "user",
            "id": f"net{nic.index}",
            "restrict": False,
            "hostfwd": [{"str": f"tcp:127.0.0.1:{nic.ssh_port}-:22"}],
        }
    return {
        "type": "tap",
        "id": f"net{nic.index}",
        "ifname": paths.tap(vm, nic.index),
        "script": "no",
        "downscript": "no",
        "vhost": False,
    }


def _joined(device: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
    """A frozen device with the id of what lies behind it on the host."""
    match = _DEVICE_ID.fullmatch(str(device["id"]))
    if match is None:
        return device
    key, behind = _BEHIND[match.group(1)]
    return {**device, key: f"{behind}{match.group(2)}"}


def _seed_device(frozen: Machine) -> str:
    """The device that shows the seed: one of its own, or the CD-ROM drive."""
    ids = {device["id"] for device in frozen.devices}
    return machine.SEED if machine.SEED in ids else "cd0"


def _with_medium(
    device: dict[str, str | int | bool], frozen: Machine, spec: VmSpec
) -> dict[str, str | int | bool]:
    """The CD-ROM drive with the seed in it, where the seed has no device of its own."""
    if device["id"] == "cd0" and spec.seed is not None and _seed_device(frozen) == "cd0":
        return {**device, "drive": machine.SEED}
    return device


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _options(pairs: dict[str, str]) -> str:
    """QEMU's ``key=value,…``; a comma in a value is doubled, nothing else is special there."""
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in pairs.items())
