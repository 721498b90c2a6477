"""Small stand-ins for the ports that play no part in what may go wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.form import Seal, Stored
from tashictl.adapters.store.tiny import TinyTransaction
from tashictl.adapters.store.upgrade import LADDER
from tashictl.model.state import State


class SimDice:
    """Dice of one seed."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def uuid(self) -> str:
        raw = f"{self._source.getrandbits(128):032x}"
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"

    def nonce(self) -> str:
        return f"{self._source.getrandbits(64):016x}"

    def mac(self) -> str:
        return "52:54:00:" + ":".join(f"{self._source.getrandbits(8):02x}" for _ in range(3))


class SimWho:
    """One controller."""

    def __init__(self, name: str) -> None:
        self._name = name

    def user(self) -> str:
        return "dev"

    def controller(self) -> str:
        return f"dev@{self._name}"


class Quiet:
    """A report that only keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def step(self, name: str, text: str) -> None:
        self.lines.append(f"{name} {text}")

    def warn(self, text: str) -> None:
        self.lines.append(text)

    def waits(self, text: str) -> None:
        self.lines.append(text)


class SimSeeds:
    """One controller's way to the seeds that its cluster directory keeps; each use is a moment."""

    def __init__(self, kept: dict[str, bytes], alive: Callable[[str], None]) -> None:
        self._kept = kept
        self._alive = alive

    def make(self, texts: Mapping[str, bytes]) -> bytes:
        return b"volume\n" + b"".join(name.encode() + b"\n" + texts[name] for name in sorted(texts))

    def keep(self, uuid: str, data: bytes) -> None:
        self._alive("keep a seed")
        self._kept[uuid] = data
        self._alive("seed kept")

    def read(self, uuid: str) -> bytes | None:
        self._alive("read a seed")
        return self._kept.get(uuid)

    def forget(self, uuid: str) -> None:
        self._alive("forget a seed")
        self._kept.pop(uuid, None)

    def forget_but(self, uuids: Iterable[str]) -> None:
        wanted = set(uuids)
        for uuid in [u for u in self._kept if u not in wanted]:
            del self._kept[uuid]


class NoTrust:
    """Host keys play no part here."""

    def key_of(self, host: str) -> tuple[Any, ...]:
        return ()

    def trust(self, host: str, key: object) -> None:
        pass

    def forget(self, host: str) -> None:
        pass


class MemoryStore:
    """The state of a large cluster, in memory; transactions are TinyDB's, without the file."""

    def __init__(self, state: State) -> None:
        self.state = state

    def under(self, locks: FileLocks) -> LockedMemory:
        """The store as one controller has it, with its locks."""
        return LockedMemory(self, locks)


class LockedMemory:
    """One controller's way to a `MemoryStore`."""

    def __init__(self, memory: MemoryStore, locks: FileLocks) -> None:
        self._memory = memory
        self._locks = locks

    def read(self) -> State:
        return self._memory.state

    @contextmanager
    def transaction(self) -> Iterator[TinyTransaction]:
        with self._locks.state():
            old = self._memory.state
            seal = Seal(format="", schema=1, min_writer=1, size=0, sha256="")
            stored = Stored(seal=seal, raw=b"", state=old, host_ids={}, image_ids={})
            tx = TinyTransaction(stored, LADDER)
            yield tx
            if tx.state != old:
                meta = replace(tx.state.meta, generation=old.meta.generation + 1)
                self._memory.state = replace(tx.state, meta=meta)

    closing_transaction = transaction
