"""QEMU under a user of its own, where `host setup` has made one: what it must be lent, as POSIX sh.

Root owns every folder that root writes to or runs a file from, so that a guest that has broken out
of its QEMU reaches no more than what its user is lent. All QEMUs of a host share that user. On a
host without it, and for a login that is not root, nothing is different.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from tashictl.model.steps import StartQemu
from tashictl.planning.setup_names import KVM, USER
from tashictl.planning.shell import quote

# $Q is the user, or nothing.
WORDS = rf"""Q=; if [ "$(id -u)" = 0 ] && id -u {USER} >/dev/null 2>&1; then Q={USER}; fi
"""

# The run folder is the user's to make sockets in, sticky, while QEMU starts; then it is as it was.
# The last socket comes long after that of QMP.
_START = r"""as_q() { setpriv --reuid="$Q" --regid="$Q" --init-groups "$@"; }
to_qemu() {
  command -v setpriv >/dev/null || die "no setpriv (util-linux), which $Q needs"
  chgrp "$Q" "$D" && chmod 750 "$D" && chmod a+x "${D%/*}" "${D%/*/*}" && : >>"$D/console.log" \
    || return 1
  for f in "$D"/disk*.qcow2 "$D/console.log"; do
    [ ! -f "$f" ] || chown "$Q:$Q" "$f" || return 1
  done
  [ ! -f "$D/seed.iso" ] || chgrp "$Q" "$D/seed.iso" || return 1
  : >"$R/ended" && chmod 600 "$R/ended" "$R/launch" "$R/run.lock" && chgrp "$Q" "$R/monitor.in" \
    && chgrp "$Q" "$R" && chmod 3770 "$R"; }
from_qemu() {
  chgrp "${SUDO_GID:-0}" "$R" && chmod 2750 "$R" || return 1
  for f in "$R"/*.sock; do [ ! -S "$f" ] || chgrp -h "${SUDO_GID:-0}" "$f" || return 1; done; }
bound() { for s in SOCKETS; do [ -S "$R/$s" ] || return 1; done; }
"""

_KVM = rf"""[ -z "$Q" ] || as_q sh -c '[ -r {KVM} ] && [ -w {KVM} ]' \
  || die "$Q may not use {KVM}: host setup puts it into its group"
"""

# Only what the user could not use as it is changes hands, and nothing outside the image folder.
_LEND = r"""usable() { as_q test -r "$1" && { [ "$2" = r ] || as_q test -w "$1"; }; }
lend() { # folder file r|rw
  ! usable "$2" "$3" 2>/dev/null || return 0
  within "$2" "$1" || return 0
  d=${2%/*}; while [ "$d" != "$1" ] && [ -n "$d" ]; do chmod a+x "$d" || return 1; d=${d%/*}; done
  chmod a+x "$1" && chgrp "$Q" "$2" && chmod "g+$3" "$2"
  o=$(usable "$2" "$3" 2>&1) || die "$Q may not use $2, or not pass to it: host setup opens the \
folders above it${o:+; $o}"; }
"""


def start(step: StartQemu) -> str:
    """The words that hand a VM's files to QEMU, and take the run folder back when it is up."""
    names = ("qmp.sock", "serial.sock", "vnc.sock")
    wanted = [n for n in names if any(f"{step.run_folder}/{n}" in a for a in step.argv)]
    return WORDS + _START.replace("SOCKETS", " ".join(wanted) or "qmp.sock") + _LEND


def lent(step: StartQemu) -> str:
    """Lines that lend QEMU the images that it reads or, as persistent disks, writes."""
    calls = [f"lend {quote(step.image_folder)} {quote(path)} {how}" for path, how in _images(step)]
    return " \\\n  && ".join(calls) or ":"


def _images(step: StartQemu) -> list[tuple[str, str]]:
    """The files below the image folder that `argv` names, with r or rw."""
    found: list[tuple[str, str]] = []
    for option, value in pairwise(step.argv):
        if option == "-blockdev" and value.startswith("{") and step.image_folder:
            found += _files(msgspec.json.decode(value, type=dict[str, object]))
    return [(path, how) for path, how in found if path.startswith(f"{step.image_folder}/")]


def _files(node: dict[str, object]) -> Iterator[tuple[str, str]]:
    path = node.get("filename")
    if isinstance(path, str):
        yield path, "r" if node.get("read-only") else "rw"
    for child in node.values():
        if isinstance(child, dict):
            yield from _files(child)


def kvm(argv: tuple[str, ...]) -> str:
    """A line that fails where `argv` wants KVM and the user may not use it."""
    wants = any(a == "-accel" and b.startswith("kvm") for a, b in pairwise(argv))
    return _KVM if wants else ""


def add_tap(tap: str) -> str:
    """Make a TAP device that the user may open; one that is another's and unused is made anew."""
    return f"""{WORDS}o=$(cat /sys/class/net/{tap}/owner 2>/dev/null)
if [ -n "$Q" ] && [ -n "$o" ] && [ "$o" != "$(id -u "$Q")" ] && ! alive; then
  ip link del dev {quote(tap)} || exit 1
fi
[ -e /sys/class/net/{tap} ] \\
  || ip tuntap add dev {quote(tap)} mode tap ${{Q:+user "$Q"}} || exit 1
"""
