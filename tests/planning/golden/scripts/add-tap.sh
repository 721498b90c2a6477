exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || die "the host is busy"
p=/run/tashi/net/pending
if [ "$(cat "$p/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "the host's network is being changed by $(cat "$p/who") since $(cat "$p/since"), and not \
confirmed: wait for its end, or tashictl net confirm, or net rollback"
fi
Q=; if [ "$(id -u)" = 0 ] && id -u tashi-qemu >/dev/null 2>&1; then Q=tashi-qemu; fi
o=$(cat /sys/class/net/tashi1.0/owner 2>/dev/null)
if [ -n "$Q" ] && [ -n "$o" ] && [ "$o" != "$(id -u "$Q")" ] && ! alive; then
  ip link del dev tashi1.0 || exit 1
fi
[ -e /sys/class/net/tashi1.0 ] \
  || ip tuntap add dev tashi1.0 mode tap ${Q:+user "$Q"} || exit 1
/etc/qemu-ifup.1 tashi1.0
