i=0
while alive || qemu_pid >/dev/null; do
  [ "$i" -lt 100 ] || die 'QEMU still runs'
  sleep 0.1; i=$((i+1))
done
