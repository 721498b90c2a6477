#!/bin/sh
# What udhcpc runs in a Client (client.py): the address is put on the card, and all is told.
# usage: udhcpc.sh deconfig|bound|renew|nak|leasefail      (the lease is in the environment)
case $1 in
deconfig)
  ip link set "$interface" up
  ip addr flush dev "$interface"
  ;;
bound | renew)
  ip addr replace "$ip/$mask" dev "$interface"
  [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
  for one in $router; do
    ip route replace default via "$one" dev "$interface"
    break
  done
  for name in ip mask hostname domain router dns mtu lease serverid; do
    eval "echo \"lease $name=\$$name\""
  done
  ;;
esac
