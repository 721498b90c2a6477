"""The port of cloud-init seeds; it stands beside `ops.ports`, which is as long as a file may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Seeds(Protocol):
    """The cloud-init seeds of VMs that do not run yet, by uuid. They may hold passwords.

    `keep` and `forget_but` are called within a transaction, which keeps other writers out.
    """

    def make(self, texts: Mapping[str, bytes]) -> bytes:
        """A NoCloud volume of these files; the same texts give the same bytes."""
        ...

    def keep(self, uuid: str, data: bytes) -> None:
        """Keep a VM's seed durably, for its owner's eyes only."""
        ...

    def read(self, uuid: str) -> bytes | None:
        """A VM's seed, None when none is kept."""
        ...

    def forget(self, uuid: str) -> None:
        """Keep a VM's seed no more."""
        ...

    def forget_but(self, uuids: Iterable[str]) -> None:
        """Keep no seeds but those of these VMs."""
        ...
