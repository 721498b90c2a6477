exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || die "the host is busy"
p=/run/tashi/net/pending
if [ "$(cat "$p/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "the host's network is being changed by $(cat "$p/who") since $(cat "$p/since"), and not \
confirmed: wait for its end, or tashictl net confirm, or net rollback"
fi
[ ! -e /etc/qemu-ifup.1 ] || grep -qF '# rendered by tashictl' /etc/qemu-ifup.1 \
  || { echo "the operator's own file"; exit 0; }
put /etc/qemu-ifup.1 755 '#!/bin/sh
# rendered by tashictl
ip "$1"'
