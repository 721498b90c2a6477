"""What a look at this machine found: what `doctor` judges of the controller."""

from __future__ import annotations

from msgspec import Struct


class Package(Struct, frozen=True, kw_only=True):
    """A package that is needed in at least version `wanted`; `found` is None where it is absent.

    An `optional` one may be absent.
    """

    name: str
    wanted: str
    found: str | None
    optional: bool = False


class HeldLock(Struct, frozen=True, kw_only=True):
    """A lock file with its holder's name in it; `held` says whether a process holds it now."""

    name: str
    holder: str
    held: bool


class LoginKeys(Struct, frozen=True, kw_only=True):
    """The keys that a login on a host would try; `unusable` says why of each that cannot serve."""

    host: str
    usable: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


class Exposed(Struct, frozen=True, kw_only=True):
    """A path that is not private, and why; `ours` may be mended."""

    path: str
    why: str
    ours: bool = True


class StateFault(Struct, frozen=True, kw_only=True):
    """A result of `state check`; `severity` is ``note``, ``warning`` or ``error``."""

    id: str
    severity: str
    evidence: str
    remedy: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """This machine; `python` is needed in at least version `python_wanted`.

    `free_bytes` is what may still be written beside the state, `network` the kind of a network
    file system that it lies on. `keys_fault` says why the keys could not be looked at.
    """

    folder: str
    python: str
    python_wanted: str = ""
    packages: tuple[Package, ...] = ()
    free_bytes: int | None = None
    network: str | None = None
    exposed: tuple[Exposed, ...] = ()
    secrets: tuple[Exposed, ...] = ()
    locks: tuple[HeldLock, ...] = ()
    keys: tuple[LoginKeys, ...] = ()
    keys_fault: str = ""
    unknown: tuple[str, ...] = ()
    state: tuple[StateFault, ...] = ()
