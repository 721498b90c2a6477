"""The state database, as the operations need it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.state import State
from tashictl.model.vm import Vm
from tashictl.ops.ports_names import DeferredTable
from tashictl.ops.ports_rebuild import QuarantineTable


class Transaction(QuarantineTable, DeferredTable, Protocol):
    """A locked read-decide-write on the state, committed when its block ends well."""

    @property
    def state(self) -> State:
        """The state, with the changes that were made in this transaction."""
        ...

    def next_vm_id(self) -> int:
        """A VM id that was never used."""
        ...

    def next_operation_id(self) -> int:
        """An operation id that was never used."""
        ...

    def next_host_id(self) -> int:
        """A host id that was never used."""
        ...

    def put_vm(self, vm: Vm) -> None:
        """Add or replace a VM, by id."""
        ...

    def remove_vm(self, vm_id: int) -> None:
        """Remove a VM if it is there."""
        ...

    def put_host(self, host: HostRecord) -> None:
        """Add or replace a host, by name."""
        ...

    def remove_host(self, name: str) -> None:
        """Remove a host if it is there."""
        ...

    def put_all(self, vms: Iterable[Vm], hosts: Iterable[HostRecord]) -> None:
        """Add or replace many at once: each single put copies its whole table."""
        ...

    def put_image(self, image: Image) -> None:
        """Add or replace an image, by name."""
        ...

    def mark_stale(self, why: str) -> None:
        """Record that a host proved the database to be an old copy."""
        ...

    def remove_image(self, name: str) -> None:
        """Remove an image if it is there."""
        ...


class Store(Protocol):
    """The state database."""

    def read(self) -> State:
        """The last committed state; never blocks, never repairs."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A durable transaction; raises Conflict when the lock is not had in lockTimeout."""
        ...

    def closing_transaction(self) -> AbstractContextManager[Transaction]:
        """Atomic as `transaction`, but a power cut right after it may bring the state before back.

        For the end of an operation only, where recovery then finds the outcome on the host.
        """
        ...
