"""What the quarantine and `state rebuild` need: addresses, and the state file itself."""

from __future__ import annotations

from typing import Protocol

from tashictl.model.state import Quarantined, State


class QuarantineTable(Protocol):
    """The part of a transaction that keeps addresses from everybody for a time."""

    def put_quarantine(self, found: Quarantined) -> None:
        """Add or replace an address, by network and address."""
        ...

    def remove_quarantine(self, key: str) -> None:
        """Give an address free if it is in quarantine; `key` is ``<network id>/<ip>``."""
        ...


class StateFile(Protocol):
    """The state file and its copies, whatever is in them."""

    def readable(self) -> tuple[tuple[str, State], ...]:
        """The state file, if it can be read, and the newest backups that can; each with its path.

        Never fails: what cannot be read is left out.
        """
        ...

    def mark(self) -> str:
        """What tells whether the file changes from now on."""
        ...

    def replace(self, state: State, mark: str) -> str | None:
        """Put `state` in place of whatever is there; returns where that was kept, if it was there.

        Raises Conflict E-CHANGED when the file is not the one of `mark` any more.
        """
        ...
