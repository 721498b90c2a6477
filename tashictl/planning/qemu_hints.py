"""Tashi's hints: what each may say, what QEMU makes of it, and what is wrong with those given."""

from __future__ import annotations

import re
from collections.abc import Callable

from tashictl.errors import InvalidRequest, TashiError
from tashictl.model.names import is_name
from tashictl.model.settings import Settings
from tashictl.model.vm import VmSpec

# What a user may write, and what it is called in our layout of the machine.
DISK_INTERFACES = {
    "virtio": "virtio",
    "virtio-blk": "virtio",
    "scsi": "scsi",
    "virtio-scsi": "scsi",
    "ide": "ide",
}
NIC_MODELS = {
    "virtio": "virtio-net-pci",
    "virtio-net": "virtio-net-pci",
    "virtio-net-pci": "virtio-net-pci",
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "pcnet": "pcnet",
    "ne2k_pci": "ne2k_pci",
    "vmxnet3": "vmxnet3",
}
# A model or baseline, then features: +name, -name or name=value. Nothing else reaches -cpu.
CPU_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(,[+-]?[a-z0-9][a-z0-9._-]*(=[A-Za-z0-9._-]+)?)*")
_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_OBSOLETE = {"clock": "QEMU has no -clock any more"}
_UNSUPPORTED = ("kernel", "ramdisk", "vmType")


def disk_interface(spec: VmSpec, settings: Settings) -> str:
    """``virtio``, ``scsi`` or ``ide``: hint, else diskInterface. Raises InvalidRequest."""
    return _chosen("diskInterface", DISK_INTERFACES, spec, settings.qemu.disk_interface)


def nic_model(spec: VmSpec, settings: Settings) -> str:
    """QEMU's name of the NIC's device: hint, else nicModel. Raises InvalidRequest."""
    return _chosen("nicModel", NIC_MODELS, spec, settings.qemu.nic_model)


def acpi(spec: VmSpec) -> bool:
    """Whether the machine has ACPI: unless the hint noAcpi says no."""
    return not flag(spec, "noAcpi")


def flag(spec: VmSpec, name: str, default: bool = False) -> bool:
    """What a hint says that is True or False (or yes, no, on, off, 1, 0)."""
    return _BOOLEANS.get(spec.hints.get(name, "").lower(), default)


def notes(spec: VmSpec) -> tuple[str, ...]:
    """Lines about hints that are accepted and do nothing."""
    return tuple(
        f"the hint {k} is ignored: {why}" for k, why in _OBSOLETE.items() if k in spec.hints
    )


def problems(spec: VmSpec) -> list[TashiError]:
    """Every hint that is unknown, unsupported or has no meaning; names with ``__`` are our own."""
    found: list[TashiError] = []
    for name, value in sorted(spec.hints.items()):
        if name.startswith("__") or name in _OBSOLETE:
            continue
        if name in _UNSUPPORTED:
            found.append(
                InvalidRequest(
                    "E-HINT",
                    f"the hint {name} is not supported",
                    cause="it was made for Xen",
                    hint="leave it out: the VM boots from its first disk",
                )
            )
        elif name not in _CHECKS:
            known = ", ".join(sorted([*_CHECKS, *_OBSOLETE]))
            found.append(
                InvalidRequest("E-HINT", f"there is no hint {name!r}", hint=f"known are {known}")
            )
        elif (wanted := _CHECKS[name](value)) is not None:
            found.append(_bad_value(name, value, wanted))
    return found


def _chosen(name: str, table: dict[str, str], spec: VmSpec, default: str) -> str:
    value = spec.hints.get(name)
    if value is None:
        if default in table:
            return table[default]
        raise InvalidRequest(
            "E-SETTING", f"[Qemu] {name} = {default} is not known", hint=_one_of(table)
        )
    if value not in table:
        raise _bad_value(name, value, _one_of(table))
    return table[value]


def _bad_value(name: str, value: str, wanted: str) -> InvalidRequest:
    return InvalidRequest("E-HINT", f"the hint {name} cannot be {value!r}", hint=wanted)


def _one_of(table: dict[str, str]) -> str:
    return "it is one of " + ", ".join(sorted(table))


def _boolean(value: str) -> str | None:
    return None if value.lower() in _BOOLEANS else "it is True or False"


def _choice(table: dict[str, str]) -> Callable[[str], str | None]:
    return lambda value: None if value in table else _one_of(table)


def _cpu(value: str) -> str | None:
    if CPU_TEXT.fullmatch(value):
        return None
    return "it is a CPU model or a baseline like x86-64-v2, then features like ,+aes"


def _host(value: str) -> str | None:
    return None if value.isdigit() or is_name(value) else "it is the name or the id of a host"


def _domain(value: str) -> str | None:
    fine = len(value) <= 200 and all(is_name(label) for label in value.split("."))
    return None if fine else "it is a DNS name, relative to the domain"


def _scratch(value: str) -> str | None:
    return None if value and not value.strip("0") else "scratch disks are not supported: use 0"


# Each says what would be right, or None when the value is.
_CHECKS: dict[str, Callable[[str], str | None]] = {
    "allowElsewhere": _boolean,
    "cpumodel": _cpu,
    "densePack": _boolean,
    "diskInterface": _choice(DISK_INTERFACES),
    "nicModel": _choice(NIC_MODELS),
    "noAcpi": _boolean,
    "scratchSpace": _scratch,
    "subDomain": _domain,
    "targetHost": _host,
}
