Q=; if [ "$(id -u)" = 0 ] && id -u tashi-qemu >/dev/null 2>&1; then Q=tashi-qemu; fi
as_q() { setpriv --reuid="$Q" --regid="$Q" --init-groups "$@"; }
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
bound() { for s in qmp.sock; do [ -S "$R/$s" ] || return 1; done; }
usable() { as_q test -r "$1" && { [ "$2" = r ] || as_q test -w "$1"; }; }
lend() { # folder file r|rw
  ! usable "$2" "$3" 2>/dev/null || return 0
  within "$2" "$1" || return 0
  d=${2%/*}; while [ "$d" != "$1" ] && [ -n "$d" ]; do chmod a+x "$d" || return 1; d=${d%/*}; done
  chmod a+x "$1" && chgrp "$Q" "$2" && chmod "g+$3" "$2"
  o=$(usable "$2" "$3" 2>&1) || die "$Q may not use $2, or not pass to it: host setup opens the \
folders above it${o:+; $o}"; }
unit="tashi-$C-$U.service"
managed() { [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
no_unit() {
  j=0; while [ "$(systemctl show -p LoadState --value "$unit")" = loaded ]; do
    [ "$j" != 20 ] || systemctl kill -s KILL "$unit" 2>/dev/null
    [ "$j" -lt 100 ] || die "the unit $unit does not end"
    sleep 0.1; j=$((j+1))
  done; }
mkdir -p "$R" && chmod 2750 "$R" && chmod 711 "${R%/*}" "${R%/*/*}" || exit 1
[ -z "$SUDO_GID" ] || chgrp "$SUDO_GID" "$R"
if alive; then
  p=$(qemu_pid) || die 'run.lock is held, but no QEMU of this VM is to be found'
  if [ -n "$Q" ]; then
    i=0; until bound || [ "$i" -ge 1000 ]; do sleep 0.02; i=$((i+1)); done
    from_qemu || exit 1
  fi
  say D pid "$p"; echo 'runs already'; exit 0
fi
QEMU=; for b in qemu-system-x86_64 /usr/libexec/qemu-kvm; do QEMU=$(command -v "$b") && break; done
[ -n "$QEMU" ] || die "no QEMU is installed (looked for" qemu-system-x86_64 /usr/libexec/qemu-kvm")"
for f in qmp.sock serial.sock vnc.sock qemu.pid monitor.in monitor.out ended; do
  rm -f "$R/$f" || exit 1
done
umask 007; exec 8>>"$R/run.lock"; flock -w 2 8 || die 'run.lock is held by another process'
mkfifo "$R/monitor.in" && ln -s /dev/null "$R/monitor.out" || exit 1
cat >"$R/launch" <<'END' || exit 1
# Made by tashictl at each start of the VM.
R=/run/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001
D=/var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001
case $1 in
stop)
  i=0; while ! flock -n -s "$R/run.lock" true && [ "$i" -lt 120 ]; do
    [ $((i % 10)) != 0 ] || echo system_powerdown 1<>"$R/monitor.in"
    sleep 0.5; i=$((i+1))
  done; exit 0;;
ended) echo "$EXIT_STATUS" >"$R/ended"; exit 0;;
start) exec 8>>"$R/run.lock"; flock -w 2 8 || { echo 75 >"$R/ended"; exit 75; };;
esac
cd /; umask 007; exec </dev/null >>"$D/qemu.log" 2>&1
exec $AS "$QEMU" -uuid 7c1e0000-0000-4000-8000-000000000001 -name 'guest=it'"'"'s' ''
END
AS=; if [ -n "$Q" ]; then
  AS="setpriv --reuid=$Q --regid=$Q --init-groups --no-new-privs"
  : || exit 1
  to_qemu || exit 1
fi
if managed; then
  exec 8>&-; no_unit
  systemd-run --quiet --collect --unit="$unit" --slice=machine.slice \
    --description="tashictl VM $U" --setenv=QEMU="$QEMU" --setenv=AS="$AS" \
    -p WorkingDirectory="$R" -p KillMode=mixed -p TimeoutStopSec=70 \
    -p After=network.target -p After=remote-fs.target \
    -p 'ExecStop=/bin/sh ./launch stop' -p 'ExecStopPost=/bin/sh ./launch ended' \
    /bin/sh ./launch start 2>&1 || die "systemd did not start $unit"
  gone() { [ -s "$R/ended" ] && rc=$(cat "$R/ended"); }
  end() { systemctl kill -s KILL "$unit" 2>/dev/null; no_unit; }
else
  export QEMU AS; setsid sh "$R/launch" go 9>&- &
  p=$!
  gone() { kill -0 "$p" 2>/dev/null && return 1; wait "$p"; rc=$?; }
  end() { kill -KILL "$p"; }
fi
i=0
while ! { [ -S "$R/qmp.sock" ] && [ -s "$R/qemu.pid" ] && { [ -z "$Q" ] || bound; }; }; do
  if gone; then tail -n 5 "$D/qemu.log"; die "QEMU ended at once with exit code $rc"; fi
  [ "$i" -lt 1000 ] || { end; die 'no QMP socket within 20 s'; }
  sleep 0.02; i=$((i+1))
done
[ -z "$Q" ] || from_qemu || exit 1
p=$(qemu_pid) || die 'QEMU has ended'
say D pid "$p"; say D starttime "$(start_time "$p")"
say D boot_id "$(cat /proc/sys/kernel/random/boot_id)" 
