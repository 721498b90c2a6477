"""What is watched at every moment: nothing double, nothing that comes back."""

from __future__ import annotations

from collections import Counter


class Watch:
    """Collects what must never happen, in words."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.alive: Counter[str] = Counter()  # QEMUs of each uuid, on all hosts
        self.gone: set[str] = set()  # uuids whose record was removed
        self.excused: set[str] = set()  # uuids whose QEMU a fault has ended

    def problem(self, text: str) -> None:
        """Write a violation down, once."""
        if text not in self.problems:
            self.problems.append(text)

    def spawned(self, host: str, uuid: str) -> None:
        """A QEMU was started."""
        self.alive[uuid] += 1
        self.excused.discard(uuid)
        if self.alive[uuid] > 1:
            self.problem(f"double: {self.alive[uuid]} QEMUs of {uuid}, the last on {host}")
        if uuid in self.gone:
            self.problem(f"came back: QEMU of {uuid} on {host}, whose record was removed")

    def ended(self, uuid: str) -> None:
        """A QEMU is gone."""
        self.alive[uuid] -= 1

    def made(self, host: str, uuid: str, what: str) -> None:
        """Something of a VM was made on a host."""
        if uuid in self.gone:
            self.problem(f"came back: {what} of {uuid} on {host}, whose record was removed")
