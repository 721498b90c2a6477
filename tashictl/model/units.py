"""Units in one place: every size, memory and duration that a person writes is read here."""

from __future__ import annotations

import re

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE | re.ASCII)
_KIB = {"K": 1, "M": 1024, "": 1024, "G": 1024**2, "T": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def memory_mib(text: str) -> int:
    """Read a memory size: MiB, or with K, M, G, T (binary), whole MiB. Raises ValueError."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no memory size: a number of MiB, or with K M G (binary)")
    kib = float(match.group(1)) * _KIB[match.group(2).upper()]
    if kib % 1024:
        raise ValueError(f"{text!r} is no whole number of MiB")
    return int(kib // 1024)


def seconds(text: str) -> float:
    """Read a duration: seconds, or with ms, s, m, h, d. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: a number of seconds, or with ms s m h d")
    return float(match.group(1)) * _SECONDS[match.group(2) or ""]


def show_memory(mib: int) -> str:
    """Write a memory size for people: ``2 GiB``, ``640 MiB``, ``1.5 GiB``."""
    if mib >= 1024 and mib % 256 == 0:
        return f"{mib / 1024:.2f}".rstrip("0").rstrip(".") + " GiB"
    return f"{mib} MiB"


def show_bytes(size: int) -> str:
    """Write a size in bytes for people, binary, three significant digits: ``13.4 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def show_seconds(value: float) -> str:
    """Write a duration for people: ``0.9 s``, ``3 min``, ``2 h``, ``2 d``."""
    if value < 10:
        return f"{value:.1f} s"
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if value < limit:
            return f"{value / size:.0f} {unit}"
    return f"{value / 86400:.0f} d"
