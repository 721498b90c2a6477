#!/bin/sh
# What udhcpc calls: sets the address and says so on the serial line.
case "$1" in
  deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound|renew)
    ip addr replace "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}"
    # A name that nothing else has given comes from the server (Tashi's guests got theirs so).
    [ -n "$hostname" ] && [ "$(hostname)" = demo ] && hostname "$hostname"
    for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
    [ "$1" = bound ] && echo "DHCP $interface $ip router=$router host=$(hostname)" > /dev/ttyS0
    ;;
esac
exit 0
