[ ! -e /sys/class/net/tashi1.0 ] || ip link del dev tashi1.0
