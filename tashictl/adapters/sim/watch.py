"""What is watched at every moment: nothing double, nothing comes back."""

from __future__ import annotations


class Watch:
    """Collects what must never happen, in words."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.running: dict[str, set[str]] = {}  # uuid, hosts
        self.gone: set[str] = set()  # uuids that were reported destroyed
        self.excused: set[str] = set()  # uuids whose QEMU a fault has ended

    def problem(self, text: str) -> None:
        """Write a violation down, once."""
        if text not in self.problems:
            self.problems.append(text)

    def spawned(self, host: str, uuid: str) -> None:
        """A QEMU was started."""
        if uuid in self.gone:
            self.problem(f"QEMU of {uuid} came back on {host} after it was recorded as gone")

    def count(self, hosts: dict[str, int], uuid: str) -> None:
        """How many QEMUs of a uuid run where; more than one is a violation."""
        if sum(hosts.values()) > 1:
            self.problem(f"QEMU of {uuid} runs more than once: {hosts}")

    def died(self, uuid: str) -> None:
        """A fault ended a QEMU: a record that says Running is then excused."""
        self.excused.add(uuid)
