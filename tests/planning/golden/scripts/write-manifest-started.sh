p=$(qemu_pid) || die 'QEMU has ended'
t=$(start_time "$p"); b=$(cat /proc/sys/kernel/random/boot_id)
s=$(printf ',"started":{"pid":%s,"starttime":%s,"boot_id":"%s"}}' "$p" "$t" "$b")
put "$D/manifest.json" 640 '{"uuid":"7c1e0000-0000-4000-8000-000000000001","generation":1,"name":"it'"'"'s"'"$s" 
