"""What is asked of a host while a guest is waited for: does it live, who has its MAC, its console.

Nothing is changed on the host.
"""

from __future__ import annotations

import re

from msgspec import Struct

from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.model.vm import Vm
from tashictl.planning import paths
from tashictl.planning.frames import sections
from tashictl.planning.shell import VM_WORDS, read_only

TIMEOUT_S = 10
_CONSOLE_BYTES = 2000
_CONSOLE_LINES = 3
_LINE_CHARS = 160
_GONE = ("FAILED", "INCOMPLETE")

_LOOK = r"""
say B alive; if alive; then echo 1; else echo 0; fi
say B neighbours; ip neigh show 2>/dev/null
say B console; tail -c {size} "$D/console.log" 2>/dev/null
"""


class Look(Struct, frozen=True, kw_only=True):
    """What was seen: `addresses` are those that the host knows the VM's MACs by."""

    alive: bool
    addresses: tuple[str, ...] = ()
    console: tuple[str, ...] = ()


def script(vm: Vm, settings: Settings, nonce: str) -> Script:
    """The look at one VM on its host."""
    where = paths.of(vm.uuid, settings)
    body = VM_WORDS + _LOOK.format(size=_CONSOLE_BYTES)
    text = read_only(nonce, body, U=vm.uuid, D=where.folder, R=where.run_folder)
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def read(out: bytes, nonce: str, vm: Vm) -> Look | None:
    """Read the answer; None when it is cut short."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    texts = {s.words[0]: s.text for s in found if s.kind == "B" and s.words}
    return Look(
        alive=texts.get("alive", "").strip() == "1",
        addresses=neighbours(texts.get("neighbours", ""), {n.mac.lower() for n in vm.spec.nics}),
        console=console_end(texts.get("console", "")),
    )


def neighbours(text: str, macs: set[str]) -> tuple[str, ...]:
    """The addresses in `ip neigh` that belong to these MACs: IPv4 first, no link-local ones."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[-1] in _GONE or "lladdr" not in words[:-1]:
            continue
        if words[words.index("lladdr") + 1].lower() in macs and not words[0].startswith("fe80:"):
            found[words[0]] = None
    return tuple(sorted(found, key=lambda address: ":" in address))


_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b.")


def console_end(text: str) -> tuple[str, ...]:
    """The last lines of a console that say something, without what a terminal acts upon."""
    plain = _ESCAPES.sub("", text).replace("\r", "\n")
    lines = [
        "".join(c for c in line if c.isprintable()).strip()[:_LINE_CHARS]
        for line in plain.split("\n")
    ]
    return tuple([line for line in lines if line][-_CONSOLE_LINES:])
