{
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 027; trap '' PIPE HUP
say() { printf '\n@%s %s\n' "$N" "$*"; }
refuse() { say R "$@"; say Z; exit 0; }
die() { printf '%s\n' "$*"; exit 1; }
N=00112233aabbccdd
L=/var/lib/tashi
C=0123456789ab
U=host
D=/var/lib/tashi/shared/images
R=/run/tashi
EPOCH=2
OP=17
TRY=3
SEEN=16
GEN=4
NOT_AFTER=1772366460
WAIT=10
WHO='o'"'"'dev@desk'

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

begin() { mark "$1 $2 begun"; say B "$1" "$2"; }
ended() { rc=$?; mark "$1 $2 rc $rc" 2>/dev/null; say E "$1" "$rc"
  [ "$rc" = 0 ] || { say Z; exit 0; }; }
