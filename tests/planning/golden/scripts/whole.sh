{
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 027; trap '' PIPE HUP
say() { printf '\n@%s %s\n' "$N" "$*"; }
refuse() { say R "$@"; say Z; exit 0; }
die() { printf '%s\n' "$*"; exit 1; }
N=00112233aabbccdd
L=/var/lib/tashi
C=0123456789ab
U=7c1e0000-0000-4000-8000-000000000001
D=/var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001
R=/run/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001
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

if [ -s "$D/manifest.json" ]; then
  grep -qF "\"uuid\":\"$U\"" "$D/manifest.json" || refuse manifest "$D"
  g=$(sed -n 's/^.*"generation":\([0-9]*\).*$/\1/p' "$D/manifest.json")
  [ "${g:-0}" -le "$GEN" ] || refuse generation "$g"
fi

begin() { mark "$1 $2 begun"; say B "$1" "$2"; }
ended() { rc=$?; mark "$1 $2 rc $rc" 2>/dev/null; say E "$1" "$rc"
  [ "$rc" = 0 ] || { say Z; exit 0; }; }
begin 4 KillQemu
(
unit="tashi-$C-$U.service"
managed() { [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
no_unit() {
  j=0; while [ "$(systemctl show -p LoadState --value "$unit")" = loaded ]; do
    [ "$j" != 20 ] || systemctl kill -s KILL "$unit" 2>/dev/null
    [ "$j" -lt 100 ] || die "the unit $unit does not end"
    sleep 0.1; j=$((j+1))
  done; }
free() { ! managed || no_unit; }
p=$(qemu_pid) || { i=0; while alive && [ "$i" -lt 20 ]; do sleep 0.1; i=$((i+1)); done
  alive || { free; echo 'not running'; exit 0; }
  die 'run.lock is held, but no QEMU of this VM is to be found'; }
kill -TERM "$p"; i=0
while alive || is_ours "$p"; do
  [ "$i" != 100 ] || kill -KILL "$p" 2>/dev/null
  [ "$i" -lt 200 ] || die "process $p does not end (state $(sed 's/^.*) //' \
    "/proc/$p/stat" | cut -c1))"
  sleep 0.1; i=$((i+1))
done
free; say D pid "$p" 
) 2>&1
ended 4 KillQemu
begin 5 RemoveTap
(
[ ! -e /sys/class/net/tashi1.0 ] || ip link del dev tashi1.0
) 2>&1
ended 5 RemoveTap

say Z; exit 0
} </dev/null
