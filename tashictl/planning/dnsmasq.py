"""Leases and names as files that dnsmasq reads: the script that changes them, and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.errors import TashiError
from tashictl.model.naming import DhcpEntry
from tashictl.model.script import Script
from tashictl.model.settings import Settings


def script(changes: Sequence[tuple[DhcpEntry, bool]], settings: Settings, nonce: str) -> Script:
    """The script that adds (True) or removes entries, each only where it is free or ours."""
    raise NotImplementedError


def read(
    out: bytes, nonce: str, entries: Sequence[DhcpEntry], host: str
) -> list[TashiError | None] | None:
    """What became of each entry; None for an answer that is not whole."""
    raise NotImplementedError
