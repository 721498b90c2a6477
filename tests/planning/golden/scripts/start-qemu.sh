mkdir -p "$R" && chmod 2750 "$R" && chmod 711 "${R%/*}" "${R%/*/*}" || exit 1
[ -z "$SUDO_GID" ] || chgrp "$SUDO_GID" "$R"
if alive; then
  p=$(qemu_pid) || die 'run.lock is held, but no QEMU of this VM is to be found'
  say D pid "$p"; echo 'runs already'; exit 0
fi
q=; for b in qemu-system-x86_64 /usr/libexec/qemu-kvm; do q=$(command -v "$b") && break; done
[ -n "$q" ] || die "no QEMU is installed (looked for" qemu-system-x86_64 /usr/libexec/qemu-kvm")"
rm -f "$R/qmp.sock" "$R/serial.sock" "$R/vnc.sock" "$R/qemu.pid"
umask 007; exec 8>>"$R/run.lock"; flock -w 2 8 || die 'run.lock is held by another process'
setsid "$q" -uuid 7c1e0000-0000-4000-8000-000000000001 -name 'guest=it'"'"'s' '' </dev/null >>"$D/qemu.log" 2>&1 9>&- &
p=$!; i=0
while ! { [ -S "$R/qmp.sock" ] && [ -s "$R/qemu.pid" ]; }; do
  kill -0 "$p" 2>/dev/null || { wait "$p"; rc=$?; tail -n 5 "$D/qemu.log"
    die "QEMU ended at once with exit code $rc"; }
  [ "$i" -lt 1000 ] || { kill -KILL "$p"; die 'no QMP socket within 20 s'; }
  sleep 0.02; i=$((i+1))
done
say D pid "$p"; say D starttime "$(start_time "$p")"
say D boot_id "$(cat /proc/sys/kernel/random/boot_id)" 
