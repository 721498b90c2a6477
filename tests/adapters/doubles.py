"""What the tests of this room share: a clock that only moves when told, values, broken syscalls."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.operation import Header
from tashictl.model.steps import AddTap, StartQemu
from tashictl.model.vm import DiskSpec, NicSpec, OperationKind, Vm, VmSpec

CLUSTER = "0123456789ab"


class ManualClock:
    """Time passes only in `sleep`, which first does what the test wants to happen meanwhile."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        self.meanwhile()


def a_vm(vm_id: int, **changes: Any) -> Vm:
    values: dict[str, Any] = {
        "id": vm_id,
        "name": f"vm{vm_id}",
        "uuid": f"00000000-0000-4000-8000-{vm_id:012d}",
        "user": "dev",
        "created": "2026-03-01T00:00:00Z",
        "spec": VmSpec(
            disks=(DiskSpec(index=0, name="debian.qcow2"),),
            nics=(NicSpec(index=0, network=1, mac="52:54:00:00:00:01"),),
        ),
    }
    return Vm(**{**values, **changes})


def a_host(name: str, host_id: int = 1, notes: str = "") -> HostRecord:
    return HostRecord(id=host_id, name=name, notes=notes)


def an_image(name: str, size_bytes: int = 4096) -> Image:
    return Image(name=name, format="qcow2", size_bytes=size_bytes, virtual_size_bytes=1 << 30)


def a_header(operation_id: int, **changes: Any) -> Header:
    step: dict[str, Any] = {"host": "node1", "uuid": "u", "folder": "/f", "run_folder": "/r"}
    values: dict[str, Any] = {
        "id": operation_id,
        "kind": OperationKind.CREATE,
        "target": "web",
        "actor": "dev@ws",
        "started": "2026-03-01T00:00:00Z",
        "epoch": 1,
        "plan": (
            AddTap(tap="tashi1.0", ifup="/etc/qemu-ifup.1", **step),
            StartQemu(binaries=("kvm",), argv=("-S",), **step),
        ),
        "vm": a_vm(1),
    }
    return Header(**{**values, **changes})


class Killed(BaseException):
    """The process was killed here: nothing of it runs on, no clean-up either."""


class Guillotine:
    """Kills at the n-th call of a changing system call, counted from 0; None counts only.

    `torn` lets a write do half of its work before the end. Every later call kills as well, so that
    clean-up code, which a dead process does not run, has no effect.
    """

    CALLS = ("write", "fsync", "replace", "link", "unlink")

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None, torn: bool = False) -> None:
        self.count = 0
        self._at = at
        self._torn = torn
        for name in self.CALLS:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            now, self.count = self.count, self.count + 1
            if self._at is not None and now >= self._at:
                if self._torn and name == "write" and now == self._at:
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                raise Killed
            return real(*args, **kwargs)

        return call


def counted_fsyncs(patch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that were synced, as they come."""
    found: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        found.append(fd)
        real(fd)

    patch.setattr(os, "fsync", fsync)
    return found


def failing(patch: pytest.MonkeyPatch, call: str, error: int, after: int = 0) -> None:
    """Let a system call fail with an errno, from its (after + 1)-th use on."""
    real = getattr(os, call)
    left = [after]

    def fail(*args: Any, **kwargs: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            return real(*args, **kwargs)
        raise OSError(error, os.strerror(error))

    patch.setattr(os, call, fail)
