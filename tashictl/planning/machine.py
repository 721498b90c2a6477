"""The frozen machine: all that a guest sees of QEMU, decided once, at the VM's first start.

Places on the PCI bus are a function of a device's index, so that a disk or NIC that is plugged into
a running VM gets the place that it has after a restart::

    slot   pc (bus pci.0)                   q35 (bus pcie.0)
    0x02   VGA                              VGA
    0x03   balloon                          balloon
    0x04   random numbers                   random numbers
    0x05   virtio-scsi (if asked for)       virtio-scsi (if asked for)
    0x08+  virtio disks 0 to 7              root ports dport0-7, functions 0-7 of slot 0x08
    0x10+  NICs 0 to 7                      root ports nport0-7, functions 0-7 of slot 0x10
    0x12+                                   NICs 0 to 7 of models that are not PCI Express
    0x1a   cloud-init seed, read-only       cloud-init seed, read-only
    0x1b+  free                             free up to 0x1e

A device on q35's root bus cannot be hot-plugged, hence a port for each place. SCSI disks are
targets of one controller. IDE disks lie before the CD-ROM drive, which is the last unit (pc: ide.1
unit 1, q35: ide.5) and empty at first; where disks are IDE, the seed is the medium in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from tashictl.errors import InvalidRequest, TashiError, raise_all
from tashictl.model.host import HostFacts
from tashictl.model.settings import Settings
from tashictl.model.vm import DiskSpec, Machine, NicSpec, VmSpec
from tashictl.planning import qemu_hints

Device = dict[str, str | int | bool]
_T = TypeVar("_T")

MAX_NICS = 8
SEED = "seed0"  # the device's id, and its block node's name
# By (interface, is q35).
MAX_DISKS = {
    ("virtio", False): 8,
    ("virtio", True): 8,
    ("scsi", False): 16,
    ("scsi", True): 16,
    ("ide", False): 3,
    ("ide", True): 5,
}
_PCI_EXPRESS_NICS = ("virtio-net-pci", "e1000e", "vmxnet3")
_FAMILIES = {"pc": "pc-i440fx", "q35": "pc-q35"}
_VERSIONED = re.compile(r"pc-(i440fx|q35)-[a-z0-9][a-z0-9.]*")
_VERSION = re.compile(r"(\d+)\.(\d+)")

# The x86-64 psABI's levels over QEMU's vendor-neutral model. svm is off because KVM has it off and
# TCG on; `enforce` makes a host that lacks a feature refuse the guest instead of changing it.
_V2 = "+cx16,+lahf-lm,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3"
_V3 = f"{_V2},+abm,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+movbe,+xsave"
_BASELINES = {"x86-64-v1": "", "x86-64-v2": f",{_V2}", "x86-64-v3": f",{_V3}"}
_OF_THE_HOST = ("host", "max")


def freeze(spec: VmSpec, *, uuid: str, facts: HostFacts, settings: Settings) -> VmSpec:
    """`spec` with its machine; a spec that has one comes back unchanged.

    `uuid` is the VM's, `facts` those of the host of the first start. Raises InvalidRequest, or
    Problems with all of them.
    """
    if spec.machine is not None:
        return spec
    found: list[TashiError] = qemu_hints.problems(spec)
    type_ = _attempt(found, lambda: machine_type(settings.qemu.machine, facts))
    model = spec.hints.get("cpumodel", settings.qemu.cpu_model)
    cpu = _attempt(found, lambda: cpu_text(model, facts.accel))
    devices = _attempt(found, lambda: _devices(spec, uuid, type_ or "", settings))
    raise_all({str(problem): problem for problem in found}.values())
    machine = Machine(
        type=type_ or "",
        cpu=cpu or "",
        options=_options(spec),
        devices=devices or (),
        migratable=_model_of(cpu or "") not in _OF_THE_HOST,
    )
    return replace(spec, machine=machine)


def _attempt(found: list[TashiError], part: Callable[[], _T]) -> _T | None:
    """What `part` makes, or None and its problem in `found`."""
    try:
        return part()
    except TashiError as problem:
        found.append(problem)
        return None


def _devices(spec: VmSpec, uuid: str, type_: str, settings: Settings) -> tuple[Device, ...]:
    layout, interface = _Layout(type_), qemu_hints.disk_interface(spec, settings)
    return (
        *layout.fixed(),
        *layout.disks(spec.disks, interface, uuid),
        *layout.nics(spec.nics, qemu_hints.nic_model(spec, settings)),
        *(layout.seed() if spec.seed is not None and interface != "ide" else ()),
    )


def machine_type(wanted: str, facts: HostFacts) -> str:
    """The versioned machine type that ``pc``, ``q35`` or a versioned type is on this host.

    Where the host did not list its types (``pc=pc-i440fx-7.2`` for an alias), its QEMU's version
    says what the alias means. Raises InvalidRequest.
    """
    aliases = dict(entry.split("=", 1) for entry in facts.machine_types if "=" in entry)
    plain = {entry for entry in facts.machine_types if "=" not in entry} | set(aliases.values())
    resolved = aliases.get(wanted, wanted)
    version = _VERSION.match(facts.qemu_version or "")
    if resolved in _FAMILIES and version is not None:
        resolved = f"{_FAMILIES[resolved]}-{version.group(1)}.{version.group(2)}"
    if not _VERSIONED.fullmatch(resolved):
        raise InvalidRequest(
            "E-MACHINE",
            f"the machine {wanted!r} cannot be used",
            cause="" if version else "the version of the host's QEMU is not known",
            hint="[Qemu] machine is pc, q35 or a version of them like pc-i440fx-7.2",
        )
    if plain and resolved not in plain:
        raise InvalidRequest(
            "E-MACHINE",
            f"the host's QEMU has no machine {resolved}",
            cause=f"QEMU {facts.qemu_version or 'of unknown version'}",
            hint="choose another [Qemu] machine or another host",
        )
    return resolved


def cpu_text(model: str, accel: str) -> str:
    """The whole ``-cpu`` text for a baseline, ``host``, ``max`` or a model of QEMU.

    Features may follow each. A model without a version is version 1, which is what every versioned
    machine takes it for. A named model gets no ``enforce``: it is kept as it was given. Raises
    InvalidRequest.
    """
    if not qemu_hints.CPU_TEXT.fullmatch(model):
        raise _bad_cpu(model, "it is no CPU model")
    name, comma, features = model.partition(",")
    if name in _BASELINES:
        return f"qemu64-v1{_BASELINES[name]},-svm{comma}{features},enforce=on"
    if name.startswith("x86-64-"):
        raise _bad_cpu(model, "there is no such baseline")
    if name in _OF_THE_HOST:
        if name == "host" and accel != "kvm":
            raise _bad_cpu(model, "the CPU of the host needs KVM")
        return model
    if name == "base":
        raise _bad_cpu(model, "it has no features")
    versioned = name if re.search(r"-v\d+$", name) else f"{name}-v1"
    return f"{versioned}{comma}{features}"


def _bad_cpu(model: str, cause: str) -> InvalidRequest:
    return InvalidRequest(
        "E-CPU",
        f"the CPU model {model!r} cannot be used",
        cause=cause,
        hint="use x86-64-v1, x86-64-v2, x86-64-v3, or a name of `qemu-system-x86_64 -cpu help`",
    )


def _model_of(cpu: str) -> str:
    return cpu.partition(",")[0]


def _options(spec: VmSpec) -> tuple[tuple[str, str], ...]:
    # What depends on the host or the build when it is left out (smm: on KVM; vmport: on the build)
    # is said; no USB controller, since nothing is plugged into it.
    acpi = "on" if qemu_hints.acpi(spec) else "off"
    return (("acpi", acpi), ("hpet", "off"), ("smm", "off"), ("usb", "off"), ("vmport", "off"))


def is_q35(type_: str) -> bool:
    """Whether a versioned machine type is of the q35 family."""
    return type_.startswith("pc-q35-")


class _Layout:
    """Where the devices of a machine type lie."""

    def __init__(self, type_: str) -> None:
        self._q35 = is_q35(type_)
        self._root = "pcie.0" if self._q35 else "pci.0"

    def fixed(self) -> tuple[Device, ...]:
        """Devices that every VM has; q35's ports, and the CD-ROM drive, which cannot be plugged."""
        cd: Device = {"driver": "ide-cd", "id": "cd0", "bus": "ide.1", "unit": 1}
        if self._q35:
            cd = {**cd, "bus": "ide.5", "unit": 0}
        return (
            self._at_root("VGA", "video0", 0x02),
            {**self._at_root("virtio-balloon-pci", "balloon0", 0x03), "deflate-on-oom": True},
            self._at_root("virtio-rng-pci", "rng0", 0x04),
            {"driver": "isa-serial", "id": "serial0", "index": 0},
            *(self._ports() if self._q35 else ()),
            {**cd, "bootindex": 100},
        )

    def _at_root(self, driver: str, id_: str, slot: int) -> Device:
        return {"driver": driver, "id": id_, "bus": self._root, "addr": f"{slot:#04x}"}

    def _ports(self) -> tuple[Device, ...]:
        # Sixteen ports that each reserved 4 KiB of I/O space would use up all there is.
        return tuple(
            {
                "driver": "pcie-root-port",
                "id": f"{kind}{n}",
                "bus": self._root,
                "addr": f"{slot:#04x}.{n:#x}",
                "multifunction": n == 0,
                "chassis": first + n,
                "port": first + n,
                "io-reserve": 0,
            }
            for kind, slot, first in (("dport", 0x08, 1), ("nport", 0x10, 9))
            for n in range(8)
        )

    def disks(self, disks: tuple[DiskSpec, ...], interface: str, uuid: str) -> tuple[Device, ...]:
        """A device for each disk, and its controller; the first disk boots first."""
        self._check(disks, MAX_DISKS[interface, self._q35], f"{interface} disks")
        controller = (self._at_root("virtio-scsi-pci", "scsi0", 0x05),)
        return (
            *(controller if interface == "scsi" else ()),
            *(
                {
                    **self._disk_place(disk.index, interface),
                    "serial": serial(uuid, disk.index),
                    "bootindex": 1 + disk.index,
                    "logical_block_size": 512,
                    "physical_block_size": 512,
                    "write-cache": "on",
                }
                for disk in disks
            ),
        )

    def _disk_place(self, index: int, interface: str) -> Device:
        id_ = f"disk{index}"
        if interface == "scsi":
            return {
                "driver": "scsi-hd",
                "id": id_,
                "bus": "scsi0.0",
                "channel": 0,
                "scsi-id": index,
                "lun": 0,
            }
        if interface == "ide" and self._q35:
            return {"driver": "ide-hd", "id": id_, "bus": f"ide.{index}", "unit": 0}
        if interface == "ide":
            return {"driver": "ide-hd", "id": id_, "bus": f"ide.{index // 2}", "unit": index % 2}
        if self._q35:
            return {"driver": "virtio-blk-pci", "id": id_, "bus": f"dport{index}", "addr": "0x00"}
        return self._at_root("virtio-blk-pci", id_, 0x08 + index)

    def nics(self, nics: tuple[NicSpec, ...], model: str) -> tuple[Device, ...]:
        """A device for each NIC, without boot ROM.

        The ROM comes from a package of the host, and its size is guest-visible: two hosts would
        make two guests of it. Nothing boots from the network.
        """
        self._check(nics, MAX_NICS, "network interfaces")
        return tuple(
            {**self._nic_place(nic.index, model), "mac": nic.mac.lower(), "romfile": ""}
            for nic in nics
        )

    def seed(self) -> tuple[Device, ...]:
        """The cloud-init seed: found by the label of its volume, so its place means nothing."""
        return ({**self._at_root("virtio-blk-pci", SEED, 0x1A), "serial": "cidata"},)

    def _nic_place(self, index: int, model: str) -> Device:
        id_ = f"nic{index}"
        if not self._q35:
            return self._at_root(model, id_, 0x10 + index)
        if model in _PCI_EXPRESS_NICS:
            return {"driver": model, "id": id_, "bus": f"nport{index}", "addr": "0x00"}
        return self._at_root(model, id_, 0x12 + index)

    @staticmethod
    def _check(things: tuple[DiskSpec, ...] | tuple[NicSpec, ...], limit: int, what: str) -> None:
        indexes = [thing.index for thing in things]
        if len(set(indexes)) < len(indexes):
            raise InvalidRequest("E-INDEX", f"two {what} have the same index", cause=str(indexes))
        if any(not 0 <= index < limit for index in indexes):
            raise InvalidRequest(
                "E-TOO-MANY",
                f"there is no place for {what} {indexes}",
                cause=f"the machine has places 0 to {limit - 1}",
                hint="take fewer, or another diskInterface",
            )


def serial(uuid: str, index: int) -> str:
    """A disk's serial number: 16 digits of the VM's uuid and the index; virtio-blk allows 20."""
    return f"{uuid.replace('-', '')[:16]}-{index}"
