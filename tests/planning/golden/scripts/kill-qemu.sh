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
