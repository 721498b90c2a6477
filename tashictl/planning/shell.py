"""The POSIX sh that every script begins with: frames, fencing, and the words that steps use.

Frames on stdout, after a nonce that no output can know: ``B i name`` a step begins, ``D key value``
it reports, ``E i rc`` it ended, ``R why …`` the host refuses the whole script, ``Z`` the end. A
reply without Z was cut short, whatever its exit status says.

Runs on dash, bash and busybox ash. The text is read whole before it starts (braces), so that no
child can eat it from stdin; PIPE and HUP are ignored, so that a cut connection leaves no step half
done. Descriptor 9 is the VM's lock on the host, 8 is run.lock, which QEMU inherits.
"""

from __future__ import annotations

import shlex

from tashictl.model.steps import Fence, Guard

quote = shlex.quote

HEAD = r"""{
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 027; trap '' PIPE HUP
say() { printf '\n@%s %s\n' "$N" "$*"; }
refuse() { say R "$@"; say Z; exit 0; }
die() { printf '%s\n' "$*"; exit 1; }
"""

TAIL = r"""
say Z; exit 0
} </dev/null
"""

# What is in /proc/<pid>/cmdline says which process it is; a pid alone proves nothing.
VM_WORDS = r"""
is_ours() {
  { tr '\0' '\n' <"/proc/$1/cmdline"; } 2>/dev/null | grep -A1 -x -e -uuid | grep -qxF "$U"; }
qemu_pid() {
  for p in $(cat "$R/qemu.pid" 2>/dev/null) \
    $(grep -laF "$U" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
    if is_ours "$p"; then echo "$p"; return 0; fi
  done; return 1; }
locked() { [ -e "$1" ] && ! flock -n -s "$1" true; }
alive() { locked "$R/run.lock"; }
start_time() { sed 's/^.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
put() { # by cat, which says that a disk is full; dash's printf says "I/O error"
  [ "$(cat "$1" 2>/dev/null)" = "$3" ] && return 0
  printf '%s\n' "$3" | cat >"$1.part" && chmod "$2" "$1.part" && sync "$1.part" \
    && mv -f "$1.part" "$1" || { rm -f "$1.part"; return 1; }; }
within() { # resolved path $1 lies below the resolved folder $2
  w=$(readlink -f "$2")/; f=$(readlink -f "$1") || return 1
  [ "$f" != "${f#"$w"}" ] && [ -f "$f" ]; }
"""

# A login that may not see everything sets HIDDEN: what it does not see may be there.
READABLE = r"""
HIDDEN=
readable() { # folder; where it is not to be seen, what is above it may be what hides it
  d=$1; while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  [ -x "${d:-/}" ] && { [ "$d" != "$1" ] || [ -r "$d" ]; } || HIDDEN=1; }
"""

# The claim and the fence are overwritten in place and never grow: that needs no room, so that a VM
# can be destroyed on a full disk too. The claim names the last operation and its VM: a database
# that does not know of it is an old copy, and would give ids out twice.
FENCE = r"""
now=$(date +%s); [ "$now" -le "$NOT_AFTER" ] || refuse late "$now"
mkdir -p "$L/$C/fence" 2>/dev/null || refuse folder "$L/$C/fence"
F="$L/$C/fence/$U"
(: >>"$F" && : >>"$L/cluster.lock") 2>/dev/null || refuse folder "$F"
exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || refuse busy host
hc=; he=0; hk=0; hu=; [ -s "$L/cluster" ] && read -r hc he hk hu hw <"$L/cluster"
[ -z "$hc" ] || [ "$hc" = "$C" ] || refuse foreign "$hc" "$hw"
[ "$he" -le "$EPOCH" ] || refuse epoch "$he"
[ "$he" -lt "$EPOCH" ] || [ "$hk" -le "$SEEN" ] || [ "$hk $hu" = "$OP $U" ] \
  || refuse counter "$hk" "$hu"
if [ "$he" -lt "$EPOCH" ] || [ "$hk" -lt "$OP" ]; then
  { printf '%-119.119s\n' "$C $EPOCH $OP $U $WHO" 1<>"$L/cluster"; } 2>/dev/null \
    || refuse folder "$L/cluster"
fi
exec 7>&-; exec 9>>"$F"; flock -w "$WAIT" 9 || refuse busy vm
now=$(date +%s); [ "$now" -le "$NOT_AFTER" ] || refuse late "$now"
fe=; read -r fe fo fa fs <"$F"
if [ -n "$fe" ]; then
  [ "$fe" -lt "$EPOCH" ] || { [ "$fe" -eq "$EPOCH" ] && { [ "$fo" -lt "$OP" ] \
    || { [ "$fo" -eq "$OP" ] && [ "$fa" -le "$TRY" ]; }; }; } || refuse newer "$fe" "$fo" "$fa"
fi
mark() { printf '%-79s\n' "$EPOCH $OP $TRY $1" 1<>"$F"; }
mark begun 2>/dev/null || refuse folder "$F"
"""

# Under the lock: the folder must be this VM's, and not newer than what the database says.
MANIFEST = r"""
if [ -s "$D/manifest.json" ]; then
  grep -qF "\"uuid\":\"$U\"" "$D/manifest.json" || refuse manifest "$D"
  g=$(sed -n 's/^.*"generation":\([0-9]*\).*$/\1/p' "$D/manifest.json")
  [ "${g:-0}" -le "$GEN" ] || refuse generation "$g"
fi
"""

# For what belongs to no operation: the claim must be ours (or nobody's, where CLAIMS says so) and
# of no later epoch. The lock on the claim is held to the end, or until a step lets it go.
GUARD = r"""
now=$(date +%s); [ "$now" -le "$NOT_AFTER" ] || refuse late "$now"
if [ "$CLAIMS" = yes ]; then mkdir -p "$L/$C/fence" 2>/dev/null || refuse folder "$L/$C/fence"
else [ -s "$L/cluster" ] || refuse unclaimed; fi
(: >>"$L/cluster.lock") 2>/dev/null || refuse folder "$L/cluster.lock"
exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || refuse busy host
now=$(date +%s); [ "$now" -le "$NOT_AFTER" ] || refuse late "$now"
hc=; he=0; hk=0; hu=; hw=; [ -s "$L/cluster" ] && read -r hc he hk hu hw <"$L/cluster"
[ -n "$hc" ] || [ "$CLAIMS" = yes ] || refuse unclaimed
[ -z "$hc" ] || [ "$hc" = "$C" ] || refuse foreign "$hc" "$hw"
[ "$he" -le "$EPOCH" ] || refuse epoch "$he"
begin() { say B "$1" "$2"; }
ended() { rc=$?; say E "$1" "$rc"; [ "$rc" = 0 ] || { say Z; exit 0; }; }
"""

STEP = r"""
begin() { mark "$1 $2 begun"; say B "$1" "$2"; }
ended() { rc=$?; mark "$1 $2 rc $rc" 2>/dev/null; say E "$1" "$rc"
  [ "$rc" = 0 ] || { say Z; exit 0; }; }
"""


def assign(**values: str | int) -> str:
    """Lines that set shell variables to quoted values."""
    return "".join(f"{name}={quote(str(value))}\n" for name, value in values.items())


def fenced(fence: Fence, nonce: str, folder: str, run_folder: str) -> str:
    """The beginning of a changing script: variables, words, and the fence that lets it through."""
    values = assign(
        N=nonce,
        L=fence.lib_dir,
        C=fence.cluster,
        U=fence.uuid,
        D=folder,
        R=run_folder,
        EPOCH=fence.epoch,
        OP=fence.operation,
        TRY=fence.attempt,
        SEEN=fence.seen,
        GEN=fence.generation,
        NOT_AFTER=fence.not_after_s,
        WAIT=fence.lock_wait_s,
        WHO=fence.controller,
    )
    manifest = "" if fence.uuid == "host" else MANIFEST
    return HEAD + values + VM_WORDS + FENCE + manifest + STEP


def guarded(guard: Guard, nonce: str) -> str:
    """The beginning of a changing script that belongs to no operation."""
    values = assign(
        N=nonce,
        L=guard.lib_dir,
        C=guard.cluster,
        EPOCH=guard.epoch,
        NOT_AFTER=guard.not_after_s,
        WAIT=guard.lock_wait_s,
        WHO=guard.controller,
        CLAIMS="yes" if guard.claims else "no",
    )
    return HEAD + values + VM_WORDS + GUARD


def read_only(nonce: str, body: str, **values: str | int) -> str:
    """A script that changes nothing: no lock is taken for longer than a look."""
    return HEAD + assign(N=nonce, **values) + body + TAIL
