unit="tashi-$C-$U.service"
managed() { [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
no_unit() {
  j=0; while [ "$(systemctl show -p LoadState --value "$unit")" = loaded ]; do
    [ "$j" != 20 ] || systemctl kill -s KILL "$unit" 2>/dev/null
    [ "$j" -lt 100 ] || die "the unit $unit does not end"
    sleep 0.1; j=$((j+1))
  done; }
keepers() { # by what they run; whoever looks for them is told apart
  for k in $(cat "$R/keep.pid" 2>/dev/null) \
    $(grep -lsaF "$R/keep" /proc/[0-9]*/cmdline | cut -d/ -f3); do
    case $({ tr '\0' ' ' <"/proc/$k/cmdline"; } 2>/dev/null) in *"sh $R/keep ") echo "$k";; esac
  done; }
if managed; then
  systemctl kill -s KILL "$unit" 2>/dev/null; no_unit
fi
for k in $(keepers); do kill -KILL "$k" 2>/dev/null; done
i=0; while alive; do
  [ "$i" -lt 50 ] || die 'run.lock is held by another process'
  sleep 0.1; i=$((i+1))
done
for f in qemu.pid qmp.sock keep keep.pid run.lock; do rm -f "$R/$f" || exit 1; done
[ ! -d "$R" ] || rmdir "$R" || exit 1
rm -f "$D/manifest.json" "$D/manifest.json.part" || exit 1
[ ! -d "$D" ] || rmdir "$D" 
