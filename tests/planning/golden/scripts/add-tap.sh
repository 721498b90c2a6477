[ -e /sys/class/net/tashi1.0 ] \
  || ip tuntap add dev tashi1.0 mode tap || exit 1
/etc/qemu-ifup.1 tashi1.0
