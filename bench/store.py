"""One transaction of the store at 1,000 VMs against TinyDB's own write of the same documents.

Ours takes the lock, reads and checks the file, changes one VM, writes beside it, fsyncs, keeps the
old state as a backup, renames and fsyncs the folder. TinyDB's own storage (JSONStorage) reads the
whole file, changes the document and writes in place: no lock, no fsync, no checksum; a crash in
between leaves half a file. Both run by turns on the same disk, in this process.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import tinydb

from bench import crowd, timing
from bench.timing import Figure
from tashictl.adapters.files import read_file
from tashictl.adapters.store.form import parse
from tashictl.adapters.store.tiny import TinyStore

LIMIT = 3.0
PAIRS = 25


def figures() -> Iterator[Figure]:
    """The figures of this file."""
    with tempfile.TemporaryDirectory(prefix="tashictl-bench-", dir=_disk()) as made:
        folder = Path(made)
        cluster = crowd.cluster(folder)
        ours = crowd.store(cluster)
        plain = _same_documents(cluster / "state" / "tashi.json", folder / "plain.json")
        table = plain.table("vms")
        print(f"store: {crowd.VMS} VMs, one of them changed, in {folder}; {PAIRS} pairs by turns")
        turn = iter(range(10_000_000))
        pairs = timing.by_turns(
            _timed(lambda: _ours(ours, next(turn))),
            _timed(lambda: table.update({"pid": next(turn)}, doc_ids=[500])),
            PAIRS,
        )
        yield Figure(
            name=f"one durable transaction, {crowd.VMS} VMs, wall / TinyDB's unsafe update",
            value=pairs.ratio,
            limit=LIMIT,
            detail=pairs.detail,
        )
        read = timing.by_turns(
            _timed(ours.read), _timed(lambda: tinydb.TinyDB(folder / "plain.json").tables()), PAIRS
        )
        yield Figure(
            name=f"read of the whole state, {crowd.VMS} VMs, wall / TinyDB's read",
            value=read.ratio,
            limit=None,
            detail=read.detail,
        )


def _disk() -> str | None:
    """Where to measure: TASHICTL_BENCH_DIR for another disk than that of the temporary files."""
    return os.environ.get("TASHICTL_BENCH_DIR")


def _same_documents(state: Path, path: Path) -> tinydb.TinyDB:
    """A plain TinyDB file of the tables of a state file."""
    raw = read_file(str(state))
    assert raw is not None
    tables = msgspec.json.decode(parse(raw, str(state)).body)
    database = tinydb.TinyDB(path)
    database.storage.write(tables)
    return database


def _ours(store: TinyStore, number: int) -> None:
    with store.transaction() as tx:
        tx.put_vm(msgspec.structs.replace(tx.state.vms[500], pid=number))


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        began_s = time.perf_counter()
        work()
        return time.perf_counter() - began_s

    return timed
