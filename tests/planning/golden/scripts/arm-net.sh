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

lint_interfaces() { # file, its place on the host
  command -v ifquery >/dev/null || return 0
  said=$({ ifquery -i "$1" --list --allow=auto; ifquery -i "$1" --list; } 2>&1 >/dev/null)
  [ -z "$said" ] || { rm -rf "$W"; no lint "$2 is not accepted by ifquery: $(echo "$said" \
    | head -n 3 | sed "s#$1#$2#g" | tr '\n' ' ')"; }; }
lint_sh() { said=$(sh -n "$1" 2>&1) || { rm -rf "$W"; no lint "$2 is no shell script: $said"; }; }
[ "$(id -u)" = 0 ] || die 'a change of the network needs root there'
mkdir -p "$NET" && exec 6>>"$NET/lock" && flock -w 10 6 || die "$NET cannot be locked"
! is_ours_net || { echo 'is armed already'; exit 0; }
if [ -d "$P" ]; then
  [ "$(cat "$P/boot")" != "$(cat /proc/sys/kernel/random/boot_id)" ] || no busy "a change by \
$(cat "$P/who") is in flight since $(cat "$P/since"): $(cat "$P/stage"), \
$(($(cat "$P/due") - $(cut -d. -f1 /proc/uptime))) s left"
  rm -rf "$P"
fi
[ "$(picture | sha256sum | cut -d' ' -f1)" = 9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a ] \
  || no stale 'the network is not any more as it was looked at'
W=$NET/.new; rm -rf "$W"
full() { rm -rf "$W"; no full "no room for the change in $NET; nothing was changed"; }
mkdir -m 700 "$W" || full
keep() { cat >"$W/$1" || full; }
note() { printf '%s\n' "$2" | cat >"$W/$1" || full; }
keep timer.sh <<'END'
# Made by tashictl for one change of this host's network.
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 077; trap '' HUP PIPE
# By where it stands, not by its name: whoever ends the change moves the folder away.
NET=/run/tashi/net; P=.; cd "$NET/pending" 2>/dev/null && [ "$(cat token 2>/dev/null)" = 00112233aabbccdd ] || exit 0
stage() { echo "$1" >"$P/stage.part" && mv -f "$P/stage.part" "$P/stage"; }
log() { read -r up _ </proc/uptime; echo "$up $*" >>"$P/log"; }
fresh() { echo "${1%/*}/.${1##*/}.tashi-new"; }
unwritten() { while read -r m f; do rm -f "$(fresh "$f")"; done <"$P/files"; }

stay=
has() { [ -e "/sys/class/net/$1" ]; }
with_address() { ip -o addr show dev "$1" 2>/dev/null | grep -qF " $2 "; }
clients() { # pids of the DHCP clients of interface $1
  for p in $(grep -lsE '^(dhclient|udhcpc|dhcpcd)$' /proc/[0-9]*/comm | cut -d/ -f3); do
    tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -qxF -- "$1" && echo "$p"
  done; }
lease_file() { # what stands behind -lf
  x=; for a; do [ "$x" != -lf ] || { echo "$a"; return; }; x=$a; done; }
dhcp_stop() { # killed, so that neither the lease nor the address is given back
  for p in $(clients "$1"); do
    f=$(tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -A1 -xF -e -lf | sed -n 2p)
    kill -KILL "$p" 2>/dev/null
    [ ! -s "$f" ] || { cp "$f" "$P/lease.$1"; echo "$f" >"$P/lease-at.$1"; }
  done; return 0; }
lease_taken() { # interface, lease file: with what another asked until now, it is the same client
  for k in "$P"/lease.*; do
    o=${k#"$P/lease."}; [ -s "$k" ] && [ "$o" != "$1" ] || continue
    [ "$(cat "$P/lease-at.$o")" = "${2%"$1"*}$o${2##*"$1"}" ] || continue
    sed "s/interface \"[^\"]*\"/interface \"$1\"/" "$k" >"$2"
  done; }
lease_bounded() { # interface, lease file: an address that is there lives as long as the lease
  t=$(sed -n 's/.*dhcp-lease-time \([0-9]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  f=$(sed -n 's/.*fixed-address \([0-9.]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  c=$(ip -4 -o addr show dev "$1" | awk -v f="$f/" 'index($4, f) == 1 {print $4}')
  [ -z "$c" ] || [ -z "$t" ] || ip addr change "$c" dev "$1" valid_lft "$t" preferred_lft "$t"; }
dhcp_start() { # interface, seconds, own command line or nothing
  d=$1 w=$2; shift 2
  [ -z "$(clients "$d")" ] || return 0
  l=/var/lib/dhcp/dhclient; [ -d /var/lib/dhcp ] || l=/run/dhclient
  if [ "$#" -gt 0 ]; then
    f=$(lease_file "$@"); [ -z "$f" ] || lease_taken "$d" "$f"
    timeout "$w" "$@" >/dev/null 2>&1 </dev/null \
      || { if [ "$stay" ]; then setsid "$@" >/dev/null 2>&1 </dev/null & fi
        echo "no lease for $d within $w s"; return 1; }
    [ -z "$f" ] || lease_bounded "$d" "$f"; return 0
  fi
  if command -v dhclient >/dev/null; then
    timeout "$w" dhclient -4 -i -pf "/run/dhclient.$d.pid" -lf "$l.$d.leases" \
      -I -df "${l}6.$d.leases" "$d" </dev/null >/dev/null 2>&1
  elif command -v udhcpc >/dev/null; then
    timeout "$w" udhcpc -n -q -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1 \
      && udhcpc -b -S -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1
  elif command -v dhcpcd >/dev/null; then
    timeout "$w" dhcpcd -4 -w -t "$w" "$d" </dev/null >/dev/null 2>&1
  else echo "no DHCP client on the host"; return 1; fi
  ip -4 -o addr show dev "$d" scope global | grep -q inet \
    || { echo "no lease for $d within $w s"; return 1; }; }

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

END
keep apply.sh <<'END'
# Made by tashictl for one change of this host's network.
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
umask 077; trap '' HUP PIPE
# By where it stands, not by its name: whoever ends the change moves the folder away.
NET=/run/tashi/net; P=.; cd "$NET/pending" 2>/dev/null && [ "$(cat token 2>/dev/null)" = 00112233aabbccdd ] || exit 0
stage() { echo "$1" >"$P/stage.part" && mv -f "$P/stage.part" "$P/stage"; }
log() { read -r up _ </proc/uptime; echo "$up $*" >>"$P/log"; }

stay=
has() { [ -e "/sys/class/net/$1" ]; }
with_address() { ip -o addr show dev "$1" 2>/dev/null | grep -qF " $2 "; }
clients() { # pids of the DHCP clients of interface $1
  for p in $(grep -lsE '^(dhclient|udhcpc|dhcpcd)$' /proc/[0-9]*/comm | cut -d/ -f3); do
    tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -qxF -- "$1" && echo "$p"
  done; }
lease_file() { # what stands behind -lf
  x=; for a; do [ "$x" != -lf ] || { echo "$a"; return; }; x=$a; done; }
dhcp_stop() { # killed, so that neither the lease nor the address is given back
  for p in $(clients "$1"); do
    f=$(tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -A1 -xF -e -lf | sed -n 2p)
    kill -KILL "$p" 2>/dev/null
    [ ! -s "$f" ] || { cp "$f" "$P/lease.$1"; echo "$f" >"$P/lease-at.$1"; }
  done; return 0; }
lease_taken() { # interface, lease file: with what another asked until now, it is the same client
  for k in "$P"/lease.*; do
    o=${k#"$P/lease."}; [ -s "$k" ] && [ "$o" != "$1" ] || continue
    [ "$(cat "$P/lease-at.$o")" = "${2%"$1"*}$o${2##*"$1"}" ] || continue
    sed "s/interface \"[^\"]*\"/interface \"$1\"/" "$k" >"$2"
  done; }
lease_bounded() { # interface, lease file: an address that is there lives as long as the lease
  t=$(sed -n 's/.*dhcp-lease-time \([0-9]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  f=$(sed -n 's/.*fixed-address \([0-9.]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  c=$(ip -4 -o addr show dev "$1" | awk -v f="$f/" 'index($4, f) == 1 {print $4}')
  [ -z "$c" ] || [ -z "$t" ] || ip addr change "$c" dev "$1" valid_lft "$t" preferred_lft "$t"; }
dhcp_start() { # interface, seconds, own command line or nothing
  d=$1 w=$2; shift 2
  [ -z "$(clients "$d")" ] || return 0
  l=/var/lib/dhcp/dhclient; [ -d /var/lib/dhcp ] || l=/run/dhclient
  if [ "$#" -gt 0 ]; then
    f=$(lease_file "$@"); [ -z "$f" ] || lease_taken "$d" "$f"
    timeout "$w" "$@" >/dev/null 2>&1 </dev/null \
      || { if [ "$stay" ]; then setsid "$@" >/dev/null 2>&1 </dev/null & fi
        echo "no lease for $d within $w s"; return 1; }
    [ -z "$f" ] || lease_bounded "$d" "$f"; return 0
  fi
  if command -v dhclient >/dev/null; then
    timeout "$w" dhclient -4 -i -pf "/run/dhclient.$d.pid" -lf "$l.$d.leases" \
      -I -df "${l}6.$d.leases" "$d" </dev/null >/dev/null 2>&1
  elif command -v udhcpc >/dev/null; then
    timeout "$w" udhcpc -n -q -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1 \
      && udhcpc -b -S -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1
  elif command -v dhcpcd >/dev/null; then
    timeout "$w" dhcpcd -4 -w -t "$w" "$d" </dev/null >/dev/null 2>&1
  else echo "no DHCP client on the host"; return 1; fi
  ip -4 -o addr show dev "$d" scope global | grep -q inet \
    || { echo "no lease for $d within $w s"; return 1; }; }

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

END
keep forward <<'END'
ip link set dev eth1 up
END
keep reverse <<'END'
ip link set dev eth1 down
END
keep up <<'END'
eth1
END
keep down </dev/null
keep files <<'END'
644 /etc/network/interfaces.d/tashi
gone /etc/qemu-ifup.9
END
[ ! -e /etc/network/interfaces.d/tashi ] || cat /etc/network/interfaces.d/tashi >"$W/old.1" || full
keep new.1 <<'END'
auto eth1
END
[ ! -e /etc/qemu-ifup.9 ] || cat /etc/qemu-ifup.9 >"$W/old.2" || full
lint_interfaces "$W/new.1" /etc/network/interfaces.d/tashi
note token "$T"; note who "$WHO"; note cluster "$C"; note stage armed
note since "$(date -u +%Y-%m-%dT%H:%M:%SZ)"; note boot "$(cat /proc/sys/kernel/random/boot_id)"
note due "$(($(cut -d. -f1 /proc/uptime) + 90))"; note out ''
picture >"$W/before" || full
head -c 65536 /dev/zero >"$W/reserve" || full
mv "$W" "$P" || full
start_timer || { rm -rf "$P"; die 'the timer did not start, so nothing was changed'; }
echo "goes back by itself in 90 s" 
