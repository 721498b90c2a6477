"""Small stand-ins for the ports that play no part in what may go wrong."""

from __future__ import annotations

import random
from typing import Any


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


class NoTrust:
    """Host keys play no part here."""

    def key_of(self, host: str) -> tuple[Any, ...]:
        return ()

    def trust(self, host: str, key: object) -> None:
        pass

    def forget(self, host: str) -> None:
        pass
