"""The sweep's probe: one read-only script for a host, cheap enough for every minute.

What it says is read by `planning.probe_read`. Counters come raw, from one awk over all of /proc;
what rarely changes is not looked at, but for a fingerprint that tells when to read HostFacts anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning.create import binaries
from tashictl.planning.shell import READABLE, VM_WORDS, read_only

TIMEOUT_S = 20
MOUNT_S = 3  # within that a file system has answered, or it is stuck

# One probe at a time. What may outlive it gets descriptor 6 closed: children that hang, and
# busybox's `timeout`, which leaves a watchdog behind for a second.
_LOCK = r"""
P=$RUN/$C/probe; read -r up _ </proc/uptime; up=${up%.*}
if [ "$WRITE" = 1 ] && { [ -d "$RUN/$C" ] || (umask 066; mkdir -p "$RUN/$C"); } 2>/dev/null \
  && { command exec 6>>"$P.lock"; } 2>/dev/null; then
  flock -n 6; if [ $? = 1 ]; then
    s=; { read -r s <"$P.lock"; } 2>/dev/null; case $s in ''|*[!0-9]*) s=$up;; esac
    say B busy; echo "$((up - s))"; say Z; exit 0
  fi
  { echo "$up" >"$P.lock"; } 2>/dev/null
fi
"""

# A file system may hang whoever touches it, so children do, and `cat` waits for them with a limit.
# One that hangs is let be and remembered by pid and start time: the next probe makes no other. It
# must hold no descriptor of ours, or the login that made it never ends: its output is a pipe, and
# no group around it is redirected, since a shell keeps a copy of what it will restore.
_MOUNTS = r"""
since() { { read -r s <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${s##*) }; case $1 in Z|X) return 1;; esac; s=${20}; }
look() { # role folder
  if { read -r q t w <"$P/$1"; } 2>/dev/null && since "$q" && [ "$s" = "$t" ]; then
    echo "stuck $1 $w"; return; fi
  { d=$2; while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
    exec stat -f -c "mount $1 %S %b %a" "${d:-/}"; } 2>/dev/null 6>&- &
  echo "child $1 $!"; }
M=$({ look lib "$L/$C"; look images "$IMAGES"; look scratch "$SCRATCH"; } \
  | { timeout "$MOUNT_S" cat; :; } 2>/dev/null 6>&-)
stuck() { # role: whether it hangs; remembers a child that does
  case "
$M
" in
  *"
stuck $1 "*) return 0;;
  *"
mount $1 "*) return 1;; esac
  p=${M##*child $1 }; p=${p%%[!0-9]*}; since "$p" || return 1; t=$s
  w=$(($(date +%s) - MOUNT_S)); M="$M
stuck $1 $w"
  if [ "$WRITE" = 1 ]; then
    { [ -d "$P" ] || mkdir -p "$P"; echo "$p $t $w" >"$P/$1"; } 2>/dev/null
  else kill -KILL "$p"; fi; }
LIB=1; stuck lib && LIB=0; IMG=1; stuck images && IMG=0; stuck scratch
say B mounts; echo "$M"; echo "path lib $L/$C"; echo "path images $IMAGES"
echo "path scratch $SCRATCH"
"""

# QEMU inherits run.lock, held, as its descriptor 8: that proves it without a fork. Where another
# user's /proc/<pid>/fd cannot be read, the lock itself is asked.
_VMS = r"""
V=; ALIVE=' '; HIDDEN=
vm() { # folder? run folder?
  R=$RUN/$C/$U; p=; a=1; case $U in *[!0-9a-f-]*) return;; esac
  [ ! -d "$R" ] || [ -x "$R" ] || HIDDEN=1
  { read -r p <"$R/qemu.pid"; } 2>/dev/null; case $p in *[!0-9]*) p=;; esac
  if [ -n "$p" ] && [ "/proc/$p/fd/8" -ef "$R/run.lock" ]; then :
  elif alive; then p=$(qemu_pid); else a=0; p=; fi
  [ "$a" = 0 ] || ALIVE="$ALIVE$U "
  V="$V$U $a ${p:--} $1 $2
"; }
if [ "$LIB" = 1 ]; then for d in "$L/$C"/*-*/; do [ -d "$d" ] || continue
  d=${d%/}; U=${d##*/}; r=0; [ ! -d "$RUN/$C/$U" ] || r=1; vm 1 "$r"
done; fi
for d in "$RUN/$C"/*-*/; do [ -d "$d" ] || continue
  d=${d%/}; U=${d##*/}; if [ "$LIB" = 0 ]; then vm - 1; elif [ ! -d "$L/$C/$U" ]; then vm 0 1; fi
done
readable "$RUN/$C"; [ "$LIB" = 0 ] || readable "$L/$C"; [ -e /proc/1/stat ] || HIDDEN=1
say B host; [ -z "$HIDDEN" ] || echo hidden
for b in /sys/class/net/*; do n=${b##*/}
  [ ! -d "$b/bridge" ] || echo "bridge $n"
  case $n in lo|tashi*|veth*|*[!0-9A-Za-z._-]*) continue;; esac
  [ -e "$b/tun_flags" ] || NETS="$NETS $n"
done
told() { x=; { read -r x <"$2"; } 2>/dev/null; [ -z "$x" ] || echo "$1 $x"; }
[ "$LIB" = 0 ] || { told cluster "$L/cluster"; told replica "$L/$C/replica/head"; }
"""

# What may vanish or refuse while it is read goes through grep: an awk may end at a read that fails.
# Own QEMUs are known by pid, any other process by its first argument (busybox sees nothing behind
# its NUL). A QEMU whose parent is one of ours is a helper of it.
_LOOK = r"""
say B look
set --; while read -r U a p x; do [ "${p:--}" = - ] || set -- "$@" "/proc/$p/stat" "/proc/$p/io"
done <<.
$V
.
[ "$LIB" = 0 ] || set -- "$@" "$L/$C"/*-*/manifest.json
{ [ $# = 0 ] || grep -aHs '' "$@"; grep -aHs -e qemu -e kvm /proc/[0-9]*/cmdline
} | V=$V NETS="$NETS " HOME_="$L/$C/" awk '
function first(k, f,   l) { if ((getline l <f) > 0) print k, l; close(f) }
function grab(k, f, re,   l) { while ((getline l <f) > 0) if (l ~ re) print k, l; close(f) }
function stat(l,   w) { sub(/^.*\) /, "", l); split(l, w, " "); parent = w[2]; state = w[1]
  return w[20] " " w[1] " " (w[12] + w[13]) " " w[18] " " w[22] " " w[21] }
function find(l, k) { return match(l, k) ? substr(l, RSTART + RLENGTH) : "" }
function once(k, u, w) { if (w != "" && !((k, u) in had)) { had[k, u]; print k, u, w } }
function manifest(u, l,   w) {
  w = find(l, "\"id\": *"); once("id", u, w == "" ? w : w + 0)
  w = find(l, "\"generation\": *"); once("generation", u, w == "" ? w : w + 0)
  w = find(l, "\"phase\": *\""); sub(/".*/, "", w); once("phase", u, w)
  for (w = l; match(w, /"mac": *"/); w = substr(w, 18)) {
    w = substr(w, RSTART + RLENGTH); macs[substr(w, 1, 17)] }
  if (!index(ENVIRON["KNOWN"], " " u " ")) print "manifest", u, l }
function near(a, m) { if (m in macs && a !~ /^fe80:/) print "near", m, a }
function other(p,   c, f, l, s, u, m, k) { f = "/proc/" p
  c = "cat " f "/stat && tr \"\\000\" \"\\n\" <" f "/cmdline"; c = "{ " c "; } 2>/dev/null"
  if ((c | getline l) > 0) { s = stat(l)
    while ((c | getline l) > 0) { if (k ~ /^--?uuid$/) u = l; if (k ~ /^--?name$/) m = l; k = l }
    sub(/ .*/, "", s); if (u == "") u = "-"
    if (state != "Z" && !(parent in own)) print "qemu", p, s, u, m }
  close(c) }
BEGIN { OFMT = CONVFMT = "%.0f"
  first("load", "/proc/loadavg"); first("up", "/proc/uptime")
  first("boot_id", "/proc/sys/kernel/random/boot_id"); first("kernel", "/proc/sys/kernel/osrelease")
  for (f = "/proc/stat"; (getline l <f) > 0 && l ~ /^cpu/; n++) if (!n) print "ticks", l
  close(f); print "cores", n - 1
  grab("mem", "/proc/meminfo", "^(MemTotal|MemAvailable|Swap(Total|Free)|Huge.*(Total|Free|size)):")
  first("cpu", "/proc/pressure/cpu"); first("memory", "/proc/pressure/memory")
  first("io", "/proc/pressure/io"); grab("vm", "/proc/vmstat", "^oom_kill ")
  for (f = "/proc/self/smaps"; (getline l <f) > 0;)
    if (l ~ /^KernelPage/) { print "page", l; break }
  close(f); n = 0
  for (f = "/proc/net/dev"; (getline l <f) > 0;) { i = index(l, ":"); if (!i) continue
    m = substr(l, 1, i - 1); gsub(/ /, "", m); t = m ~ /^tashi/
    if (!t && (!index(ENVIRON["NETS"], " " m " ") || ++n > 64)) continue
    split(substr(l, i + 1), w, " ")
    print t ? "tap" : "net", m, w[1], w[2], w[3], w[4], w[9], w[10], w[11], w[12] }
  close(f); n = split(ENVIRON["V"], v, "\n")
  for (i = 1; i < n; i++) { print "seen", v[i]
    split(v[i], w, " "); if (w[3] != "-") own[w[3]] = w[1] } }
index($0, ENVIRON["HOME_"]) == 1 { l = substr($0, length(ENVIRON["HOME_"]) + 1)
  i = index(l, "/"); manifest(substr(l, 1, i - 1), substr(l, i + 15)); next }
!/^\/proc\/[0-9]+\/[a-z]+:/ { next }
{ i = index($0, ":"); split(substr($0, 1, i), w, "/"); p = w[3]; l = substr($0, i + 1) }
w[4] == "stat:" { print "stat", own[p], stat(l); next }
w[4] == "io:" { if (l ~ /^(read|write)_bytes:/) print "io", own[p], l; next }
p in own { next }
{ match(l, /^[ -~\200-\377]*/); l = substr(l, 1, RLENGTH); sub(/.*\//, "", l)
  if (l ~ /^(qemu-system-[a-z0-9_]+|qemu-kvm|kvm)$/ && ++many <= 100) other(p) }
END { for (m in macs) some = 1
  if (some) {
    for (f = "/proc/net/arp"; (getline l <f) > 0;) { split(l, w, " ")
      if (w[3] != "0x0") near(w[1], w[4]) }
    for (f = "ip -6 neigh 2>/dev/null"; (f | getline l) > 0;)
      if (l !~ /FAILED/ && (i = index(l, " lladdr "))) {
        split(l, w, " "); near(w[1], substr(l, i + 8, 17)) } }
  print "end" }'
"""

# Bytes of the disks and what each QEMU's binary is now, in one call; the fingerprint in another.
_FILES = r"""
say B files
set --; [ "$LIB" = 0 ] || set -- "$L/$C"/*-*/disk*.qcow2
while read -r U a p x; do [ -z "$U" ] || [ "$p" = - ] || set -- "$@" "/proc/$p/exe"; done <<.
$V
.
[ $# = 0 ] || stat -c '%b %B %N' "$@" 2>/dev/null
q=; for b in $BINARIES; do q=$(command -v "$b") && break; done
if [ "$IMG" = 1 ]; then say B print
  set -- "$IMAGES"; for d in "$IMAGES"/*/; do set -- "$@" "$d"; done
  stat -L -c '%n %d %i %s %Y' ${q:+"$q"} "$@" 2>/dev/null
fi
"""

# Only of VMs that ought to run: how their QEMUs ended.
_ENDED = r"""
k=none
for U in $RUNNING; do case $ALIVE in *" $U "*) continue;; esac
  R=$RUN/$C/$U; D=$L/$C/$U; p=; say B ended "$U"; told exit "$R/ended"
  { read -r p <"$R/qemu.pid"; } 2>/dev/null; case $p in *[!0-9]*) p=;; esac
  if [ -n "$p" ]; then [ "$k" != none ] || k=$(dmesg 2>/dev/null | grep 'Kill.* process ')
    case $k in *" process $p (qemu"*|*" process $p (kvm"*) echo oom;; esac; fi
  [ "$LIB" = 1 ] || continue
  for f in qemu console; do say B "$f" "$U"; tail -c 2000 "$D/$f.log" 2>/dev/null; done
done
"""

# Last: an offset between two clocks is as good as the time between the look at one and the other.
_CLOCK = r"""
say B clock; date +%s
"""


class Ask(Struct, frozen=True, kw_only=True):
    """What a probe asks one host.

    The manifests of `known` uuids (those that the database places there) are not printed. Of
    `running` ones that are not alive it is said how they ended. Without `mounts` (a dry run) no
    file is made: no lock is held, and a child that hangs on a file system is not left behind.
    """

    settings: Settings
    known: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    mounts: bool = True


def script(ask: Ask, nonce: str) -> Script:
    """The probe for one host; it changes nothing but its own lock and notes in the run folder."""
    settings = ask.settings
    body = VM_WORDS + READABLE + _LOCK + _MOUNTS + _VMS + _LOOK + _FILES + _ENDED + _CLOCK
    text = read_only(
        nonce,
        f"export KNOWN\n{body}",
        L=settings.tashictl.lib_dir,
        RUN=settings.tashictl.run_dir,
        C=settings.tashictl.cluster_id,
        IMAGES=settings.image_folder,
        SCRATCH=settings.qemu.scratch_dir,
        BINARIES=" ".join(binaries(settings)),
        KNOWN=_words(ask.known),
        RUNNING=_words(ask.running),
        WRITE=int(ask.mounts),
        MOUNT_S=MOUNT_S,
        NETS="",
    )
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def _words(uuids: Iterable[str]) -> str:
    return f" {' '.join(uuids)} "
