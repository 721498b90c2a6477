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
WHY=rollback
if ! is_ours_net; then
  [ "$(cat "$NET/last/token" 2>/dev/null)" = "$T" ] || die 'no such change is in flight'
  [ "$(cat "$NET/last/stage")" != confirmed ] || die 'it was confirmed already'
  echo 'has gone back already'; exit 0
fi
ln -s "$WHY" "$P/decision" 2>/dev/null || [ "$(readlink "$P/decision")" != confirm ] \
  || die 'it was confirmed already'
timed || start_timer || timed || ! is_ours_net || die 'the timer did not start' 
