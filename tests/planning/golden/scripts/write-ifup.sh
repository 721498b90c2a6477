exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || die "the host is busy"
[ ! -e /etc/qemu-ifup.1 ] || grep -qF '# rendered by tashictl' /etc/qemu-ifup.1 \
  || { echo "the operator's own file"; exit 0; }
put /etc/qemu-ifup.1 755 '#!/bin/sh
# rendered by tashictl
ip "$1"'
