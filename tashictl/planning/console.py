"""The console log of a VM: what to ask for, and how to read the answer."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.script import Script
from tashictl.planning.shell import read_only

_TIMEOUT_S = 15
# A guest may say anything, frames among it: the log is counted, not looked for its end.
_LOG = r"""
[ -f "$D/console.log" ] || { say B missing; say Z; exit 0; }
n=$(wc -c <"$D/console.log"); [ "$n" -le "$MAX" ] || n=$MAX
say B log "$n"
tail -c "$n" "$D/console.log" | head -c "$n"
"""


class Said(Struct, frozen=True, kw_only=True):
    """What a console has said; `missing` where there is no log."""

    text: bytes = b""
    missing: bool = False


def script(folder: str, max_bytes: int, nonce: str) -> Script:
    """Ask for the end of the log in a VM's folder."""
    text = read_only(nonce, _LOG, D=folder, MAX=max_bytes)
    return Script(text=text, nonce=nonce, changing=False, timeout_s=_TIMEOUT_S)


def read(out: bytes, nonce: str) -> Said | None:
    """Read the answer; None when it is cut short."""
    head = f"\n@{nonce} B ".encode()
    _, found, rest = out.partition(head)
    if not found:
        return None
    line, _, rest = rest.partition(b"\n")
    kind, _, size = line.partition(b" ")
    if kind == b"missing":
        return Said(missing=True)
    if kind != b"log" or not size.isdigit() or len(rest) < int(size):
        return None
    return Said(text=rest[: int(size)])
