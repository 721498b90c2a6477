{
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 027; trap '' PIPE HUP
say() { printf '\n@%s %s\n' "$N" "$*"; }
refuse() { say R "$@"; say Z; exit 0; }
die() { printf '%s\n' "$*"; exit 1; }
N=00112233aabbccdd
L=/var/lib/tashi
C=0123456789ab
EPOCH=3
NOT_AFTER=1772366460
WAIT=10
WHO='o'"'"'dev@desk'
CLAIMS=yes

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
