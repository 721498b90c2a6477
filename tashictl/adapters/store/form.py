r"""The form of the state file, and the reader that needs no more than that.

The file is one line of JSON, the seal, then the body, one JSON object of TinyDB's tables::

    {"format":"tashictl-state","schema":1,"min_writer":1,"size":1234,"sha256":"…"}
    {"meta":{"1":{…}},"vms":{"1":{…}},"hosts":{"1":{…}},"images":{"1":{…}},…}

`size` is the body's in bytes; `sha256` is over ``schema min_writer size\n`` and the body. These
five fields mean the same in every schema to come, so that damage is told from a newer version.
This module does not import TinyDB: a command that only reads starts faster without.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NoReturn

import msgspec
from msgspec import Struct

from tashictl.adapters import files
from tashictl.adapters.store import thrifty
from tashictl.adapters.store.upgrade import LADDER, Ladder, Tables
from tashictl.errors import InvalidRequest, NotPermitted, OperationFailed
from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.naming import Deferred
from tashictl.model.state import Meta, Quarantined, State
from tashictl.model.vm import Vm

STATE_FILE = "tashi.json"
FORMAT = "tashictl-state"
META_ID = 1
_LARGE = 4 << 20  # from some 2,500 VMs on, memory matters more than a quarter of a second
HINT = (
    "make it anew from the hosts: tashictl state rebuild;"
    " or go back to a copy: tashictl state restore; see what is wrong: tashictl state check"
)


class Seal(Struct, frozen=True, kw_only=True):
    """The first line of the file."""

    format: str
    schema: int
    min_writer: int
    size: int
    sha256: str


class Body(Struct, frozen=True, kw_only=True):
    """The tables, by document id; a VM's is its id, the others' mean nothing outside the file."""

    meta: dict[int, Meta]
    vms: dict[int, Vm] = {}
    hosts: dict[int, HostRecord] = {}
    images: dict[int, Image] = {}
    quarantine: dict[int, Quarantined] = {}
    deferred: dict[int, Deferred] = {}


_BODY = msgspec.json.Decoder(Body)


class Stored(Struct, frozen=True, kw_only=True):
    """A state file as it was read: its state, and what a writer needs to write it anew.

    `tables` is what the upgrades made of an older schema, None when the body is of ours.
    `others` is a large body without its VMs, empty for a small one: its bytes can then be let go
    of, since VMs hold nothing that their records do not.
    """

    seal: Seal
    raw: bytes
    state: State
    host_ids: dict[str, int]
    image_ids: dict[str, int]
    quarantine_ids: dict[str, int] = {}
    deferred_ids: dict[str, int] = {}
    tables: Tables | None = None
    others: bytes = b""

    @property
    def body(self) -> memoryview:
        """The bytes behind the seal."""
        return memoryview(self.raw)[len(self.raw) - self.seal.size :]


def read_state(path: str, ladder: Ladder = LADDER) -> State:
    """The state in the file at `path`; raises as `read_stored`."""
    return read_stored(path, ladder).state


def read_stored(path: str, ladder: Ladder = LADDER, known: Stored | None = None) -> Stored:
    """Read and check a state file; nothing is written or repaired.

    `known` is what was read before: of a file with the same seal it need not be decoded again, and
    its records need not be in memory twice.
    Raises InvalidRequest E-NO-CLUSTER when there is none; OperationFailed E-STATE-EMPTY,
    E-STATE-TRUNCATED, E-STATE-DAMAGED; NotPermitted E-SCHEMA for a newer or unknown schema.
    """
    if known is not None and known.others and _is_still(path, known.seal):
        return known
    raw = files.read_file(path)
    if raw is None:
        raise InvalidRequest(
            "E-NO-CLUSTER",
            f"there is no state database {path}",
            cause="the cluster directory was not set up, or the file was removed",
            hint="set it up: tashictl init; if it was lost: tashictl state rebuild,"
            " or go back to a copy: tashictl state restore",
        )
    return parse(raw, path, ladder, known)


def parse(raw: bytes, path: str, ladder: Ladder = LADDER, known: Stored | None = None) -> Stored:
    """Check and decode the bytes of a state file; `path` is for the error's text."""
    seal = _unsealed(raw, path)
    body = memoryview(raw)[len(raw) - seal.size :]
    if digest(seal.schema, seal.min_writer, body) != seal.sha256:
        _damaged(path, "its checksum does not match: something else wrote to it, or the disk erred")
    if seal.min_writer > ladder.schema:
        _newer(path, f"it needs schema {seal.min_writer}, this tashictl knows {ladder.schema}")
    if not ladder.reaches_from(seal.schema):
        _newer(path, f"its schema {seal.schema} is unknown to this tashictl")
    if known is not None and known.seal == seal and known.tables is None:
        return msgspec.structs.replace(known, raw=raw)
    tables, others = None, b""
    try:
        if seal.schema < ladder.schema:
            tables = ladder.climb(msgspec.json.decode(body, type=Tables), seal.schema)
            decoded = msgspec.convert(tables, Body, str_keys=True)
        elif len(body) > _LARGE:
            decoded, others = thrifty.decode(body, Body)
        else:
            decoded = _BODY.decode(body)
    except msgspec.DecodeError as error:
        if seal.schema > ladder.schema:
            _newer(path, f"schema {seal.schema} holds what this tashictl does not know: {error}")
        raise OperationFailed(
            "E-STATE-DAMAGED", f"{path} is damaged", cause=f"it does not fit its schema: {error}",
            hint=HINT,
        ) from error  # fmt: skip
    if META_ID not in decoded.meta:
        _damaged(path, "it has no meta document")
    return Stored(
        seal=seal,
        raw=raw,
        state=State(
            meta=decoded.meta[META_ID],
            vms=decoded.vms,
            hosts={host.name: host for host in decoded.hosts.values()},
            images={image.name: image for image in decoded.images.values()},
            quarantine={found.key: found for found in decoded.quarantine.values()},
            deferred={found.key: found for found in decoded.deferred.values()},
        ),
        host_ids={host.name: key for key, host in decoded.hosts.items()},
        image_ids={image.name: key for key, image in decoded.images.items()},
        quarantine_ids={found.key: key for key, found in decoded.quarantine.items()},
        deferred_ids={found.key: key for key, found in decoded.deferred.items()},
        tables=tables,
        others=others,
    )


def _is_still(path: str, seal: Seal) -> bool:
    """Whether the file is the one with that seal, and whole; it is read in small parts."""
    pieces = files.pieces_of(path)
    line, newline, rest = next(pieces, b"").partition(b"\n")
    try:
        found = msgspec.json.decode(line, type=Seal) if newline else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if found != seal:
        return False
    sha = _begun(seal.schema, seal.min_writer, seal.size)
    for piece in itertools.chain((rest,), pieces):
        sha.update(piece)
    return sha.hexdigest() == seal.sha256


def sealed(body: bytes, schema: int, min_writer: int) -> bytes:
    """The whole file for a body."""
    return seal_line(body, schema, min_writer) + body


def seal_line(body: bytes, schema: int, min_writer: int) -> bytes:
    """The first line of the file for a body."""
    return seal_of((body,), schema, min_writer)


def seal_of(pieces: Iterable[bytes], schema: int, min_writer: int) -> bytes:
    """The first line of the file for a body in pieces, which is gone over twice."""
    size = sum(len(piece) for piece in pieces)
    sha = _begun(schema, min_writer, size)
    for piece in pieces:
        sha.update(piece)
    seal = Seal(
        format=FORMAT, schema=schema, min_writer=min_writer, size=size, sha256=sha.hexdigest()
    )
    return msgspec.json.encode(seal) + b"\n"


def digest(schema: int, min_writer: int, body: bytes | memoryview) -> str:
    """The checksum of a body and of the numbers in its seal, in hex."""
    sha = _begun(schema, min_writer, len(body))
    sha.update(body)
    return sha.hexdigest()


def _begun(schema: int, min_writer: int, size: int) -> hashlib._Hash:
    return hashlib.sha256(f"{schema} {min_writer} {size}\n".encode())


def _unsealed(raw: bytes, path: str) -> Seal:
    if not raw:
        _refuse("E-STATE-EMPTY", f"{path} is empty", "it was cut off, or created by something else")
    end = raw.find(b"\n")
    if end < 0:
        _refuse("E-STATE-TRUNCATED", f"{path} is cut off", "its first line is not whole")
    try:
        seal = msgspec.json.decode(raw[:end], type=Seal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        _damaged(path, "its first line cannot be read")
    if seal.format != FORMAT:
        _damaged(path, "it is not a state database")
    size = len(raw) - end - 1
    if size < seal.size:
        cause = f"{size} of {seal.size} bytes are there"
        _refuse("E-STATE-TRUNCATED", f"{path} is cut off", cause)
    if size > seal.size:
        _damaged(path, f"{size - seal.size} bytes follow its end")
    return seal


def _refuse(code: str, what: str, cause: str) -> NoReturn:
    raise OperationFailed(code, what, cause=cause, hint=HINT)


def _damaged(path: str, cause: str) -> NoReturn:
    _refuse("E-STATE-DAMAGED", f"{path} is damaged", cause)


def _newer(path: str, cause: str) -> NoReturn:
    raise NotPermitted(
        "E-SCHEMA",
        f"{path} was written by another version of tashictl",
        cause=cause,
        hint="use that version, or go back to an older copy: tashictl state restore",
    )


class ReadOnlyStore:
    """A store for commands that only read, and for dry runs: no TinyDB, no lock, no write."""

    def __init__(self, folder: str, ladder: Ladder = LADDER) -> None:
        self._path = f"{folder}/{STATE_FILE}"
        self._ladder = ladder

    def read(self) -> State:
        """The last committed state; raises as `read_stored`."""
        return read_state(self._path, self._ladder)

    def transaction(self) -> AbstractContextManager[NoReturn]:
        """Refused: raises NotPermitted E-READ-ONLY."""
        raise NotPermitted(
            "E-READ-ONLY",
            "the state database is open for reading only",
            hint="run the command without --dry-run",
        )

    def closing_transaction(self) -> AbstractContextManager[NoReturn]:
        """Refused as `transaction`."""
        return self.transaction()
