[ -n "$C" ] || die 'no cluster'
for d in "$L/$C"/*-*-*-*-*; do [ ! -d "$d" ] || die "the folder of a VM is there: $d"; done
for d in "$R/$C"/*-*-*-*-*; do ! locked "$d/run.lock" || die "a VM runs there: $d"; done
if [ -d "$R/net/pending" ] \
  && [ "$(cat "$R/net/pending/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "a change of the host's network is in flight: $(cat "$R/net/pending/stage")"
fi
for f in /etc/qemu-ifup.* /etc/qemu-ifdown; do
  [ ! -f "$f" ] || ! grep -qF '# rendered by tashictl' "$f" || rm -f -- "$f" || exit 1
done
w=$(readlink -f "$D" 2>/dev/null)
for i in ; do
  f=$D/$i; d=${f%/*}
  [ -d "$d" ] || continue
  case $(readlink -f "$d")/ in "$w"/*) ;; *) continue ;; esac
  rm -f -- "$f" || exit 1
  while [ "$d" != "$D" ] && rmdir "$d" 2>/dev/null; do d=${d%/*}; done
done
if [ yes = no ]; then
  rmdir "$D" 2>/dev/null && rmdir "${D%/*}" 2>/dev/null
  [ ! -d "$D" ] || echo "$D holds files that are not the cluster's"
fi
for f in /etc/network/interfaces.d/tashi /etc/systemd/network/*-tashi-*.network; do
  [ ! -f "$f" ] || { echo "the host's network stays as it is, with ${f%/*}"; break; }
done
rm -rf -- "$R/net" "$L/net" "$R/$C" "$L/$C" && rm -f "$L/cluster" "$L/cluster.lock" || exit 1
rmdir "$R" "$L" 2>/dev/null
exit 0
