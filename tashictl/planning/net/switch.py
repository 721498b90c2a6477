r"""The dead man's switch: what lies on the host while a change of its network is in flight.

``<run dir>/net/pending`` is made whole before the first change, and is gone after a reboot, which
ends in the old state by itself since no file under /etc has changed by then::

    token who cluster since due boot stage detail log       what is shown; `due` is in uptime
    forward reverse                                         command lines, tried one by one
    before                                                  the picture that has to come back
    timer.sh apply.sh                                       what runs, as units or sessions
    new.N old.N files                                       the files to write, and as they were
    reserve                                                 room for what is written at its end
    decision                                                a symlink: confirm, or why it goes back

`decision` is made by whoever comes first (confirm, rollback, the timer, a failure); making a
symlink succeeds for one only. The timer alone goes back; it holds `timer.lock` for as long as it
lives, and if it is killed, its unit's ExecStopPost (or the shell that waits for it) does its work.
"""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.net import HostFile
from tashictl.model.steps_net import ArmNet, ConfirmNet, GoNet, NetStep, RollbackNet
from tashictl.planning.launch import mark_for
from tashictl.planning.net import lint
from tashictl.planning.net.networkd_words import LENT
from tashictl.planning.net.text import WORDS
from tashictl.planning.shell import quote

# Lines that say what a change may touch and do not depend on the time. What routers announce is
# left out, since it comes and goes by itself; of TAPs, which come and go with VMs, and of veths,
# which do with containers, their bridge.
PICTURE = r"""
picture() {
  w=" $(ip -o link show type veth 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | tr '\n' ' ') "
  { for d in /sys/class/net/*; do
      n=${d##*/}; m=$(readlink "$d/master"); m=${m##*/}
      case $w in *" $n "*) v=1 ;; *) v= ;; esac
      if [ -e "$d/tun_flags" ] || [ "$v" ]; then echo "tap $n ${m:--}"; continue; fi
      [ "$n" != lo ] && [ -e "$d/mtu" ] || continue
      f=$(cat "$d/flags"); b=
      [ ! -d "$d/bridge" ] || b=$(cat "$d/bridge/stp_state" "$d/bridge/forward_delay" \
        "$d/bridge/vlan_filtering" 2>/dev/null | tr '\n' ' ')
      echo "link $n $(cat "$d/mtu") ${m:--} up=$((f & 1)) $b"
    done
    sed 1,2d /proc/net/vlan/config 2>/dev/null | sed 's/^/vlan /'
    ip -o addr show scope global 2>/dev/null \
      | awk '!($3 == "inet6" && /dynamic|mngtmpaddr/) {print "address", $2, $4}'
    ip -4 route show table main | grep -v 'proto kernel' | sed 's/ linkdown//; s/^/route /'
    ip -6 route show table main 2>/dev/null | grep -v -e 'proto kernel' -e 'proto ra' \
      | sed 's/ linkdown//; s/ expires [^ ]*//; s/^/route6 /'
  } | sed 's/ *$//' | LC_ALL=C sort; }
same() { # whether the picture is that of file $1 again; a TAP may have gone or come
  picture >"$1.now"
  for x in "$1" "$1.now"; do grep -v '^tap ' "$x" >"$x.rest"; done
  cmp -s "$1.rest" "$1.now.rest" || return 1
  while read -r k n m; do
    [ "$k" != tap ] || [ ! -e "/sys/class/net/$n" ] || grep -qxF "tap $n $m" "$1.now" || return 1
  done <"$1"; }
"""

STATUS = r"""
held() { [ -e "$1" ] && ! flock -n -s "$1" true; }
pending() (
  d=$NET/pending
  [ -d "$d" ] && [ "$(cat "$d/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ] || d=$NET/last
  cd "$d" 2>/dev/null || return 0
  for k in token stage who cluster since detail; do
    [ ! -s "$k" ] || echo "$k $(head -n 1 "$k" | head -c 300)"
  done
  [ ! -s due ] || echo "left $(($(cat due) - $(cut -d. -f1 /proc/uptime)))"
  ! held timer.lock || echo "timer alive"
  # Last: whoever ends the change moves the folder away, also while it is read.
  if [ "$(cat token)" = "$(cat "$NET/pending/token" 2>/dev/null)" ]; then d=pending; else d=last; fi
  echo "place $d"; )
"""

# What going back writes must find room, however full the folder has become since.
_RESERVE_BYTES = 65536

_HEAD = r"""# Made by tashictl for one change of this host's network.
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 077; trap '' HUP PIPE
# By where it stands, not by its name: whoever ends the change moves the folder away.
NET={net}; P=.; cd "$NET/pending" 2>/dev/null && [ "$(cat token 2>/dev/null)" = {token} ] || exit 0
stage() {{ echo "$1" >"$P/stage.part" && mv -f "$P/stage.part" "$P/stage"; }}
log() {{ read -r up _ </proc/uptime; echo "$up $*" >>"$P/log"; }}
"""

# Files are written beside what they replace, hidden from `source interfaces.d/*`.
_FRESH = r"""fresh() { echo "${1%/*}/.${1##*/}.tashi-new"; }
unwritten() { while read -r m f; do rm -f "$(fresh "$f")"; done <"$P/files"; }
"""

# A child that outlives a timer that was killed must not hold its lock against the next one.
_TIMER = r"""
exec 9>>"$P/timer.lock"; flock -w 5 9 || exit 0
[ "$1" != stopped ] || ln -s died "$P/decision" 2>/dev/null
while [ ! -h "$P/decision" ]; do
  [ -e "$P/token" ] || exit 0
  due=$(cat "$P/due" 9>&-)
  if [ "$(cut -d. -f1 /proc/uptime 9>&-)" -ge "${due:-0}" ]; then
    ln -s late "$P/decision" 2>/dev/null
  else sleep 0.2 9>&-; fi
done
why=$(readlink "$P/decision"); [ "$why" != confirm ] || exit 0
stay=1; rm -f "$P/reserve"; log "goes back: $why"; stage reverting
exec 8>>"$P/apply.lock"
flock -n 8 || { kill -KILL "$(cat "$P/apply.pid")" 2>/dev/null; flock -w 20 8; }
tries=0
while :; do
  while IFS= read -r line; do
    eval "$line" >"$P/out" 2>&1 8>&- 9>&- </dev/null || log "$line: $(cat "$P/out")"
  done <"$P/reverse"
  same "$P/before" && { end=reverted; break; }
  tries=$((tries+1)); end=unclean; [ "$tries" -lt 8 ] || break
  sleep 1; ! same "$P/before" || { end=reverted; break; }
done
[ "$end" = reverted ] || diff "$P/before.rest" "$P/before.now.rest" >>"$P/log" 2>&1
[ -s "$P/detail" ] || echo "$why" >"$P/detail"
unwritten
log "$end"; stage "$end"; date -u +%Y-%m-%dT%H:%M:%SZ >"$P/ended"
rm -rf "$NET/last"; mv "$NET/pending" "$NET/last"
"""

# Each command is looked up against the decision first, so that nothing is done while it goes back.
_APPLY = r"""
exec 8>>"$P/apply.lock"; flock -n 8 || exit 0
if [ "$1" = stopped ]; then
  case $(cat "$P/stage") in
    armed|applying) [ ! -d "$P/begun" ] || [ -h "$P/decision" ] \
      || { echo 'it was killed in the middle' >"$P/detail"; ln -s failed "$P/decision"; } ;;
  esac
  exit 0
fi
[ ! -h "$P/decision" ] && mkdir "$P/begun" 2>/dev/null || exit 0
echo $$ >"$P/apply.pid"; sleep 0.3 8>&-; stage applying
while IFS= read -r line; do
  [ ! -h "$P/decision" ] || exit 0
  log "$line"
  eval "$line" >"$P/out" 2>&1 8>&- </dev/null || {
    echo "$line: $(tr '\n' ' ' <"$P/out")" >"$P/detail"
    log "failed: $(cat "$P/out")"; stage failed; ln -s failed "$P/decision" 2>/dev/null; exit 1; }
done <"$P/forward"
picture >"$P/after"; stage applied
"""

# A child must not keep the locks of the script that starts it.
# TERM is what logind sends to all that a login leaves behind when its connection is cut.
_LAUNCH = r"""trap '' TERM
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
"""

_ARM = r"""[ "$(id -u)" = 0 ] || die 'a change of the network needs root there'
mkdir -p "$NET" && exec 6>>"$NET/lock" && flock -w 10 6 || die "$NET cannot be locked"
! is_ours_net || {{ echo 'is armed already'; exit 0; }}
if [ -d "$P" ]; then
  [ "$(cat "$P/boot")" != "$(cat /proc/sys/kernel/random/boot_id)" ] || no busy "a change by \
$(cat "$P/who") is in flight since $(cat "$P/since"): $(cat "$P/stage"), \
$(($(cat "$P/due") - $(cut -d. -f1 /proc/uptime))) s left"
  rm -rf "$P"
fi
[ "$(picture | sha256sum | cut -d' ' -f1)" = {digest} ] \
  || no stale 'the network is not any more as it was looked at'
W=$NET/.new; rm -rf "$W"
full() {{ rm -rf "$W"; no full "no room for the change in $NET; nothing was changed"; }}
mkdir -m 700 "$W" || full
keep() {{ cat >"$W/$1" || full; }}
note() {{ printf '%s\n' "$2" | cat >"$W/$1" || full; }}
{files}
note token "$T"; note who "$WHO"; note cluster "$C"; note stage armed
note since "$(date -u +%Y-%m-%dT%H:%M:%SZ)"; note boot "$(cat /proc/sys/kernel/random/boot_id)"
note due "$(($(cut -d. -f1 /proc/uptime) + {window_s}))"; note out ''
picture >"$W/before" || full
head -c {reserve} /dev/zero >"$W/reserve" || full
mv "$W" "$P" || full
start_timer || {{ rm -rf "$P"; die 'the timer did not start, so nothing was changed'; }}
echo "goes back by itself in {window_s} s" """

_GO = r"""is_ours_net || die 'this change is not in flight any more'
[ ! -h "$P/decision" ] || die "it goes back: $(readlink "$P/decision")"
timed || die 'its timer has died'
[ ! -d "$P/begun" ] || { echo 'has begun already'; exit 0; }
launch apply """

# networkd is not told again: it has done what the files say, and would ask for its leases anew.
_LENT = rf"""lent_back() {{ [ ! -e "$P/told" ] || rm -f {LENT}*; }}
"""

_CONFIRM = r"""mkdir -p "$NET" && exec 6>>"$NET/lock" && flock -w 10 6 \
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
say D kept "$k" """

# ifupdown believes its own notes of what is up; `ifdown vmbr` would refuse without them.
_IFSTATE = r"""ifstate() {
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
"""

_ROLLBACK = r"""if ! is_ours_net; then
  [ "$(cat "$NET/last/token" 2>/dev/null)" = "$T" ] || die 'no such change is in flight'
  [ "$(cat "$NET/last/stage")" != confirmed ] || die 'it was confirmed already'
  echo 'has gone back already'; exit 0
fi
ln -s "$WHY" "$P/decision" 2>/dev/null || [ "$(readlink "$P/decision")" != confirm ] \
  || die 'it was confirmed already'
timed || start_timer || timed || ! is_ours_net || die 'the timer did not start' """


def text(step: NetStep) -> str:
    """The text of a step of the switch; it stands in a script with a guard."""
    head = f"NET={quote(step.net_dir)}; P=$NET/pending; T={quote(step.token)}\n{_LAUNCH}"
    match step:
        case ArmNet():
            return (
                head
                + PICTURE
                + lint.WORDS
                + _ARM.format(
                    digest=quote(step.digest),
                    files=_files(step),
                    window_s=step.window_s,
                    reserve=_RESERVE_BYTES,
                )
            )
        case GoNet():
            return head + _GO
        case ConfirmNet():
            return head + _FRESH + _IFSTATE + _LENT + _CONFIRM
        case RollbackNet():
            return head + f"WHY={quote(step.why)}\n" + _ROLLBACK
        case _:
            raise TypeError(type(step).__name__)


def _files(step: ArmNet) -> str:
    """Commands that put all of the folder's files where the step makes it."""
    values = {"net": quote(step.net_dir), "token": quote(step.token)}
    head = _HEAD.format(**values)
    words = WORDS + PICTURE
    parts = [
        _keep("timer.sh", head + _FRESH + words + _TIMER),
        _keep("apply.sh", head + words + _APPLY),
        _list("forward", step.forward),
        _list("reverse", step.reverse),
        _list("up", step.up),
        _list("down", step.down),
        _list("files", [_entry(f) for f in step.files]),
    ]
    for number, file in enumerate(step.files, 1):
        path = quote(file.path)
        parts.append(f'[ ! -e {path} ] || cat {path} >"$W/old.{number}" || full')
        if file.text is not None:
            parts.append(_keep(f"new.{number}", file.text.removesuffix("\n")))
    parts += lint.commands(step.files)
    return "\n".join(parts)


def _list(name: str, lines: Iterable[str]) -> str:
    """A file of lines; of none, an empty one."""
    some = tuple(lines)
    return _keep(name, "\n".join(some)) if some else f"keep {name} </dev/null"


def _entry(file: HostFile) -> str:
    return f"{'gone' if file.text is None else f'{file.mode:o}'} {file.path}"


def _keep(name: str, text: str) -> str:
    mark = mark_for(text)
    return f"keep {name} <<'{mark}'\n{text}\n{mark}"
