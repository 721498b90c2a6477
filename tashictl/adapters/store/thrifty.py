"""Decode a large state into less memory: what many VMs have alike is there once.

A VM takes 7 kB, of which its frozen machine takes 6; most of the devices are those of every VM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr, replace

from tashictl.model.vm import Vm

_T = TypeVar("_T", bound=Struct)
_VM = msgspec.json.Decoder(Vm)
_RAW_TABLE = dict[int, Raw]
_ALL = (
    ("spec", ("arch", "cores", "memory_mib")),
    ("observed", ("at", "boot_id")),
    ("", ("user", "host", "created", "started", "reason", "pid")),
)


def decode(body: bytes | memoryview, kind: type[_T]) -> tuple[_T, bytes]:
    """As ``msgspec.json.decode(body, type=kind)`` for a `kind` with a table `vms`; raises alike.

    The second part is the body without VMs.
    """
    tables: dict[str, Raw] = msgspec.json.decode(body, type=dict[str, Raw])
    vms: dict[int, Raw] = msgspec.json.decode(tables.get("vms", b"{}"), type=_RAW_TABLE)
    tables["vms"] = Raw(b"{}")
    others = msgspec.json.encode(tables)
    rest = msgspec.json.decode(others, type=kind)
    pool: dict[Any, Any] = {}
    return replace(rest, vms=dict(_decoded(vms, pool))), others


def _decoded(vms: dict[int, Raw], pool: dict[Any, Any]) -> Iterator[tuple[int, Vm]]:
    for key, raw in vms.items():
        vm = _shared(_VM.decode(raw), pool)
        yield (vm.id if vm.id == key else key), vm


def _shared(vm: Vm, pool: dict[Any, Any]) -> Vm:
    """The VM, new from a decoder and known to nobody, with parts of others where they are alike."""
    spec = vm.spec
    for part, names in _ALL:
        record = getattr(vm, part) if part else vm
        for name in names:
            value = getattr(record, name)
            force_setattr(record, name, pool.setdefault(value, value))
    force_setattr(vm, "observed", pool.setdefault(vm.observed, vm.observed))
    force_setattr(spec, "disks", pool.setdefault(spec.disks, spec.disks))
    hints = ("hints", *spec.hints.items())
    force_setattr(spec, "hints", pool.setdefault(hints, spec.hints))
    machine = spec.machine
    if machine is not None:
        own = {nic.mac: nic.mac for nic in spec.nics}
        devices = tuple(_device(device, pool, own) for device in machine.devices)
        for name in ("type", "cpu", "firmware", "options"):
            value = getattr(machine, name)
            force_setattr(machine, name, pool.setdefault(value, value))
        force_setattr(machine, "devices", devices)
    return vm


def _device(
    device: dict[str, str | int | bool], pool: dict[Any, Any], own: dict[str, str]
) -> object:
    whole = msgspec.json.encode(device)
    found = pool.get(whole)
    if found is None:
        found = {pool.setdefault(k, k): _value(v, pool, own) for k, v in device.items()}
        # What holds the MAC or the serial number of its VM is not met again.
        if own.keys().isdisjoint(found.values()) and "serial" not in found:
            pool[whole] = found
    return found


def _value(value: str | bool | int, pool: dict[Any, Any], own: dict[str, str]) -> object:
    if isinstance(value, str):
        return own.get(value) or pool.setdefault(value, value)
    # True and 1 are one key, and not one value.
    return pool.setdefault(("int", value), value) if type(value) is int else value
