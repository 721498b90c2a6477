"""Shards of a sweep: which of N parts a host belongs to, by nothing but its name."""

from __future__ import annotations

import hashlib
import re

from tashictl.errors import InvalidRequest

MAX_SHARDS = 1000
_SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


def in_shard(host: str, index: int, count: int) -> bool:
    """Whether a host is in shard `index` of `count` (1 to count): in one of them, always the same.

    Raises ValueError for an index out of range.
    """
    if not 1 <= index <= count:
        raise ValueError(f"shard {index}/{count}: from 1 to {count}")
    digest = hashlib.sha256(host.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1 == index


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``I/N``; raises InvalidRequest E-SHARD."""
    match = _SHARD.fullmatch(text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= MAX_SHARDS:
        raise InvalidRequest(
            "E-SHARD",
            f"{text!r} is no shard",
            cause=f"a shard is I/N with 1 ≤ I ≤ N ≤ {MAX_SHARDS}",
            hint="four sweeps side by side: --shard 1/4, 2/4, 3/4 and 4/4",
        )
    return index, count
