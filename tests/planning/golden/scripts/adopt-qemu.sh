unit="tashi-$C-$U.service"
managed() { [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
no_unit() {
  j=0; while [ "$(systemctl show -p LoadState --value "$unit")" = loaded ]; do
    [ "$j" != 20 ] || systemctl kill -s KILL "$unit" 2>/dev/null
    [ "$j" -lt 100 ] || die "the unit $unit does not end"
    sleep 0.1; j=$((j+1))
  done; }
p=4711
[ "$(start_time "$p" 2>/dev/null)" = 815 ] && is_ours "$p" \
  || die "the process $p has ended, or is another one"
[ -S '/srv/it'"'"'s/qmp.sock' ] || die 'its QMP socket is not there: ''/srv/it'"'"'s/qmp.sock'
mkdir -p "$R" && chmod 2750 "$R" && chmod 711 "${R%/*}" "${R%/*/*}" || exit 1
[ -z "$SUDO_GID" ] || chgrp "$SUDO_GID" "$R"
echo "$p" >"$R/qemu.pid" && rm -f "$R/qmp.sock" && ln -s '/srv/it'"'"'s/qmp.sock' "$R/qmp.sock" || exit 1
if ! alive; then
  cat >"$R/keep" <<'END' || exit 1
# Made by tashictl: holds run.lock until a QEMU that it did not start has ended.
R=/run/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001
cd /; exec 8>>"$R/run.lock"; flock -w 2 8 || exit 75
echo "$$" >"$R/keep.pid"
lives() { { read -r s <"/proc/4711/stat"; } 2>/dev/null || return 1
  set -- ${s##*) }; case $1 in Z|X) return 1;; esac; [ "${20}" = 815 ]; }
while lives; do sleep 1 8>&-; done
END
  if managed; then
    no_unit
    systemd-run --quiet --collect --unit="$unit" --slice=machine.slice \
      --description="tashictl VM $U, started by hand" -p WorkingDirectory="$R" \
      /bin/sh ./keep 2>&1 || die "systemd did not start $unit"
  else setsid sh "$R/keep" 9>&- </dev/null >/dev/null 2>&1 &
  fi
  i=0; until alive; do
    [ "$i" -lt 100 ] || die 'nobody holds run.lock'
    sleep 0.05; i=$((i+1))
  done
fi
say D pid "$p"; say D starttime 815
say D boot_id "$(cat /proc/sys/kernel/random/boot_id)" 
