"""The steps that belong to the state as a whole: its epoch and its replica; and their guard."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from tashictl.model.steps_base import HostStep


class MarkFences(HostStep, frozen=True, kw_only=True, tag=True):
    """Raise the claim's epoch, then mark every fence of the host under its own lock.

    The claim alone would not do: a script that has passed it may wait for a VM's lock.
    """

    epoch: int


class MakeReplicaFolder(HostStep, frozen=True, kw_only=True, tag=True):
    """Make the folder of the state's replica; refuses where a newer one lies already."""

    path: str
    epoch: int
    generation: int


class PutReplica(HostStep, frozen=True, kw_only=True, tag=True):
    """Stream the state's replica beside its place."""

    scripted: ClassVar[bool] = False
    path: str
    size_bytes: int
    sha256: str


class PlaceReplica(HostStep, frozen=True, kw_only=True, tag=True):
    """Check the replica's sha256, give it its name, and write its head; a newer one is kept.

    `path` is the folder; `digest` is over what the replica is about.
    """

    path: str
    part: str
    sha256: str
    epoch: int
    generation: int
    digest: str


class Guard(Struct, frozen=True, kw_only=True):
    """What a changing script carries that belongs to no operation and is safe to come twice.

    It does nothing on a host of another cluster, or of a later `epoch`, nor after `not_after_s` in
    the host's clock. `claims` takes a host that nobody has; else such a host refuses.
    """

    cluster: str
    epoch: int
    lib_dir: str
    not_after_s: int
    lock_wait_s: int = 30
    controller: str = ""
    claims: bool = False
