"""What was asked for, each part well formed, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tashictl.model.cluster import Cluster
from tashictl.model.inventory import Inventory
from tashictl.model.naming import Deferred
from tashictl.model.settings import Settings
from tashictl.model.state import Quarantined


class NicWish(Struct, frozen=True, kw_only=True):
    """One ``--nic NET[:IP[:MAC]]``; `network` is a name, an id, or None for the default."""

    network: str | None = None
    ip: str | None = None
    mac: str | None = None


class VmRequest(Struct, frozen=True, kw_only=True):
    """A VM as it was asked for, each part well formed, nothing looked up yet."""

    name: str
    disks: tuple[tuple[str, bool], ...]
    nics: tuple[NicWish, ...]
    cores: int
    memory_mib: int
    hints: dict[str, str]
    host: str | None = None
    user: str | None = None


class Picture(Struct, frozen=True, kw_only=True):
    """What a request is held against."""

    cluster: Cluster
    inventory: Inventory
    settings: Settings
    quarantine: tuple[Quarantined, ...] = ()  # what is in force
    deferred: tuple[Deferred, ...] = ()
    turn: int = 0  # of the VM that is to come: where its search for an address begins
    limits_from: str = ""


def nearest(name: str, known: Iterable[str], where: str) -> str:
    """Up to four known names for the hint; those that share a beginning first."""
    ranked = sorted(known, key=lambda k: (-_common(name, k), k))[:4]
    return f"{', '.join(ranked)}   ({where})" if ranked else f"there is none   ({where})"


def _common(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
