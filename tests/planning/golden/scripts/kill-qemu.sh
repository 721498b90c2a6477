p=$(qemu_pid) || { alive || { echo 'not running'; exit 0; }
  die 'run.lock is held, but no QEMU of this VM is to be found'; }
kill -TERM "$p"; i=0
while alive || is_ours "$p"; do
  [ "$i" != 100 ] || kill -KILL "$p" 2>/dev/null
  [ "$i" -lt 200 ] || die "process $p does not end (state $(sed 's/^.*) //' \
    "/proc/$p/stat" | cut -c1))"
  sleep 0.1; i=$((i+1))
done
say D pid "$p" 
