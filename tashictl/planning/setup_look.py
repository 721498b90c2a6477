"""What `host setup` asks a host before it decides: one read-only script, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning import ground
from tashictl.planning.create import binaries
from tashictl.planning.frames import Section, sections
from tashictl.planning.ground import Ground
from tashictl.planning.setup_names import USER
from tashictl.planning.shell import read_only

LOOK_S = 30
QEMU = "qemu"  # stands for whichever QEMU the settings want
_NUMBER = re.compile(r"[0-9]{1,18}")
_MODE = re.compile(r"[0-7]{1,4}")

_LOOK = r"""
say B basics
echo "time $(date +%s)"; echo "arch $(uname -m)"
grep -E '^(ID|ID_LIKE|PRETTY_NAME)=' /etc/os-release 2>/dev/null | sed 's/^/os /'
for t in apt-get dnf; do ! command -v "$t" >/dev/null || echo "manager $t"; done
for t in $TOOLS; do command -v "$t" >/dev/null || echo "missing $t"; done
q=; for b in $BINARIES; do q=$(command -v "$b") && break; done; [ -n "$q" ] || echo "missing qemu"
[ ! -s "$L/cluster" ] || echo "cluster $(cat "$L/cluster")"
! id -u "$Q" >/dev/null 2>&1 || echo "user $(id -nG "$Q")"
! id -u "$LOGIN" >/dev/null 2>&1 || echo "login there"
[ ! -c /dev/kvm ] || echo "kvm $(stat -c '%a %G' /dev/kvm)"
! grep -Eqs '^[#@]includedir[[:space:]]+/etc/sudoers\.d' /etc/sudoers || echo "sudoers read"
[ ! -e /etc/network/interfaces ] || ! command -v ifup >/dev/null || echo "ifupdown 1"
if [ -d /sys/module/8021q ] || [ -d /proc/net/vlan ]; then echo "vlan loaded"
elif modprobe -n -q 8021q 2>/dev/null; then echo "vlan available"; fi
folder() { if [ -d "$2" ]; then echo "mode $1 $(stat -L -c %a "$2")"; else echo "mode $1 -"; fi; }
folder lib "$L"; folder run "$RUN"; folder images "$IMAGES"; folder prefix "$PREFIX"
"""

# By paths that travel one a line, since one may have a blank in it.
_FILES = r"""
printf '%s\n' "$FILES" | while read -r f; do
  [ -f "$f" ] || continue
  say B file "$(stat -L -c %a "$f")" "$f"; cat "$f"
done
"""


class Asked(Struct, frozen=True, kw_only=True):
    """What is looked for on a host: programs, the user that sudo is for, and files."""

    tools: tuple[str, ...]
    login: str
    files: tuple[str, ...]


class Seen(Struct, frozen=True, kw_only=True):
    """What a host has now.

    `groups` are those of tashi-qemu, None where there is no such user. `kvm` is (mode, group) of
    /dev/kvm. `vlan` is loaded, available or ``""``. `modes` are of lib, run, images and prefix,
    None for an absent folder. `files` are (mode, content) by path.
    """

    time_s: int
    arch: str
    os_ids: tuple[str, ...]
    os_name: str
    managers: tuple[str, ...]
    missing: tuple[str, ...]
    cluster: str | None
    groups: tuple[str, ...] | None
    login_there: bool
    kvm: tuple[int, str] | None
    sudoers_read: bool
    ifupdown: bool
    vlan: str
    modes: dict[str, int | None]
    files: dict[str, tuple[int, str]]
    ground: Ground


def script(asked: Asked, settings: Settings, nonce: str) -> Script:
    """The look at one host; it changes nothing."""
    ours = settings.tashictl
    text = read_only(
        nonce,
        _LOOK + _FILES + ground.SCRIPT,
        L=ours.lib_dir,
        RUN=ours.run_dir,
        IMAGES=settings.image_folder,
        PREFIX=settings.vfs_prefix.rstrip("/"),
        TOOLS=" ".join(asked.tools),
        BINARIES=" ".join(binaries(settings)),
        LOGIN=asked.login,
        Q=USER,
        FILES="\n".join(asked.files),
    )
    return Script(text=text, nonce=nonce, changing=False, timeout_s=LOOK_S)


def read(out: bytes, nonce: str) -> Seen | None:
    """Read the answer; None when it is cut short."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    by_name = {s.words[0]: s for s in found if s.kind == "B" and s.words}
    land = ground.read(by_name.get("ground"))
    if "basics" not in by_name or land is None:
        return None
    pairs = _pairs(by_name["basics"])
    os_lines = _assigned(pairs.get("os", []))
    kvm = pairs.get("kvm", [""])[0].split()
    return Seen(
        time_s=_number(_first(pairs, "time")),
        arch=_first(pairs, "arch"),
        os_ids=tuple(f"{os_lines.get('ID', '')} {os_lines.get('ID_LIKE', '')}".split()),
        os_name=os_lines.get("PRETTY_NAME", "") or "an unknown system",
        managers=tuple(pairs.get("manager", [])),
        missing=tuple(pairs.get("missing", [])),
        cluster=_first(pairs, "cluster").partition(" ")[0] or None,
        groups=tuple(pairs["user"][0].split()) if "user" in pairs else None,
        login_there="login" in pairs,
        kvm=(_mode(kvm[0]) or 0, kvm[1]) if len(kvm) == 2 else None,
        sudoers_read="sudoers" in pairs,
        ifupdown="ifupdown" in pairs,
        vlan=_first(pairs, "vlan"),
        modes=_modes(pairs.get("mode", [])),
        files={" ".join(s.words[2:]): (_mode(s.words[1]) or 0, s.text) for s in _files(found)},
        ground=land,
    )


def _files(found: Iterable[Section]) -> list[Section]:
    return [s for s in found if s.kind == "B" and s.words[:1] == ("file",) and len(s.words) > 2]


def _modes(lines: Iterable[str]) -> dict[str, int | None]:
    return {name: _mode(mode) for name, _, mode in (line.partition(" ") for line in lines)}


def _mode(text: str) -> int | None:
    return int(text, 8) if _MODE.fullmatch(text) else None


def _assigned(lines: Iterable[str]) -> dict[str, str]:
    found = (line.partition("=") for line in lines)
    return {name: value.strip().strip("\"'") for name, _, value in found}


def _pairs(section: Section) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in section.text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def _first(pairs: dict[str, list[str]], key: str) -> str:
    return pairs.get(key, [""])[0].strip()


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
