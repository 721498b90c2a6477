"""What only `host check` asks of a host: the login, folders, sockets, TAPs, systemd. Not kept."""

from __future__ import annotations

import re

from msgspec import Struct

from tashictl.planning.frames import Section

_CAP_NET_ADMIN = 12  # capabilities(7)
_NUMBER = re.compile(r"[0-9]{1,18}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*\$?")  # or nobody types it
_HEX = re.compile(r"[0-9a-f]{1,16}")

# Opening /dev/net/tun makes nothing: an interface comes only with a further call.
SCRIPT = r"""
say B ground
u=${SUDO_USER:-$(id -un)}
echo "uid $(id -u)"; echo "user $u"; [ -z "$SUDO_USER" ] || echo "sudo 1"
awk '/^CapEff:/ {print "caps " $2}' /proc/self/status
awk '/^MemAvailable:/ {print "available_kib " $2}' /proc/meminfo
if [ ! -c /dev/net/tun ]; then echo "tun absent"
elif (: 3<>/dev/net/tun) 2>/dev/null; then echo "tun usable"; else echo "tun closed"; fi
f=$(grep -m1 -ow -e vmx -e svm /proc/cpuinfo) && echo "flag $f"
place() { d=$2; w=no
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done; d=${d:-/}
  [ -d "$d" ] && [ -w "$d" ] && w=yes
  f=$(timeout 5 df -Pk "$d" 2>/dev/null | awk 'NR == 2 {print $4}')
  k=$(timeout 5 stat -f -c %T "$d" 2>/dev/null)
  echo "folder $1 $w ${f:-x} ${k:-unknown} $d"; }
place lib "$L"; place run "$RUN"; place images "$IMAGES"
f=$({ sshd -T 2>/dev/null || cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null; } \
  | awk '{ k = tolower($1); v = tolower($2) }
    k == "allowstreamlocalforwarding" && a == "" { a = v }
    k == "disableforwarding" && v == "yes" { d = 1 }
    END { print d ? "no" : a == "" && NR ? "yes" : a }')
echo "forwarding ${f:-unknown}"
if command -v socat >/dev/null; then echo "relay socat"
elif nc -h 2>&1 | grep -q -e '-[0-9A-Za-z]*U'; then echo "relay nc"; fi
if [ -d /run/systemd/system ]; then
  echo "systemd 1"
  echo "kill_user $(timeout 3 busctl get-property org.freedesktop.login1 \
    /org/freedesktop/login1 org.freedesktop.login1.Manager KillUserProcesses 2>/dev/null)"
  [ ! -e "/var/lib/systemd/linger/$u" ] || echo "linger 1"
fi
"""


class Folder(Struct, frozen=True, kw_only=True):
    """A folder that we write to: `at` is the part of its path that is there.

    `free_mib` is None where the host could not say; `kind` is the file system's, as stat names it.
    """

    at: str
    writable: bool
    free_mib: int | None
    kind: str


class Ground(Struct, frozen=True, kw_only=True):
    """What the login finds there; `user` is who logged in, `sudo` that it has become root.

    `tun` is usable, closed, absent; `forwarding` is sshd's word (yes, all, local, remote, no), or
    unknown; `relay` is what could reach a socket instead (socat, nc, or nothing).
    """

    uid: int
    user: str
    sudo: bool = False
    net_admin: bool = False
    available_mib: int = 0
    tun: str = "absent"
    cpu_flag: str = ""
    folders: dict[str, Folder] = {}
    forwarding: str = "unknown"
    relay: str = ""
    systemd: bool = False
    kills_at_logout: bool = False
    lingers: bool = False


def read(section: Section | None) -> Ground | None:
    """Read the section; None where it was not asked for."""
    if section is None:
        return None
    found: dict[str, str] = {}
    folders: dict[str, Folder] = {}
    for line in section.text.splitlines():
        key, _, value = line.partition(" ")
        if key == "folder":
            name, folder = _folder(value)
            if folder is not None:
                folders[name] = folder
        else:
            found.setdefault(key, value.strip())
    caps, user = found.get("caps", ""), found.get("user", "")
    return Ground(
        uid=_number(found.get("uid", "")),
        user=user if _USER.fullmatch(user) else "the-login",
        sudo="sudo" in found,
        net_admin=bool(_HEX.fullmatch(caps) and int(caps, 16) >> _CAP_NET_ADMIN & 1),
        available_mib=_number(found.get("available_kib", "")) // 1024,
        tun=found.get("tun", "absent"),
        cpu_flag=found.get("flag", ""),
        folders=folders,
        forwarding=found.get("forwarding", "unknown"),
        relay=found.get("relay", ""),
        systemd="systemd" in found,
        kills_at_logout=found.get("kill_user", "") == "b true",
        lingers="linger" in found,
    )


def _folder(value: str) -> tuple[str, Folder | None]:
    parts = value.split(" ", 4)
    if len(parts) != 5:
        return "", None
    name, writable, free, kind, at = parts
    return name, Folder(
        at=at,
        writable=writable == "yes",
        free_mib=int(free) // 1024 if _NUMBER.fullmatch(free) else None,
        kind=kind,
    )


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
