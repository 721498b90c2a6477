NET=/run/tashi/net; P=$NET/pending; T=00112233aabbccdd
trap '' TERM
no() { say D why "$1"; shift; die "$*"; }
managed() {
  [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
launch() { # timer or apply: as a unit, else in a session of its own
  if managed; then
    set -- "$1" "tashi-net-$T-$1"
    systemctl reset-failed "$2" 2>/dev/null
    systemd-run --quiet --collect --unit="$2" --description="tashictl network $1" \
      -p KillMode=process -p "ExecStopPost=-/bin/sh $P/$1.sh stopped" /bin/sh "$P/$1.sh" 2>&1
  else
    setsid sh -c 'sh "$1"; sh "$1" stopped' tashi-net "$P/$1.sh" </dev/null >/dev/null 2>&1 \
      6>&- 7>&- 8>&- 9>&- &
  fi; }
timed() { locked "$P/timer.lock"; }
start_timer() {
  launch timer || return 1
  i=0; while ! timed; do [ "$i" -lt 50 ] || return 1; sleep 0.1; i=$((i+1)); done; }
is_ours_net() { [ "$(cat "$P/token" 2>/dev/null)" = "$T" ]; }
fresh() { echo "${1%/*}/.${1##*/}.tashi-new"; }
unwritten() { while read -r m f; do rm -f "$(fresh "$f")"; done <"$P/files"; }
ifstate() {
  [ -d /run/network ] && [ -e /run/network/ifstate ] || return 0
  while read -r x; do
    grep -q "^$x=" /run/network/ifstate || echo "$x=$x" >>/run/network/ifstate
    echo "$x" >"/run/network/ifstate.$x"
  done <"$P/up"
  while read -r x; do
    grep -v "^$x=" /run/network/ifstate >/run/network/ifstate.tashi
    cat /run/network/ifstate.tashi >/run/network/ifstate
    rm -f "/run/network/ifstate.$x" /run/network/ifstate.tashi
  done <"$P/down"; }
lent_back() { [ ! -e "$P/told" ] || rm -f /run/systemd/network/04-tashi-*; }
mkdir -p "$NET" && exec 6>>"$NET/lock" && flock -w 10 6 \
  || die "$NET cannot be locked"
if ! is_ours_net; then
  [ "$(cat "$NET/last/token" 2>/dev/null)" = "$T" ] || die 'no such change is in flight'
  case $(cat "$NET/last/stage") in
    confirmed) echo 'was confirmed already'; exit 0 ;;
    *) no late "it has gone back already: $(cat "$NET/last/detail")" ;;
  esac
fi
case $(cat "$P/stage"):$(readlink "$P/decision") in
  applied:|applied:confirm) ;;
  applied:*|reverting:*|failed:*) no late "it goes back already: $(readlink "$P/decision")" ;;
  *) no early "it is not applied yet ($(cat "$P/stage"))" ;;
esac
n=0
while read -r mode path; do
  n=$((n+1))
  if [ "$(readlink "$P/decision")" != confirm ]; then
    if [ -e "$path" ]; then cmp -s "$path" "$P/old.$n"; else [ ! -e "$P/old.$n" ]; fi \
      || { unwritten; no changed "$path was changed meanwhile"; }
  fi
  [ "$mode" != gone ] || continue
  x=$(fresh "$path")
  mkdir -p "${path%/*}" && cat "$P/new.$n" >"$x" && chmod "$mode" "$x" && sync "$x" \
    || { unwritten; no write "$path cannot be written"; }
done <"$P/files"
ln -s confirm "$P/decision" 2>/dev/null || [ "$(readlink "$P/decision")" = confirm ] \
  || { unwritten; no late "it goes back already: $(readlink "$P/decision")"; }
rm -f "$P/reserve"
k=$L/net/$(date -u +%Y%m%d-%H%M%S); mkdir -p "$k"
cp "$P"/* "$k/" 2>/dev/null
while read -r mode path; do
  if [ "$mode" = gone ]; then rm -f "$path"; else mv -f "$(fresh "$path")" "$path"; fi || exit 1
  sync "${path%/*}"
done <"$P/files"
lent_back
ifstate
echo confirmed >"$P/stage"; : >"$P/detail"
rm -rf "$NET/last"; mv "$P" "$NET/last"
i=0; for x in $(ls -1r "$L/net"); do i=$((i+1)); [ "$i" -le 10 ] || rm -rf "$L/net/$x"; done
say D kept "$k" 
