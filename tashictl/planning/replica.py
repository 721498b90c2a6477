r"""The replica of the state that a few hosts keep: what is in it, who keeps it, how it gets there.

A line of JSON, the seal, then the state as JSON in gzip (``tail -n +2 state.json | zcat``)::

    {"format":"tashictl-replica","schema":3,"cluster":"…","epoch":1,"generation":7,…}

`size` and `sha256` are of the JSON. There is no secret in it because there is none in the state.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Struct

from tashictl.errors import NotPermitted, OperationFailed
from tashictl.model.host import HostConfig
from tashictl.model.settings import Settings
from tashictl.model.state import STATE_SCHEMA, State
from tashictl.model.steps import MakeReplicaFolder, PlaceReplica, PutReplica
from tashictl.planning import paths
from tashictl.planning.shell import quote

_T = TypeVar("_T")
FORMAT = "tashictl-replica"
COUNT = 3
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1  # it travels whenever a VM comes or goes: a fifth of the size, at a tenth of the time

_NEWER = r"""e=; [ -s {path}/head ] && read -r e g _ <{path}/head
if [ -n "$e" ] && {{ [ "$e" -gt {epoch} ] \
  || {{ [ "$e" -eq {epoch} ] && [ "$g" -gt {generation} ]; }}; }}; then
  die "a newer replica is there: epoch $e, generation $g"
fi
"""
_FOLDER = r"""mkdir -p {path} && chmod 700 {path}"""
# A copy is checked and named, not the part itself: who still writes to that cannot spoil it.
_PLACE = r"""new={path}/.state.json.part
if ! cat {part} >"$new" || [ "$(sha256sum <"$new" | cut -d' ' -f1)" != {sha256} ]; then
  rm -f "$new" {part}; die 'the replica did not arrive whole'
fi
chmod 600 "$new" && sync "$new" && mv -f "$new" {path}/state.json || {{ rm -f "$new"; exit 1; }}
put {path}/head 600 {head} && rm -f {part}"""


class Seal(Struct, frozen=True, kw_only=True):
    """The first line of a replica."""

    format: str = FORMAT
    schema: int
    cluster: str
    epoch: int
    generation: int
    size: int
    sha256: str


def content(state: State) -> bytes:
    """The replica of a state; equal states give equal bytes."""
    meta = state.meta
    size, sha = 0, hashlib.sha256()
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    packed: list[bytes] = []
    for piece in _pieces(state):
        size += len(piece)
        sha.update(piece)
        packed.append(packer.compress(piece))
    seal = Seal(
        schema=meta.schema,
        cluster=meta.cluster,
        epoch=meta.epoch,
        generation=meta.generation,
        size=size,
        sha256=sha.hexdigest(),
    )
    return b"".join((msgspec.json.encode(seal), b"\n", *packed, packer.flush()))


def _pieces(state: State) -> Iterator[bytes]:
    """The JSON of a state, its keys in order; in pieces, since the whole is larger than a sweep."""
    tables = {"meta": state.meta, "hosts": state.hosts, "images": state.images}
    tables |= {"quarantine": state.quarantine, "deferred": state.deferred}
    yield _encoded(tables)[:-1] + b',"vms":{'
    comma = b""
    for vm_id, vm in sorted((str(vm_id), vm) for vm_id, vm in state.vms.items()):
        yield comma + b'"%b":' % vm_id.encode() + _encoded(vm)
        comma = b","
    yield b"}}"


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def read(data: bytes, cluster: str) -> State:
    """The state in a replica; raises OperationFailed E-REPLICA, or NotPermitted E-SCHEMA."""
    first, _, packed = data.partition(b"\n")
    try:
        seal = msgspec.json.decode(first, type=Seal)
        if (seal.format, seal.cluster) != (FORMAT, cluster):
            _damaged("it is not this cluster's")
        if seal.schema > STATE_SCHEMA:
            raise NotPermitted(
                "E-SCHEMA",
                "the replica was written by a later version of tashictl",
                cause=f"schema {seal.schema}, ours is {STATE_SCHEMA}",
                hint="use that version",
            )
        body = zlib.decompressobj(_GZIP).decompress(packed, seal.size + 1)
        if hashlib.sha256(body).hexdigest() != seal.sha256:
            _damaged("its checksum does not match")
        return msgspec.json.decode(body, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error, RecursionError) as error:
        _damaged(str(error))


def _damaged(cause: str) -> NoReturn:
    raise OperationFailed("E-REPLICA", "the replica of the state is damaged", cause=cause)


def digest(state: State) -> str:
    """Sixteen hex digits over what a rebuild needs of a state.

    Left out is what a look at the hosts says anew (observations, facts), and what every sweep
    changes though nothing came of it: the generation, and the last operation's number.
    """
    meta = state.meta
    counters = (meta.cluster, meta.epoch, meta.last_vm_id, meta.last_host_id)
    sha = hashlib.sha256(b"[" + _encoded(counters) + b",[")
    comma = b""
    for _, vm in sorted(state.vms.items()):
        kept = (
            *(vm.id, vm.name, vm.uuid, vm.user, vm.spec, vm.wanted, vm.host, vm.held),
            *(vm.generation, vm.created, vm.operation and (vm.operation.kind, vm.operation.hold)),
        )
        sha.update(comma + _encoded(kept))
        comma = b","
    hosts = [(h.id, h.name, h.state, h.reserved_for, h.notes) for h in _by_key(state.hosts)]
    others = (*(hosts, _by_key(state.images), _by_key(state.quarantine), _by_key(state.deferred)),)
    sha.update(b"]," + _encoded(others)[1:])
    return sha.hexdigest()[:16]


def _by_key(table: dict[str, _T]) -> list[_T]:
    return [value for _, value in sorted(table.items())]


def keepers(hosts: Iterable[HostConfig], count: int = COUNT) -> tuple[str, ...]:
    """Which of `hosts` (those that are up) keep the replica: of different racks, if there are.

    By rendezvous hashing: a host that comes or goes moves at most its own copy.
    """
    ranked = sorted(hosts, key=lambda h: hashlib.sha256(h.name.encode()).hexdigest())
    chosen: list[HostConfig] = []
    for other_racks in (True, False):
        for host in ranked:
            racks = {h.rack for h in chosen if h.rack is not None}
            fits = not other_racks or host.rack not in racks
            if fits and len(chosen) < count and host not in chosen:
                chosen.append(host)
    return tuple(host.name for host in chosen)


class Copies(Struct, frozen=True, kw_only=True):
    """The steps that bring a replica to one host."""

    folder: MakeReplicaFolder
    stream: PutReplica
    place: PlaceReplica


def path(settings: Settings) -> str:
    """The folder of the replica on every host that keeps one."""
    return f"{settings.tashictl.lib_dir}/{settings.tashictl.cluster_id}/replica"


def copies(state: State, data: bytes, host: str, settings: Settings) -> Copies:
    """The steps for `host`; `data` is the `content` of `state`."""
    at = paths.at_host(host, settings)
    folder, meta = path(settings), state.meta
    part, sha256 = f"{folder}/state.json.part", hashlib.sha256(data).hexdigest()
    return Copies(
        folder=MakeReplicaFolder(**at, path=folder, epoch=meta.epoch, generation=meta.generation),
        stream=PutReplica(**at, path=part, size_bytes=len(data), sha256=sha256),
        place=PlaceReplica(
            **at,
            path=folder,
            part=part,
            sha256=sha256,
            epoch=meta.epoch,
            generation=meta.generation,
            digest=digest(state),
        ),
    )


def text(step: MakeReplicaFolder | PlaceReplica) -> str:
    """The text of a step; a newer replica is never replaced."""
    folder = quote(step.path)
    newer = _NEWER.format(path=folder, epoch=step.epoch, generation=step.generation)
    if isinstance(step, MakeReplicaFolder):
        return newer + _FOLDER.format(path=folder)
    head = quote(f"{step.epoch} {step.generation} {step.digest}")
    part, sha256 = quote(step.part), quote(step.sha256)
    return newer + _PLACE.format(path=folder, part=part, sha256=sha256, head=head)
