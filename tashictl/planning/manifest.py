"""The manifest that lies beside a VM's disks, so that the hosts are the backup of the database."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.vm import Vm, VmSpec

MANIFEST_SCHEMA = 1


class Manifest(Struct, frozen=True, kw_only=True):
    """What a host knows of a VM; it holds no secrets.

    `phase` is ``creating``, ``adopting``, ``starting``, ``running`` or ``stopped``; whether a VM
    runs only its run.lock says.
    """

    schema: int = MANIFEST_SCHEMA
    cluster: str
    id: int
    name: str
    uuid: str
    generation: int
    phase: str
    operation: int
    user: str
    host: str | None
    created: str
    spec: VmSpec


def text(vm: Vm, cluster: str, phase: str, operation: int) -> str:
    """The manifest as one line of JSON, where scripts find ``"uuid"`` and ``"generation"``."""
    return msgspec.json.encode(
        Manifest(
            cluster=cluster,
            id=vm.id,
            name=vm.name,
            uuid=vm.uuid,
            generation=vm.generation,
            phase=phase,
            operation=operation,
            user=vm.user,
            host=vm.host,
            created=vm.created,
            spec=vm.spec,
        )
    ).decode()


def open_text(vm: Vm, cluster: str, phase: str, operation: int) -> str:
    """The same without its closing brace: the host appends what only it knows."""
    return text(vm, cluster, phase, operation).removesuffix("}")


def in_phase(manifest: str, phase: str) -> str:
    """A whole manifest's text with another phase."""
    found = msgspec.json.decode(manifest, type=Manifest)
    return msgspec.json.encode(replace(found, phase=phase)).decode()
